"""Measurements behind `lipsync bench`; programs, not tests."""
