"""What is measured of a point: one file per metric, and the statistics they share."""
