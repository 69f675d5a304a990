"""Damaged annotation files: never a traceback, never a hang, never a loss that is not told."""
import random
import shutil
import time

import pytest
from mutations import mutate, write_source

from mmpose_surgical.datasets.annotations import check_records, read_annotations
from mmpose_surgical.datasets.importers import FORMATS, reader_of
from mmpose_surgical.datasets.importers.draft import ImportOptions
from mmpose_surgical.datasets.validation import validate
from mmpose_surgical.datasets.writing import to_coco
from mmpose_surgical.errors import UserError

FEW, MANY = 80, 2000
SOURCES = [*FORMATS, 'coco with videos']


def read(name, root):
    """Points by frame, what was skipped or remarked and how often, and bad records; ``None`` where it is refused."""
    try:
        draft = reader_of(name.split(' ')[0])(root, ImportOptions())
    except UserError as error:
        assert '\n' not in str(error) and 'Fix: ' in str(error)
        return None
    skipped = {reason: len(places) for reason, places in draft.skipped.items()} | dict.fromkeys(draft.remarks, 1)
    data = draft.finish(root / 'annotations.json')
    points = {(frame.video.name, frame.frame_id, point.landmark, point.x, point.y)
              for frame in data.frames for tool in frame.tools for point in tool.points}
    return points, skipped, check_records(data.path, to_coco(data))


def fuzz(name, tmp_path, count):
    root = tmp_path / name
    file = write_source(name, root)
    original = file.read_text()
    truth, skipped, problems = read(name, root)
    assert len(truth) >= 4 and not problems
    refused = told = 0
    for seed in range(count):
        file.write_text(original)
        plausible = mutate(file, random.Random(seed))
        began = time.monotonic()
        result = read(name, root)
        assert time.monotonic() - began < 5, seed
        if result is None:
            refused += 1
            continue
        points, now_skipped, problems = result
        assert not problems, (seed, problems)
        says_so = any(number > skipped.get(reason, 0) for reason, number in now_skipped.items())
        told += says_so
        if truth - points and not plausible:
            assert says_so, (seed, 'a point is lost, and nothing says so', truth - points)
        if not plausible:
            assert points <= truth, (seed, 'a point is invented', points - truth)
    assert refused + told > count / 4  # the damage is felt


@pytest.mark.parametrize('name', SOURCES)
def test_importers(name, tmp_path):
    fuzz(name, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', SOURCES)
def test_importers_long(name, tmp_path):
    fuzz(name, tmp_path, MANY)


def points_of(root):
    """Points that can be read, by picture; none where the file is refused as a whole."""
    try:
        annotations, _ = read_annotations(root)
    except UserError:
        return set()
    return {(frame.image_id, point.name, point.x, point.y)
            for frame in annotations.frames for tool in frame.tools for point in tool.points}


def fuzz_validate(toy_data, tmp_path, count):
    root = tmp_path / 'data'
    shutil.copytree(toy_data, root)
    truth = points_of(root)
    texts = {name: (root / name).read_text() for name in ('annotations.json', 'splits.json')}
    failed = 0
    for seed in range(count):
        for name, text in texts.items():
            (root / name).write_text(text)
        plausible = mutate(root / ('annotations.json' if seed % 5 else 'splits.json'), random.Random(seed))
        began = time.monotonic()
        result = validate(root, decode=False)
        assert time.monotonic() - began < 5, seed
        failed += not result.passed
        points = points_of(root)
        if truth - points and not plausible:
            assert not result.passed, (seed, 'a point is lost, and nothing says so', truth - points)
        assert plausible or points <= truth or not result.passed, (seed, 'a point is invented')
    assert failed > count / 4


def test_validate(toy_data, tmp_path):
    fuzz_validate(toy_data, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_validate_long(toy_data, tmp_path):
    fuzz_validate(toy_data, tmp_path, MANY)
