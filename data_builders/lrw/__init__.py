"""LRW: single words from British television."""
