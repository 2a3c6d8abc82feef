"""Lip-sync research systems in JAX: train, convert, use."""

__version__ = "0.1.0"
