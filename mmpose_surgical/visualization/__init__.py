"""Overlays of predictions, ground truth and priors, and the report of finished runs."""
