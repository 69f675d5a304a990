"""Names of the landmarks, shared by data, models and evaluation."""
import re

LANDMARKS = ('tip', 'anchor')
"""Landmark types, in the order of the heatmap channels."""

SLOTS = ('tip1', 'tip2', 'anchor')
"""Keypoint names of one tool, in the order in which models and predictions keep them."""


def landmark_of(keypoint_name: str) -> str:
    """Landmark type of a keypoint: its name without trailing digits (``tip2`` -> ``tip``)."""
    return re.sub(r'\d+$', '', keypoint_name)
