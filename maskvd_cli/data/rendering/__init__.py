"""Draw synthetic video: a pinhole camera over a street, with the boxes of what can be seen."""
