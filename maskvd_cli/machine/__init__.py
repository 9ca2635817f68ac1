"""What surrounds a number: the machine and software that it was measured with."""
