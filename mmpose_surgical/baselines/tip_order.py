"""One canonical order of unordered tips, for methods that give every tip an output of its own.

Which of two tips the data calls ``tip1`` says nothing about the picture. A head with one output per slot that is taught
that order answers with the mean of both tips. NumPy alone, so that a program outside of this package can use the file.
"""
import numpy as np


def tip_order(points: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """How to reorder the slots tip1, tip2, anchor of tools: tips from left to right as the network sees them.

    Apply it **after** augmentation: a flip or a rotation changes what is left. Equal columns go by the row. A single
    tip takes the first slot, so that the second one always means "another tip to the right".

    Args:
        points: (N, 3, 2) in pixels of the network input.
        visible: (N, 3), 0 for an empty slot.

    Returns:
        (N, 3) slot numbers, for ``np.take_along_axis``.
    """
    x, y = (np.where(visible[:, :2] > 0, points[:, :2, axis], np.inf) for axis in (0, 1))
    return np.concatenate([np.lexsort((y, x), axis=1), np.full((len(points), 1), 2)], axis=1)
