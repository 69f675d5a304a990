"""A page of a data set's clips with their points, masks and windows (``tools/data.py browse``)."""
