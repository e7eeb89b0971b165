"""Numbers and pictures that say how good a prediction is."""
