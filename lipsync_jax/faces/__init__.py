"""Faces in a video: find, follow, crop, paste back."""
