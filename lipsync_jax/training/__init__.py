"""The one trainer: it drives any system's Task and knows none by name."""
