"""YOLOS: a plain vision transformer with detection tokens, read by two small heads."""
