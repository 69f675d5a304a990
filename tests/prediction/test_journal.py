import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError
from mmpose_surgical.prediction.journal import Journal

RECORDS = [dict(frame=number, time=number / 25, state='none', points=[], problem='ü\n') for number in range(6)]


def write(path, records, made_from='a'):
    with Journal(path, made_from) as journal:
        for record in records[journal.next_frame:]:
            journal.append(record)
    return path


def test_what_was_added_is_read_again(tmp_path):
    path = write(tmp_path / 'j', RECORDS[:4])
    assert list(Journal(path, 'a')) == RECORDS[:4] and Journal(path, 'a').next_frame == 4
    write(path, RECORDS)
    assert list(Journal(path, 'a')) == RECORDS


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
    whole = max(sum(end <= at for end in ends) - 1, 0)  # without the line that says what it was made from
    assert Journal(path, 'a').next_frame == whole and list(Journal(path, 'a')) == RECORDS[:whole]
    write(path, RECORDS)
    assert list(Journal(path, 'a')) == RECORDS


def test_frames_come_in_order(tmp_path):
    with Journal(tmp_path / 'j', 'a') as journal, pytest.raises(ValueError, match='frame 0 is due'):
        journal.append(RECORDS[1])


def test_frames_of_something_else_count_for_nothing(tmp_path):
    path = write(tmp_path / 'j', RECORDS)
    assert Journal(path, 'b').next_frame == 0 and list(Journal(path, 'b')) == []
    write(path, RECORDS[:2], 'b')
    assert list(Journal(path, 'b')) == RECORDS[:2] and Journal(path, 'a').next_frame == 0


def test_a_disk_that_takes_half_a_line_is_full(tmp_path):
    with Journal(tmp_path / 'j', 'a') as journal:
        journal.append(RECORDS[0])
        file, journal._file = journal._file, Half(journal._file)
        with pytest.raises(UserError, match='No space left.*make room'):
            journal.append(RECORDS[1])
        journal._file = file
    assert list(Journal(tmp_path / 'j', 'a')) == RECORDS[:1]


class Half:
    def __init__(self, file):
        self.file = file

    def write(self, line):
        return self.file.write(line[:len(line) // 2])
