"""A dataset and a model brought together: clips as the model sees them, heatmaps, weights."""
