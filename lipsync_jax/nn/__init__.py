"""Layers every network uses, written so that PyTorch weights give equal results."""
