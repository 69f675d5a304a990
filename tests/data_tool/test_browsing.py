"""``tools/data.py browse`` from the command line."""
import argparse
import os

import pytest
from tool_runs import run as run_tool
from toy_data import write_toy_data

from mmpose_surgical.data_tool import VERBS, browsing
from mmpose_surgical.errors import UserError


def browse(*words: object) -> int:
    parser = argparse.ArgumentParser()
    browsing.add_arguments(parser)
    return browsing.run(parser.parse_args(list(map(str, words))))


def test_the_tool_writes_a_page_into_the_data_set_and_says_what_is_left_out(root, tmp_path):
    data = write_toy_data(tmp_path / 'toy')
    code, out, err = run_tool(root / 'tools/data.py', 'browse', data, '--clips', 3)
    assert (code, err.strip()) == (0, '')
    look, page = out.splitlines()
    assert look == 'look: 5 of 8 clips are left out: at most 3 were asked for (--clips)'
    assert page.startswith(f'page: {data / "browse.html"} (3 of 8 clips, 15 pictures, 0.')
    assert (data / 'browse.html').stat().st_size > 10_000


def test_a_data_set_that_cannot_be_written_is_left_alone(toy_data, tmp_path, monkeypatch, capsys):
    before = sorted(toy_data.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, 'access', lambda *_: False)
    assert browse(toy_data / 'annotations.json', '--split', 'val', '--no-validate') == 0
    assert (tmp_path / 'browse.html').is_file() and sorted(toy_data.iterdir()) == before
    assert 'page: browse.html (2 of 2 clips' in capsys.readouterr().out


@pytest.mark.parametrize('words', [('--clips', 0), ('--width', 8), ('--max-mb', 'nan'), ('--spacing', 'inf'),
                                   ('--num-frames', 0)])
def test_impossible_numbers_are_refused(toy_data, tmp_path, words):
    with pytest.raises(UserError, match='--width at least 32'):
        browse(toy_data, '--out', tmp_path / 'p.html', *words)


def test_the_verb_imports_nothing_heavy():
    assert VERBS['browse'] == 'browsing'
    assert not {'cv2', 'jinja2', 'numpy'} & set(vars(browsing))
