"""One canonical order of unordered tips, for methods that give every tip an output of its own.

Which of two tips the data calls ``tip1`` says nothing about the picture. A head with one output per slot that is taught
that order answers with the mean of both tips. NumPy alone, so that a program outside of this package can use the file.
"""
import numpy as np


def tip_order(points: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """How to reorder the slots tip1, tip2, anchor of tools: the tip on the left of one looking along it is first.

    Along the tool is from the anchor to between the tips. The order of columns would turn over with every small turn of
    a tool that points sideways; it decides only where there is no anchor, or all three points are on one line (equal
    columns by the row). A single tip takes the first slot.

    Apply it **after** augmentation, because a flip exchanges the sides.

    Args:
        points: (N, 3, 2) in pixels of the network input, y down.
        visible: (N, 3), 0 for an empty slot.

    Returns:
        (N, 3) slot numbers, for ``np.take_along_axis``.
    """
    shown = visible > 0
    x, y = (np.where(shown[:, :2], points[:, :2, axis], np.inf) for axis in (0, 1))
    by_column = np.lexsort((y, x), axis=1)
    first, second = (points[:, tip] - points[:, 2] for tip in (0, 1))
    turn = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]  # above 0: the second tip is clockwise of the first
    by_side = np.where(turn[:, None] > 0, [0, 1], [1, 0])
    sided = shown.all(axis=1) & (turn != 0)
    return np.concatenate([np.where(sided[:, None], by_side, by_column), np.full((len(points), 1), 2)], axis=1)
