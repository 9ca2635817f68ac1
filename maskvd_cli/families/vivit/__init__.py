"""ViViT's factorised encoder: a spatial transformer on steps, a temporal one on their classes."""
