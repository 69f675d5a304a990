"""Overlays of predictions, ground truth and priors."""
