"""A drawn clip and an untrained checkpoint: everything runs with no download."""
