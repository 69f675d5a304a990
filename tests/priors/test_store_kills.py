"""Twenty kills while four processes write: what is in the end complete equals what was never killed."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmpose_surgical.priors.store import RecordStore

ITEMS = 2000
WRITERS = 4
KILLS = 20
_WRITER = """
import sys, time
sys.path.insert(0, {root!r})
import numpy as np
from mmpose_surgical.priors.store import RecordStore
rank = int(sys.argv[1])
with RecordStore({folder!r}, dict(backend='test'), 'a') as store:
    print('ready', flush=True)
    for item in range(rank, {items}, {writers}):
        if not store.has(item):
            values = np.random.default_rng(item).integers(-127, 128, (36, 48), dtype=np.int8)
            store.put(f'key{{item}}', dict(logits=values), dict(item=item))
            store.link(item, f'key{{item}}')
            time.sleep(0.002)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing(root: Path, tmp_path: Path) -> None:
    code = _WRITER.format(root=str(root), folder=str(tmp_path / 'store'), items=ITEMS, writers=WRITERS)
    chance = random.Random(0)

    def start(rank: int) -> subprocess.Popen:
        writer = subprocess.Popen([sys.executable, '-c', code, str(rank)], stdout=subprocess.PIPE, text=True,
                                  env=dict(os.environ, OMP_NUM_THREADS='1'))
        assert writer.stdout.readline() == 'ready\n'
        return writer

    writers = [start(rank) for rank in range(WRITERS)]
    kills = 0
    while kills < KILLS:
        time.sleep(chance.uniform(0, 0.1))
        rank = chance.randrange(WRITERS)
        if writers[rank].poll() is None:
            writers[rank].send_signal(signal.SIGKILL)
            kills += 1
        assert writers[rank].wait() in (0, -signal.SIGKILL)
        writers[rank] = start(rank)
    assert [writer.wait() for writer in writers] == [0] * WRITERS

    store = RecordStore(tmp_path / 'store')
    assert store.missing(range(ITEMS)) == [] and len(store) == ITEMS
    for item in range(ITEMS):
        arrays, scalars = store.get(item)
        assert scalars == dict(item=item)
        np.testing.assert_array_equal(
            arrays['logits'], np.random.default_rng(item).integers(-127, 128, (36, 48), dtype=np.int8))
