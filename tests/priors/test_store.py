"""The store under crashes, damage and company."""
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.records import MAGIC, decode, encode
from mmpose_surgical.priors.store import RecordStore, content_key

PRINT = {'backend': 'grabcut', 'parameters': 'abc'}
WRITER = textwrap.dedent("""
    import sys
    import numpy as np
    from mmpose_surgical.priors.store import RecordStore
    store = RecordStore(sys.argv[1], {'backend': 'grabcut', 'parameters': 'abc'}, 'a')
    start, stop = int(sys.argv[2]), int(sys.argv[3])
    for i in range(start, stop):
        store.put(f'key{i}', {'logits': np.random.default_rng(i).integers(-9, 9, (60, 80)).astype(np.int8)}, {'n': i})
        store.link(i, f'key{i}')
        if i == start:
            print('going', flush=True)
""")


def value(i: int) -> dict[str, np.ndarray]:
    return {'logits': np.random.default_rng(i).integers(-9, 9, (60, 80)).astype(np.int8)}


def fill(root: Path, ids: range) -> RecordStore:
    with RecordStore(root, PRINT, 'a') as store:
        for i in ids:
            store.put(f'key{i}', value(i), {'n': i})
            store.link(i, f'key{i}')
    return store


def only_shard(root: Path) -> Path:
    shard, = root.glob('shard-*.bin')
    return shard


def start_writer(root: Path, start: int, stop: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, '-c', WRITER, str(root), str(start), str(stop)],
                            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


DTYPES = st.sampled_from(['i1', 'u1', 'i8', 'f2', 'f4', 'f8', '?', '>i4'])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5),
                       DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0, max_side=5))),
                       max_size=3),
       st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.booleans() | st.floats(-1, 1) | st.none()
                       | st.lists(st.floats(-1, 1), max_size=2), max_size=3))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, arrays: dict, scalars: dict) -> None:
    root = tmp_path_factory.mktemp('store')
    with RecordStore(root, PRINT, 'a') as store:
        store.put('k', arrays, scalars)
        store.link(np.int64(3), 'k')
    for reader in (store, RecordStore(root)):
        got, numbers = reader.get(3)
        assert numbers == scalars and list(got) == list(arrays)
        for name, array in arrays.items():
            assert got[name].dtype == array.dtype.newbyteorder('<') and got[name].shape == array.shape
            assert got[name].tobytes() == array.astype(array.dtype.newbyteorder('<')).tobytes()
            got[name][...] = 0   # what was read belongs to the reader


def test_objects_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = RecordStore(tmp_path, PRINT, 'a')
    with pytest.raises(TypeError, match='numbers only'):
        store.put('k', {'a': np.array([object()])}, {})
    with pytest.raises(ValueError):
        store.put('k', {}, {'iou': float('nan')})
    assert not store.has_value('k') and not list(tmp_path.glob('shard-*'))


def test_a_torn_last_record_is_absent_at_every_length(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    shard = only_shard(tmp_path)
    with RecordStore(tmp_path, PRINT, 'a') as store:   # the records to be torn, in a shard of their own
        store.put('last', {'x': np.arange(3, dtype=np.int8)}, {})
        last_value = store._values['last'][2]
        store.link(9, 'last')
    torn = next(p for p in tmp_path.glob('shard-*') if p != shard)
    whole = torn.read_bytes()
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        store = RecordStore(tmp_path)
        assert store.missing([0, 1, 9]) == [9]
        assert store.has_value('last') == (length >= last_value)
        assert store.damaged == (length not in (0, last_value))
        np.testing.assert_array_equal(store.get(1)[0]['logits'], value(1)['logits'])
    torn.write_bytes(whole)
    store.refresh()
    assert store.has(9) and store.damaged == 0


def test_a_flipped_byte_anywhere_costs_its_record_only(tmp_path: Path) -> None:
    with RecordStore(tmp_path, PRINT, 'a') as store:
        for i in range(3):
            store.put(f'key{i}', {'x': np.full(4, i, np.int16)}, {})
        for i in range(3):
            store.link(i, f'key{i}')
        _, start, size = store._values['key1']
    shard = only_shard(tmp_path)
    whole = shard.read_bytes()
    for position in range(start, start + size):
        shard.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1:])
        damaged = RecordStore(tmp_path)
        assert damaged.missing(range(3)) == [1]
        assert damaged.damaged == 1
        with pytest.raises(UserError, match='image 1 is missing.*repeat the command'):
            damaged.get(1)
    with RecordStore(tmp_path, PRINT, 'a') as store:   # making it again mends the store
        store.put('key1', {'x': np.full(4, 1, np.int16)}, {})
    mended = RecordStore(tmp_path)
    assert mended.missing(range(3)) == [] and mended.damaged == 1
    assert mended.get(1)[0]['x'].tolist() == [1, 1, 1, 1]


def test_a_record_altered_after_opening_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    store = RecordStore(tmp_path)
    shard = only_shard(tmp_path)
    data = bytearray(shard.read_bytes())
    data[store._values['key0'][2] - 5] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(UserError, match='altered after it was written'):
        store.get(0)


def test_the_mark_of_a_record_inside_a_payload_confuses_nothing(tmp_path: Path) -> None:
    """Data that does not compress is kept as it is, so a payload may hold a whole record."""
    inner = encode({'kind': 'value', 'key': 'inner', 'scalars': {}}, {'x': np.arange(3)})
    noise = np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8)
    tricky = np.concatenate([noise, np.frombuffer(inner, np.uint8), noise])
    assert MAGIC in encode({}, {'x': tricky})
    with RecordStore(tmp_path, PRINT, 'a') as store:
        store.put('k', {'x': tricky}, {})
        store.link(1, 'k')
    store = RecordStore(tmp_path)
    assert store.has(1) and not store.has_value('inner')


def test_decode_refuses_what_is_not_one_whole_record() -> None:
    data = encode({'key': 'k', 'scalars': {}}, {'x': np.arange(3)})
    assert decode(data)[1]['x'].tolist() == [0, 1, 2]
    for wrong in (data[:-1], data + b'\0', b'', data[1:], b'x' * len(data)):
        assert decode(wrong) is None


def test_the_last_link_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordStore(tmp_path, PRINT, 'a') as store:
        for i in range(2):
            store.put(f'key{i}', value(i), {'n': i})
        store.link('a', 'key0', 'first')
    monkeypatch.setattr(time, 'time_ns', lambda: 5)   # a clock that was set back
    with RecordStore(tmp_path, PRINT, 'a') as store:
        store.link('a', 'key1', 'second')
    for reader in (store, RecordStore(tmp_path)):
        assert reader.get('a')[1] == {'n': 1} and reader.note('a') == 'second' and len(reader) == 1
    with pytest.raises(ValueError, match='was not put'):
        store.link('b', 'nothing')
    assert store.note('b') is None


def test_an_equal_key_is_written_once(tmp_path: Path) -> None:
    store = fill(tmp_path, range(1))
    size = only_shard(tmp_path).stat().st_size
    store.put('key0', value(0), {'n': 0})
    assert sum(p.stat().st_size for p in tmp_path.glob('shard-*')) == size


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, start, start + 60) for start in (0, 50)]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    store = RecordStore(tmp_path)
    assert store.missing(range(110)) == [] and store.damaged == 0
    assert len(list(tmp_path.glob('shard-*'))) == 2
    for i in (0, 55, 109):
        np.testing.assert_array_equal(store.get(i)[0]['logits'], value(i)['logits'])


def test_a_killed_writer_loses_at_most_the_record_in_hand(tmp_path: Path) -> None:
    done: list[int] = []
    for _ in range(3):
        writer = start_writer(tmp_path, len(done), 10**6)
        writer.stdout.readline()
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        store = RecordStore(tmp_path)
        assert len(store) > len(done)
        done = sorted(store._links)
        assert store.missing(range(len(done) - 1)) == []   # no gap before the record in hand
    for i in range(0, len(done) - 1, 7):
        np.testing.assert_array_equal(store.get(i)[0]['logits'], value(i)['logits'])


def test_readers_in_forked_and_spawned_processes(tmp_path: Path) -> None:
    fill(tmp_path, range(20))
    store = RecordStore(tmp_path)
    store.get(0)   # a handle is open when the workers start
    for method in ('fork', 'spawn'):
        with multiprocessing.get_context(method).Pool(2) as pool:
            results = pool.map(store.get, range(20))
        for i, (arrays, scalars) in enumerate(results):
            np.testing.assert_array_equal(arrays['logits'], value(i)['logits'])
            assert scalars == {'n': i}


def test_a_fork_writes_to_a_shard_of_its_own(tmp_path: Path) -> None:
    store = RecordStore(tmp_path, PRINT, 'a')
    store.put('key0', value(0), {'n': 0})
    worker = multiprocessing.get_context('fork').Process(target=store.put, args=('key1', value(1), {'n': 1}))
    worker.start()
    worker.join(10)
    store.put('key2', value(2), {'n': 2})
    assert len(list(tmp_path.glob('shard-*'))) == 2
    store.refresh()
    assert [store.value(f'key{i}')[1]['n'] for i in range(3)] == [0, 1, 2]


def test_pickling_carries_the_index_and_no_handle(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    store = RecordStore(tmp_path)
    store.get(0)
    copy = pickle.loads(pickle.dumps(store))
    assert copy._handles == {} and store._handles != {}
    assert copy.get(1)[1] == {'n': 1}


def test_refresh_shows_what_others_wrote(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    reader = RecordStore(tmp_path)
    fill(tmp_path, range(2, 4))
    assert reader.missing(range(4)) == [2, 3]
    reader.refresh()
    assert reader.missing(range(4)) == []


@pytest.mark.parametrize('mode', ['r', 'a'])
def test_a_foreign_store_is_refused_in_words(tmp_path: Path, mode: Any) -> None:
    fill(tmp_path, range(1))
    with pytest.raises(UserError) as error:
        RecordStore(tmp_path, {'backend': 'sam3', 'parameters': 'abc', 'weights': '1f0c'}, mode)
    message = str(error.value)
    assert 'backend is grabcut in the store and sam3 in this run' in message
    assert 'weights is absent in the store and 1f0c in this run' in message
    assert 'parameters' not in message and str(tmp_path) in message


def test_a_store_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no store here.*tools/train.py'):
        RecordStore(tmp_path / 'none')
    assert not (tmp_path / 'none').exists()
    fill(tmp_path, range(1))
    (tmp_path / 'store.json').write_text('{"format": 1, "finger')
    with pytest.raises(UserError, match='store.json cannot be used'):
        RecordStore(tmp_path)
    (tmp_path / 'store.json').write_text(json.dumps({'format': 2, 'fingerprint': {}}))
    with pytest.raises(UserError, match='format 2'):
        RecordStore(tmp_path)
    (tmp_path / 'store.json').unlink()
    with pytest.raises(UserError, match='records but no store.json'):
        RecordStore(tmp_path, PRINT, 'a')


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    with pytest.raises(ValueError, match="mode='a'"):
        RecordStore(tmp_path).put('k', {}, {})


def test_a_full_disk_leaves_a_sound_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path, range(0))
    store.put('key0', value(0), {'n': 0})
    real = os.write

    def write_half(handle: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, 'No space left on device')
        return real(handle, data[:len(data) - 50])

    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', write_half)
        with pytest.raises(UserError, match='No space left.*make room'):
            store.put('key1', value(1), {'n': 1})
    assert not store.has_value('key1')
    store.put('key2', value(2), {'n': 2})
    store.close()
    reader = RecordStore(tmp_path)
    assert reader.damaged == 0 and reader.has_value('key2') and not reader.has_value('key1')


def test_content_keys_tell_all_parts_apart() -> None:
    points, labels = np.array([[1., 2.]]), np.ones(1)
    keys = {content_key(b'p', points, labels, 'f'), content_key(b'q', points, labels, 'f'),
            content_key(b'p', points + 0.125, labels, 'f'), content_key(b'p', points, labels * 0, 'f'),
            content_key(b'p', points, labels, 'g'), content_key(b'p', np.zeros((0, 2)), np.zeros(0), 'f')}
    assert len(keys) == 6 and all(len(key) == 32 for key in keys)
    assert content_key(b'p', points.astype(np.float32), labels.astype(np.int64), 'f') in keys
