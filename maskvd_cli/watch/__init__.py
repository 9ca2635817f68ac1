"""A running sweep followed from its files."""
