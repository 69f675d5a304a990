"""Names of landmarks and actions, shared by data, models and evaluation."""
import re

LANDMARKS = ('tip', 'anchor')
"""Landmark types, in the order of the heatmap channels."""

SLOTS = ('tip1', 'tip2', 'anchor')
"""Keypoint names of one tool, in the order in which models and predictions keep them."""

ACTIONS = ('clip', 'grasp', 'dissect')
"""Actions of the paper (section 3.1), in the order of the channels of a landmark that has one per action."""

TOOL_OF_ACTION = dict(clip='clip_applier', grasp='grasper', dissect='hook')
"""The tool that does each action (paper, section 3.1)."""


def landmark_of(keypoint_name: str) -> str:
    """Landmark type of a keypoint: its name without trailing digits (``tip2`` -> ``tip``)."""
    return re.sub(r'\d+$', '', keypoint_name)
