"""LW-DETR: a plain transformer in windows, and the modules it shares with RF-DETR behind it."""
