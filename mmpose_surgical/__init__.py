"""Surgical landmark localisation from clips with mask priors, as a plugin for MMPose."""
__version__ = '0.1.0'
