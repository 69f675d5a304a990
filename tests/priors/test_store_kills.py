"""Twenty kills while four processes make priors: what is in the end complete equals what was never killed."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmpose_surgical.priors.maker import make_priors
from mmpose_surgical.priors.store import RecordStore

WRITERS = 4
KILLS = 20
ITEMS = 8000
"""So many that none of the four has all of its own when the last kill comes."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    import noise_priors
    folder, chance = tmp_path / 'killed', random.Random(0)

    def start(rank: int) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, noise_priors.__file__, str(folder), str(rank), str(WRITERS), str(ITEMS)],
            stdout=subprocess.PIPE, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'))

    writers = [start(rank) for rank in range(WRITERS)]
    for kill in range(KILLS):
        rank = chance.randrange(WRITERS)
        assert writers[rank].stdout.readline() == 'ready\n'
        time.sleep(chance.uniform(0, 0.3))
        writers[rank].send_signal(signal.SIGKILL)
        assert writers[rank].wait() == -signal.SIGKILL, f'writer {rank} had ended before kill {kill}'
        writers[rank] = start(rank)
    assert all(RecordStore(folder).missing(range(rank, ITEMS, WRITERS)) for rank in range(WRITERS))
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    assert RecordStore(folder).damaged > 0  # kills did meet records in the making

    backend = noise_priors.Noise(pause=0)
    with RecordStore(tmp_path / 'whole', dict(backend=backend.fingerprint), 'a') as whole:
        make_priors(noise_priors.jobs(range(ITEMS)), backend, whole)
    killed = RecordStore(folder)
    assert killed.missing(range(ITEMS)) == [] and len(killed) == len(whole) == ITEMS
    for item in range(ITEMS):
        (arrays, scalars), (expected, told) = killed.get(item), whole.get(item)
        assert scalars == told and killed.note(item) == whole.note(item) and arrays.keys() == expected.keys()
        assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)
