"""A backend that answers noise, slowly, and a process that fills its share of a store with it."""
import os
import sys
import time
from collections.abc import Iterable

import numpy as np

from mmpose_surgical.priors.base import MaskPriorBackend, PriorFrame
from mmpose_surgical.priors.maker import PriorJob, make_priors
from mmpose_surgical.priors.store import RecordStore


class Noise(MaskPriorBackend):
    """Logits drawn at random by the first prompt, ``pause`` seconds each."""
    name = 'noise'

    def __init__(self, pause: float) -> None:
        super().__init__(long_side=48)
        self.pause = pause

    def embed(self, frame: PriorFrame) -> tuple[int, int]:
        return frame.size

    def segment(self, embedding: tuple[int, int], points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        time.sleep(self.pause)
        seed = np.rint(points_xy[0] * 8).astype(int).tolist()
        return np.random.default_rng(seed).normal(-1, 1, self.grid_shape(embedding)), 0.5, 1.


def jobs(items: Iterable[int]) -> list[PriorJob]:
    """One small picture with prompts of its own for each number."""
    return [PriorJob(item, lambda: PriorFrame(np.zeros((6, 8, 3), np.uint8)), np.array([[item / 8, 2.], [3., 4.]]),
                     np.ones(2, np.int64)) for item in items]


_write = os.write


def _write_in_pieces(file: int, data: bytes) -> int:
    """As a full disk or a slow one would: records are half there for as long as a picture takes."""
    time.sleep(0.001)
    return _write(file, data[:600])


if __name__ == '__main__':
    os.write = _write_in_pieces
    folder, rank, world, items = sys.argv[1], *map(int, sys.argv[2:])
    backend = Noise(pause=0.002)
    with RecordStore(folder, dict(backend=backend.fingerprint), 'a') as store:
        print('ready', flush=True)
        make_priors(jobs(range(rank, items, world)), backend, store, batch_size=2)
