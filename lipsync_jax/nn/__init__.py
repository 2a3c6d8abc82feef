"""Layers every network uses; PyTorch's and Keras' weights give equal results."""
