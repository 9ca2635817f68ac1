"""Recipes: YAML that names a dataset, a model, methods with grids; checked before anything runs."""
