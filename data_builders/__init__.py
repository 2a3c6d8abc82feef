"""TFDS builders: one folder per dataset, over shared clip code."""
