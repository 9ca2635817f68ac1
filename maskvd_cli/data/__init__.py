"""Datasets: each format yields clips of frames with boxes; their folders are never written to."""
