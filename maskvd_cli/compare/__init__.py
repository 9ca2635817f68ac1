"""Two runs point by point: what changed, and what of it is more than noise."""
