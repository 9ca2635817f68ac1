"""The token backbone that families are built from, and what its parts cost."""
