"""Parts of hand-made metrics."""
from __future__ import annotations

from typing import Any


def cell(tp: int, fp: int, fn: int, l2: float | None = 5., **more: Any) -> dict[str, Any]:
    """A cell of the results; rates follow from the counts."""
    return dict(tp=tp, fp=fp, fn=fn, precision=tp / (tp + fp), recall=tp / (tp + fn), f1=2 * tp / (2 * tp + fp + fn),
                l2=l2, l2_median=l2, l2_assigned=l2, **more)
