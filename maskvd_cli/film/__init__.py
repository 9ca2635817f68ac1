"""Films of a point at work: kept tokens, detections, truth, misses and running cost."""
