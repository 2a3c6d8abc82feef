"""LRS2-BBC: sentences from British television."""
