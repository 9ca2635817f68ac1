"""Architectures and what they cost; they know nothing of methods."""
