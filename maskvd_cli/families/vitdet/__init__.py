"""ViTDet: a plain vision transformer, a simple feature pyramid, an RPN and one box head."""
