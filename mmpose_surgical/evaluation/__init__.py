"""Evaluation of landmark predictions: matching, metrics, thresholds and their files."""
