"""DAVS: one picture of a face made to say what is heard, or what another says."""
