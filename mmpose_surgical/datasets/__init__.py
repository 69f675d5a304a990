"""Clips of surgical video: the annotation format, splits, the data set and its transforms."""
