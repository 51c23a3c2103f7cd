"""A text and a picture -> a score in [0, 1]."""
