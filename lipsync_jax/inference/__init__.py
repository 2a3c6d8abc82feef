"""The streaming pipeline: media -> faces -> network -> faces -> media."""
