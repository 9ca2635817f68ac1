"""Recipes to results: plan the points, replay the annotations, run what is missing."""
