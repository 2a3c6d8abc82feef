"""Lip2Wav: speech from a silent video of a face."""
