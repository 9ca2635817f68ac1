"""Types, errors and registries that every other room may use; imports no other room."""
