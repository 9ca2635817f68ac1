"""Boxes to tokens: heatmap, static, dynamic and combined masks, as pure tensor functions."""
