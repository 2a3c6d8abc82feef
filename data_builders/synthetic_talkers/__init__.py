"""The embedded default dataset: synthetic speech and drawn faces, no download."""
