import json

import numpy as np
import pytest
from data_tools import data_set, data_tool
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import load_splits
from mmpose_surgical.datasets.splitting import make_splits, threshold_uncertainty
from mmpose_surgical.errors import UserError


def test_every_part_gets_its_share_of_actions_and_sources():
    # Two sources; in each, half of the videos hold grasps alone and half dissections alone.
    cases = {f'{source}{k}': (source, ['grasp' if k % 2 else 'dissect'] * 4) for source in 'ab' for k in range(8)}
    splits = make_splits(data_set(cases), val=4, test=4, folds=2)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [8, 4, 4]
    for part in (splits.val, splits.test, *splits.folds):
        kinds = [(name[0], int(name[1:]) % 2) for name in part]
        assert sorted(kinds) == [('a', 0), ('a', 1), ('b', 0), ('b', 1)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(['a', 'b', None]), st.lists(
    st.sampled_from(['grasp', 'clip', 'dissect', None]), min_size=1, max_size=5)), min_size=6, max_size=15),
    st.integers(0, 3), st.integers(1, 2), st.integers(1, 2), st.sampled_from([0, 2]))
def test_laws(cases, seed, val, test, folds):
    data = data_set({f'v{k}': case for k, case in enumerate(cases)})
    splits = make_splits(data, val=val, test=test, folds=folds, seed=seed)
    parts = [*splits.train, *splits.val, *splits.test]
    assert sorted(parts) == sorted({f.video.name for f in data.frames})     # whole videos, each once
    assert (len(splits.val), len(splits.test)) == (val, test)
    assert not folds or sorted(name for fold in splits.folds for name in fold) == sorted(splits.train)
    assert not folds or abs(len(splits.folds[0]) - len(splits.folds[1])) <= 1
    assert splits == make_splits(data, val=val, test=test, folds=folds, seed=seed)


def test_it_is_as_good_as_the_best_of_all_splits():
    """Six videos of unequal sizes: all 15 choices of two for testing, tried one by one."""
    from itertools import combinations

    from mmpose_surgical.datasets.splitting import _strata
    sizes = [5, 1, 2, 7, 3, 6]
    data = data_set({f'v{k}': ('s', ['grasp'] * n) for k, n in enumerate(sizes)})
    strata = _strata([[f for f in data.frames if f.video.name == f'v{k}'] for k in range(6)])

    def off(test):
        got = strata[list(test)].sum(axis=0)
        return ((got - 1 / 3) ** 2).sum() * 3 + ((1 - got - 2 / 3) ** 2).sum() * 1.5
    least = min(off(pair) for pair in combinations(range(6), 2))
    chosen = make_splits(data, val=0, test=2).test
    assert off([int(name[1:]) for name in chosen]) == pytest.approx(least)


def test_named_test_videos_are_kept_apart():
    data = data_set({f'v{k}': ('s', ['grasp'] * (k + 1)) for k in range(8)})
    splits = make_splits(data, val=0.25, test=0.5, test_videos=['v7', 'v0'])
    assert set(splits.test) == {'v0', 'v7'} and len(splits.val) == 2 and len(splits.train) == 4
    with pytest.raises(UserError, match='unknown test videos.*v9'):
        make_splits(data, val=1, test=1, test_videos=['v9'])


def test_numbers_that_cannot_be_met():
    data = data_set({f'v{k}': ('s', ['grasp']) for k in range(4)})
    for options, message in ((dict(val=2, test=2), 'leave 0 to train on'), (dict(val=1, test=1, folds=3), 'in 3 folds'),
                             (dict(val=1, test=1, folds=1), 'in 1 folds'), (dict(val=1.5, test=1), 'neither a share'),
                             (dict(val=-1, test=1), 'neither a share')):
        with pytest.raises(UserError, match=message):
            make_splits(data, **options)


def test_videos_that_share_files_leak():
    data = data_set({f'v{k}': ('s', ['grasp']) for k in range(4)})
    for video in data.videos.values():
        video.frame_pattern = 'frames/one/{frame_id}.jpg'
    with pytest.raises(UserError, match='videos share files, and would leak'):
        make_splits(data, val=1, test=1)


def test_a_file_without_videos_cannot_be_split():
    data = data_set({f'v{k}': ('s', ['grasp']) for k in range(4)})
    data.videos.clear()
    with pytest.raises(UserError, match='knows no videos.*import coco'):
        make_splits(data, val=1, test=1)


def test_uncertainty_by_hand():
    assert threshold_uncertainty(79) == pytest.approx(100 * 1.96 * np.sqrt(0.21 / 79))
    assert threshold_uncertainty(100, 0.5) == pytest.approx(9.8)


def test_the_verb_writes_what_training_reads(toy_data, tmp_path, capsys):
    import shutil
    root = tmp_path / 'data'
    shutil.copytree(toy_data, root)
    with pytest.raises(UserError, match='there is a split already.*--force'):
        data_tool('split', root)
    assert data_tool('split', root, '--force', '--val', 1, '--test-videos', 'b') == 0
    said = capsys.readouterr().out
    assert 'look: 2 clips for validation are few: an F1 of 70 % is known to within 64 points' in said
    splits = load_splits(root, load_annotations(root))
    assert splits.test == ('b',) and len(splits.train) == 2 and len(splits.folds) == 2
    with pytest.raises(UserError, match='in 5 folds'):  # what is asked for is not made less
        data_tool('split', root, '--force', '--val', 1, '--test', 1, '--folds', 5)
    (tmp_path / 'names.txt').write_text('a\n\nd\n')
    data_tool('split', root, '--force', '--val', 1, '--test-videos', f'@{tmp_path / "names.txt"}')
    assert json.loads((root / 'splits.json').read_text())['test'] == ['a', 'd']
    with pytest.raises(UserError, match='list of test videos cannot be read'):
        data_tool('split', root, '--force', '--test-videos', '@gone.txt')
