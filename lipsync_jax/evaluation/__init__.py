"""Measures of sync, image and speech quality."""
