"""Whether a machine is fit to measure on: findings, each with its remedy."""
