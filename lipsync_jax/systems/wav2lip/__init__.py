"""Wav2Lip: the lower half of a face redrawn from speech."""
