import dataclasses
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import load_splits
from mmpose_surgical.datasets.synthetic.generate import (
    CASES,
    SPECS,
    VERSION,
    Completeness,
    SyntheticSpec,
    check,
    generate,
    generate_video,
    make_splits,
    source_of,
    video_names,
)
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import claim

TINY = SyntheticSpec(videos=5, clips_per_video=2, clip_frames=(4, 5), annotated_per_clip=2, val_share=0.2,
                     test_share=0.2, folds=2, idle_share=0.3, seed=3)
# Of the first annotated frame of TINY, by version 2: grey levels of a 4x3 thumbnail, landmarks and mask areas.
THUMBNAIL = [[44.7, 94.0, 56.0, 38.3], [80.0, 139.7, 90.3, 68.3], [34.7, 74.3, 89.3, 45.7]]
POINTS = [259.0, 267.6, 297.4, 223.3]
AREAS = [12212]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return generate(tmp_path_factory.mktemp('synthetic') / 'set', TINY, workers=2)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_result_is_complete_and_readable(data):
    annotations = load_annotations(data)
    assert check(data, TINY)[0] is Completeness.COMPLETE
    assert annotations.synthetic and annotations.landmarks == ('tip', 'anchor')
    assert len(annotations.videos) == 5 and len(annotations.clips) == 10
    splits = load_splits(data, annotations)
    assert (len(splits.train), len(splits.val), len(splits.test), len(splits.folds)) == (3, 1, 1, 2)
    for clip in annotations.clips.values():
        video = annotations.videos[clip.video_id]
        for number in range(clip.start_frame, clip.end_frame + 1):
            assert (data / video.frame_pattern.format(frame_id=number)).is_file()


def test_same_bytes_from_one_worker_and_after_a_cut(data, tmp_path):
    """Cut off behind two videos, with a half-written third; then goes on in one process."""
    out = tmp_path / 'set'
    (out / 'frames').mkdir(parents=True)
    shutil.copy(data / 'generator.json', out)
    for index in (0, 3):
        generate_video(out, TINY, index)
    (out / 'frames' / video_names(TINY)[1]).mkdir()
    (out / 'frames' / video_names(TINY)[1] / '000000.jpg').write_bytes(b'half')
    assert check(out, TINY)[0] is Completeness.PARTIAL
    stamp = next((out / 'frames' / video_names(TINY)[0]).glob('*.jpg')).stat().st_mtime_ns
    generate(out, TINY, workers=1)
    assert contents(out) == contents(data)
    assert next((out / 'frames' / video_names(TINY)[0]).glob('*.jpg')).stat().st_mtime_ns == stamp


def test_pictures_are_those_of_this_version(data):
    """Whoever changes what the generator draws raises ``VERSION`` and writes the new figures here."""
    frame = load_annotations(data).frames[0]
    thumbnail = cv2.resize(frame.file(data).read(), (4, 3), interpolation=cv2.INTER_AREA)
    points = [round(value, 1) for tool in frame.tools for point in tool.points for value in (point.x, point.y)]
    areas = [int(tool.mask(480, 640).sum()) for tool in frame.tools]
    assert VERSION == '3'
    assert np.abs(thumbnail.mean(2) - THUMBNAIL).max() <= 1.5  # OpenCV and NumPy round differently between versions
    assert points == pytest.approx(POINTS, abs=0.2)
    assert areas == pytest.approx(AREAS, abs=20)


def test_only_one_process_fills_a_folder(tmp_path):
    held = claim(tmp_path / '.set.lock')
    code = (f'from pathlib import Path; from mmpose_surgical.datasets.synthetic.generate import *; '
            f'generate(Path({str(tmp_path / "set")!r}), SPECS["demo"], 1)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    held.close()
    assert done.returncode == 1 and 'another process is making this data set' in done.stderr
    assert not (tmp_path / 'set/generator.json').exists()


def test_other_folders_are_refused(data, tmp_path):
    other = dataclasses.replace(TINY, seed=4)
    assert check(data, other)[0] is Completeness.OTHER
    with pytest.raises(UserError, match='of another spec or version'):
        generate(data, other)
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match='not made by this generator'):
        generate(tmp_path, TINY)
    assert check(tmp_path / 'new', TINY)[0] is Completeness.MISSING


def test_exactly_one_tool_acts_except_in_idle_clips(data):
    annotations = load_annotations(data)
    assert {frame.clip.action is None for frame in annotations.frames} == {True, False}
    for frame in annotations.frames:
        assert len(frame.active_tools) == (frame.clip.action is not None)
        assert all(tool.action == frame.clip.action for tool in frame.active_tools)
        assert frame.annotated and all(tool.action is None for tool in frame.tools if not tool.active)


def test_visible_points_lie_on_their_own_mask(data):
    import cv2
    seen = 0
    for frame in load_annotations(data).frames:
        for tool in frame.tools:
            away = cv2.distanceTransform((~tool.mask(480, 640)).astype(np.uint8), cv2.DIST_L2, 5)
            for point in tool.points:
                assert 0 <= point.x <= 639 and 0 <= point.y <= 479
                if point.v == 2:
                    assert away[round(point.y), round(point.x)] <= 4.5
                    seen += 1
    assert seen > 40


def test_masks_do_not_overlap(data):
    for frame in load_annotations(data).frames:
        assert np.sum([tool.mask(480, 640) for tool in frame.tools], axis=0).max() <= 1


@pytest.mark.parametrize('name', sorted(SPECS))
def test_named_specs_spread_sources_and_keep_splits_apart(name):
    spec = SPECS[name]
    names = video_names(spec)
    assert len(names) == len(set(names)) == spec.videos
    splits = make_splits(spec, names)
    parts = [splits[part] for part in ('train', 'val', 'test')]
    assert sorted(sum(parts, [])) == sorted(names)
    assert sorted(sum(splits['folds'], [])) == sorted(splits['train'])
    assert {source_of(video) for video in splits['train']} == set(CASES)
    assert len({source_of(video) for video in splits['test']}) >= 4


def test_table_1_gives_the_cases():
    assert {source: sum(source_of(v) == source for v in video_names(SPECS['default'])) for source in CASES} == CASES


def test_part_file_that_is_damaged_names_itself(tmp_path):
    out = tmp_path / 'set'
    spec = dataclasses.replace(TINY, videos=1, clips_per_video=1)
    (out / 'parts').mkdir(parents=True)
    (out / 'generator.json').write_text(json.dumps(dict(version='1', fingerprint=spec.fingerprint())))
    (out / 'parts' / f'{video_names(spec)[0]}.json').write_text('{"clips"')
    with pytest.raises(UserError, match='not valid JSON.*made again'):
        generate(out, spec, workers=1)


def test_leftover_of_a_kill_at_the_very_first_write_is_no_foreign_folder(tmp_path):
    (tmp_path / '.generator.17.tmp.json').touch()
    assert check(tmp_path, SPECS['demo'])[0] is Completeness.MISSING
