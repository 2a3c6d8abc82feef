"""How near generated pictures are to real ones, and how sharp."""
