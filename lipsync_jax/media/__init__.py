"""Video, image and sound files: pixels and time stamps, nothing about faces."""
