"""How well picture and sound go together: LSE-D, LSE-C and their offset."""
