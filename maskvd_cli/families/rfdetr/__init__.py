"""RF-DETR: a plain transformer in few large windows, and a set-based detector behind it."""
