"""The demo: drawn people, training, measures and a report; and one drawn clip."""
