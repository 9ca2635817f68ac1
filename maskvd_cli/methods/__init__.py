"""Methods: one file each, with its parameters, its token selection, its costs and its state."""
