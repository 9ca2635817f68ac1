"""Boxes to tokens: heatmap, static, dynamic and combined masks, as pure tensor functions."""

# Rises when the same boxes give other tokens; enters the keys of points above 1.
REVISION = 1
