"""Mask priors: promptable segmenters, stand-ins for them, and the store."""
