"""LipGAN: a face redrawn picture by picture from a third of a second of speech."""
