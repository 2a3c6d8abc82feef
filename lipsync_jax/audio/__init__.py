"""Sound: loading and resampling, and the features that the systems listen to."""
