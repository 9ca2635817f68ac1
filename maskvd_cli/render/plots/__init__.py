"""The papers' kinds of figures, drawn from result files alone."""
