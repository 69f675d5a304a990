"""``tools/predict.py``: tables and overlay of a video, whatever cuts it off."""
import argparse
import csv
import json
import os
import random
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from tool_runs import finish, kill, start
from video_files import damaged, picture, write_video

from mmpose_surgical.errors import UserError

COUNT = 30


@pytest.fixture(scope='module')
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp('video') / 'operation.mp4', COUNT, size=(97, 65), pix_fmt='yuv444p')


def predict(source, run: Path, out: Path, **flags) -> int:
    from mmpose_surgical.prediction.command import predict_command
    args = dict(source=str(source), model=str(run), weights=None, out=str(out), prior=None, prior_every=1,
                score_thr=0.001, fps=None, smooth=None, trail=1., heat=False, no_overlay=False, batch_size=4,
                device='cpu', rebuild=False, cfg_options=[])
    return predict_command(argparse.Namespace(**args | flags))


@pytest.fixture(scope='module')
def whole(refined, video, tmp_path_factory) -> Path:
    """A finished prediction. Read only."""
    out = tmp_path_factory.mktemp('whole') / 'out'
    assert predict(video, refined / 'demo_refine_prior_aux', out, prior='grabcut', prior_every=2) == 0
    return out


def rows(out: Path) -> list[dict]:
    with (out / 'predictions.csv').open() as file:
        return list(csv.DictReader(file))


def overlay(out: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and pictures of an overlay video."""
    with av.open(str(out / 'overlay.mp4')) as container:
        assert container.streams.video[0].codec.name == 'h264'
        assert container.streams.video[0].average_rate == 25
        frames = list(container.decode(video=0))
    return [frame.time for frame in frames], [frame.to_ndarray(format='bgr24') for frame in frames]


def test_tables_tell_every_frame(whole):
    found = rows(whole)
    assert sorted({int(row['frame']) for row in found}) == list(range(COUNT))
    assert all(float(row['time']) == pytest.approx(int(row['frame']) / 25) for row in found)
    assert {row['state'] for row in found} <= {'point', 'none'} and any(row['x'] for row in found)
    data = json.loads((whole / 'predictions.json').read_text())
    points = [dict(frame=frame['frame'], **point) for frame in data['frames'] for point in frame['points']]
    assert [(p['frame'], p['landmark'], p['x'], p['y'], p['score']) for p in points] == [
        (int(r['frame']), r['landmark'], float(r['x']), float(r['y']), float(r['score'])) for r in found if r['x']]
    meta = data['meta']
    assert meta['prior'].pop('fingerprint').startswith('grabcut-')
    assert meta['prior'] == dict(backend='grabcut', stand_in=True, every=2)
    assert (meta['fps'], meta['frames'], meta['look_ahead_frames']) == (25, COUNT, 3)


def test_overlay_has_the_frames_and_times_of_the_video_and_even_sides(whole, video):
    times, pictures = overlay(whole)
    assert times == pytest.approx([number / 25 for number in range(COUNT)], abs=1e-4)
    height, width = pictures[0].shape[:2]
    assert width == 98 and height % 2 == 0 and height > 66  # a bar below the picture


def test_what_is_done_is_not_done_again(whole, refined, video, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert predict(video, refined / 'demo_refine_prior_aux', whole, prior='grabcut', prior_every=2) == 0
    assert 'done before' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


@pytest.fixture
def cut(whole, tmp_path) -> Path:
    """A copy that was cut off in the middle of a line."""
    out = tmp_path / 'cut'
    out.mkdir()
    record = json.loads((whole / 'artifact.json').read_text())
    (out / 'artifact.json').write_text(json.dumps(record | dict(done=False)))
    journal = (whole / 'frames.journal').read_bytes()
    at = journal.index(b'\n', len(journal) // 2) + 20
    (out / 'frames.journal').write_bytes(journal[:at])
    return out


def test_a_cut_off_prediction_goes_on_and_ends_alike(cut, whole, refined, video, capsys):
    assert predict(video, refined / 'demo_refine_prior_aux', cut, prior='grabcut', prior_every=2) == 0
    done = len((cut / 'frames.journal').read_bytes().splitlines()) - 1
    begun = int(capsys.readouterr().out.split('goes on at frame ')[1].split()[0])
    assert 0 < begun < done == COUNT
    # A batch may hold other frames than in one go: equal up to rounding.
    for a, b in zip(rows(cut), rows(whole), strict=True):
        assert {k: a[k] for k in ('frame', 'state', 'landmark')} == {k: b[k] for k in ('frame', 'state', 'landmark')}
        assert [float(a[k] or 0) for k in 'xy'] == pytest.approx([float(b[k] or 0) for k in 'xy'], abs=0.05)
    assert len(overlay(cut)[0]) == COUNT


def test_other_outputs_are_made_from_the_same_points(cut, refined, video, monkeypatch):
    run = refined / 'demo_refine_prior_aux'
    predict(video, run, cut, prior='grabcut', prior_every=2)
    points, journal = rows(cut), (cut / 'frames.journal').read_bytes()
    from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
    monkeypatch.setattr(SurgicalLandmarkInferencer, '_predict', None)
    assert predict(video, run, cut, prior='grabcut', prior_every=2, smooth=[2.], no_overlay=True) == 0
    assert (cut / 'frames.journal').read_bytes() == journal and not (cut / 'overlay.mp4').exists()
    smoothed = rows(cut)
    assert [{key: row[key] for key in points[0]} for row in smoothed] == points
    assert all(bool(row['x']) == bool(row['x_smooth']) for row in smoothed)
    assert any(row['x'] != row['x_smooth'] for row in smoothed)


def test_other_predictions_are_not_lost_unasked(cut, refined, video):
    run = refined / 'demo_coarse'
    with pytest.raises(UserError, match=r'holds other predictions.*--rebuild'):
        predict(video, run, cut)
    assert (cut / 'frames.journal').exists()
    (cut / 'notes.txt').write_text('mine')
    assert predict(video, run, cut, rebuild=True, no_overlay=True) == 0
    assert (cut / 'notes.txt').read_text() == 'mine'
    assert json.loads((cut / 'predictions.json').read_text())['meta']['model']['name'] == 'demo_coarse'
    own = cut.parent / 'own'
    own.mkdir()
    (own / 'thesis.txt').write_text('mine')
    for rebuild in (False, True):
        with pytest.raises(UserError, match='not made by this tool'):
            predict(video, run, own, rebuild=rebuild)
    assert (own / 'thesis.txt').read_text() == 'mine'


def test_frames_that_cannot_be_read_are_told_and_the_timeline_stays(refined, tmp_path, capsys):
    path = damaged(write_video(tmp_path / 'v.mp4', COUNT), tmp_path / 'd.mp4', 14, 15)
    assert predict(path, refined / 'demo_coarse', tmp_path / 'out', heat=True, smooth=[]) == 0
    found = rows(tmp_path / 'out')
    broken = [int(row['frame']) for row in found if row['state'] == 'broken']
    assert broken and set(broken) < set(range(12, 24))
    assert f'{len(broken)} frames could not be read' in capsys.readouterr().out
    assert sorted({int(row['frame']) for row in found}) == list(range(COUNT))
    times, pictures = overlay(tmp_path / 'out')
    assert times == pytest.approx([number / 25 for number in range(COUNT)], abs=1e-4)
    lost = broken[0]
    height = 64 // 2  # the picture before, darker
    assert pictures[lost][:height].mean() < 0.5 * pictures[lost - 1][:height].mean()


def test_a_folder_tells_the_names_of_its_files(refined, tmp_path):
    for number in (8, 9, 10):
        (tmp_path / 'frames').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f'frames/{number}.png'), np.full((48, 64, 3), 90, np.uint8))
    run = refined / 'demo_coarse'
    with pytest.raises(UserError, match='give --fps'):
        predict(tmp_path / 'frames', run, tmp_path / 'out')
    assert predict(tmp_path / 'frames', run, tmp_path / 'out', fps=10., score_thr=2.) == 0
    found = rows(tmp_path / 'out')
    assert [(row['name'], row['state'], row['x']) for row in found] == [
        ('8.png', 'none', ''), ('9.png', 'none', ''), ('10.png', 'none', '')]


def test_a_source_that_changed_is_another_one(refined, tmp_path):
    path = write_video(tmp_path / 'v.mp4', 4)
    predict(path, refined / 'demo_coarse', tmp_path / 'out', no_overlay=True)
    write_video(path, 5)
    with pytest.raises(UserError, match='other predictions: the source has changed'):
        predict(path, refined / 'demo_coarse', tmp_path / 'out', no_overlay=True)


def test_settings_that_change_points_are_not_mixed(cut, refined, video):
    for options in (dict(cfg_options=['codec.nms_kernel=9']), dict(score_thr=0.2), dict(prior_every=1)):
        args = dict(prior='grabcut', prior_every=2) | options
        with pytest.raises(UserError, match='holds other predictions'):
            predict(video, refined / 'demo_refine_prior_aux', cut, **args)


def test_rebuilding_goes_on_where_it_was_cut_off_and_leaves_nothing_of_before(cut, refined, video, monkeypatch):
    """Killed in the middle: no table of what was there before may be taken for the new one."""
    from mmpose_surgical.prediction import command
    run = refined / 'demo_coarse'
    predict(video, refined / 'demo_refine_prior_aux', cut, prior='grabcut', prior_every=2)
    plain = command.record_of

    def ends(result, decoder):
        if result.frame == 20:
            raise KeyboardInterrupt
        return plain(result, decoder)

    monkeypatch.setattr(command, 'record_of', ends)
    with pytest.raises(KeyboardInterrupt):
        predict(video, run, cut, rebuild=True)
    assert not any((cut / name).exists() for name in ('predictions.csv', 'predictions.json', 'overlay.mp4'))
    frames = []
    monkeypatch.setattr(command, 'record_of', lambda result, decoder: frames.append(result.frame) or plain(
        result, decoder))
    assert predict(video, run, cut, rebuild=True, no_overlay=True) == 0
    assert frames == list(range(20, COUNT)) and len({row['frame'] for row in rows(cut)}) == COUNT


def test_a_source_that_would_be_replaced_is_refused(whole, refined, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    path = write_video(out / 'overlay.mp4', 4)
    for rebuild in (False, True):
        with pytest.raises(UserError, match='source would be replaced'):
            predict(path, refined / 'demo_coarse', out, rebuild=rebuild)
    assert path.exists()


def test_what_the_folder_cannot_be_is_told(refined, video, tmp_path):
    run = refined / 'demo_coarse'
    (tmp_path / 'file').write_text('mine')
    for out in (tmp_path / 'file', tmp_path / 'file/below'):
        with pytest.raises(UserError, match='folder cannot be made.*--out'):
            predict(video, run, out)
    for rebuild in (False, True):
        with pytest.raises(UserError, match='something else than predictions'):
            predict(video, run, run, rebuild=rebuild)
    assert json.loads((run / 'artifact.json').read_text())['done']


def test_the_source_may_lie_in_the_folder_and_the_folder_behind_a_link(refined, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (tmp_path / 'link').symlink_to(out)
    path = write_video(tmp_path / 'v.mp4', 4)
    run = refined / 'demo_coarse'
    assert predict(path, run, tmp_path / 'link', no_overlay=True) == 0
    inside = path.rename(out / 'v.mp4')
    assert predict(inside, run, tmp_path / 'link', no_overlay=True, score_thr=0.3, rebuild=True) == 0
    assert inside.exists() and (tmp_path / 'link').is_symlink()


def test_another_call_is_left_alone(cut, refined, video):
    """Also by one that would replace what that one makes."""
    from mmpose_surgical.files import claim
    held = start('-c', 'import sys, time; from mmpose_surgical.files import claim; from pathlib import Path; '
                 f'held = claim(Path({str(cut / ".lock")!r})); print(held is not None, flush=True); time.sleep(60)')
    assert held.stdout.readline().strip() == 'True'
    journal = (cut / 'frames.journal').read_bytes()
    with pytest.raises(UserError, match='another process is making this folder'):
        predict(video, refined / 'demo_coarse', cut, rebuild=True)
    assert (cut / 'frames.journal').read_bytes() == journal
    kill(held)
    held.communicate()
    assert claim(cut / '.lock')


def test_senseless_arguments_are_refused_before_anything_is_predicted(refined, video, tmp_path):
    for flags, message in ((dict(smooth=[-1.]), 'cutoff above 0'), (dict(trail=float('nan')), 'a trail of nan'),
                           (dict(score_thr=float('inf')), 'a score threshold of inf'),
                           (dict(prior='grabcut'), 'takes no mask prior')):
        with pytest.raises(UserError, match=message):
            predict(video, refined / 'demo_coarse', tmp_path / 'out', **flags)
    assert not (tmp_path / 'out').exists()


def test_names_that_are_no_text_and_slow_pictures(refined, tmp_path):
    folder = tmp_path / 'frames'
    folder.mkdir()
    for name in (b'1.png', '\u00b25.png'.encode(), b'\xff3.png'):
        cv2.imwrite(str(tmp_path / 'x.png'), picture(int(name[-5:-4])))
        (tmp_path / 'x.png').rename(folder / os.fsdecode(name))
    (folder / '._1.png').write_bytes(b'what another system leaves')
    assert predict(folder, refined / 'demo_coarse', tmp_path / 'out', fps=2., smooth=[0.1, 0.]) == 0
    found = rows(tmp_path / 'out')
    assert len({row['name'] for row in found}) == 3
    assert any(row['x'] != row['x_smooth'] for row in found if row['x'])  # half a second is no gap at this rate


def is_whole(out: Path) -> bool:
    """Whether a folder says it is complete; what stands under its final name must be whole in any case."""
    if (out / 'predictions.csv').exists():
        assert sorted({int(row['frame']) for row in rows(out)}) == list(range(COUNT))
    if (out / 'predictions.json').exists():
        assert len(json.loads((out / 'predictions.json').read_text())['frames']) == COUNT
    if (out / 'overlay.mp4').exists():
        assert len(overlay(out)[0]) == COUNT
    record = out / 'artifact.json'
    return record.exists() and json.loads(record.read_text())['done']


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_random_moments_leaves_nothing_half_written(refined, tmp_path):
    """Twenty kills, each while frames are predicted or outputs written, and then a call that ends."""
    path = write_video(tmp_path / 'v.mp4', COUNT, size=(640, 480))
    out = tmp_path / 'out'
    command = ('tools/predict.py', path, '--model', refined / 'demo_refine_prior_aux', '--prior', 'grabcut', '--out',
               out, '--score-thr', '0.001', '--smooth', '--heat')
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        if is_whole(out):  # begin anew
            (out / 'artifact.json').unlink()
            for file in out.iterdir():
                file.unlink()
        process = start(*command)
        moment = None  # counted from when it begins to write, which is seconds after it was started
        while process.poll() is None:
            if moment is None and (out / '.lock').exists():
                moment = time.monotonic() + rng.uniform(0, 6)
            if moment is not None and time.monotonic() > moment:
                kill(process)
                kills += 1
                break
            time.sleep(0.01)
        process.communicate()
        is_whole(out)
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert is_whole(out)
    assert not [file.name for file in out.iterdir() if '.tmp' in file.name], 'something was left behind'
