import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.prediction.journal import Journal

RECORDS = [dict(frame=number, time=number / 25, state='none', points=[], problem='ü\n') for number in range(6)]


def write(path, records):
    with Journal(path) as journal:
        for record in records[journal.next_frame:]:
            journal.append(record)
    return path


def test_what_was_added_is_read_again(tmp_path):
    path = write(tmp_path / 'j', RECORDS[:4])
    assert list(Journal(path)) == RECORDS[:4] and Journal(path).next_frame == 4
    write(path, RECORDS)
    assert list(Journal(path)) == RECORDS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_or_a_flipped_bit_costs_what_is_behind_it_and_no_more(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp('j') / 'j', RECORDS)
    content = bytearray(path.read_bytes())
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10]
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    whole = sum(end <= at for end in ends)
    assert Journal(path).next_frame == whole and list(Journal(path)) == RECORDS[:whole]
    write(path, RECORDS)
    assert list(Journal(path)) == RECORDS


def test_frames_come_in_order(tmp_path):
    with Journal(tmp_path / 'j') as journal, pytest.raises(ValueError, match='frame 0 is due'):
        journal.append(RECORDS[1])
