"""OWLv2: CLIP's vision transformer, of which every patch gives a box for any text."""
