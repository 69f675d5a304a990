"""From own videos to a trained network: every step as a user takes it."""
import json
import shutil

import av
import cv2
import numpy as np
import pytest
from data_tools import data_tool, imported
from pipeline_runs import train

from mmpose_surgical.errors import UserError
from mmpose_surgical.visualization.report.page import write_report

SIZE = (96, 64)


def write_case(case, seed):
    """Two clips, whose grasper moves to the right: tip and anchor of some frames are annotated."""
    rng = np.random.default_rng(seed)
    (case / 'clips').mkdir(parents=True)
    (case / 'annotation').mkdir()
    tissue = cv2.resize(rng.integers(20, 160, (6, 9, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    for start in (100, 300):
        name, points = f'grasp_{start}_{start + 11}', []
        left, top = rng.integers(4, 40), rng.integers(8, 50)
        with av.open(str(case / f'clips/{name}.mp4'), 'w') as container:
            stream = container.add_stream('libx264', rate=25)
            stream.width, stream.height, stream.pix_fmt = *SIZE, 'yuv420p'
            for number in range(start, start + 12):
                x = int(left + number - start)
                picture = cv2.rectangle(tissue.copy(), (x, int(top) - 3), (x + 30, int(top) + 3), (230, 230, 230), -1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
                if number % 4 == 1:
                    points += [dict(frameIndex=number, type='tool_tip', x=x, y=int(top), vis=True),
                               dict(frameIndex=number, type='tool_anchor', x=x + 30, y=int(top), vis=True)]
            container.mux(stream.encode())
        (case / f'annotation/{name}.json').write_text(json.dumps(
            dict(imageDimensions=dict(width=SIZE[0], height=SIZE[1]), points=points)))


@pytest.mark.parametrize('frames', ['extract', 'video'])
def test_own_videos_train(plugin, tmp_path, frames, capsys):
    for number in range(4):
        write_case(tmp_path / f'src/case{number}', number)
    root = tmp_path / 'data'
    assert len(imported('native', tmp_path / 'src', root, '--frames', frames).frames) == 4 * 2 * 3
    assert data_tool('validate', root) == 0
    assert data_tool('split', root, '--val', 1, '--test', 1, '--folds', 2) == 0
    assert train('configs/demo/demo_coarse.py', root, tmp_path / 'runs') == 0
    metrics = json.loads((tmp_path / 'runs/demo_coarse/metrics.json').read_text())
    found = metrics['results']['overall']['tip']
    assert found['tp'] + found['fn'] == 6 and metrics['meta']['split'] == 'test'
    assert 'data (not synthetic), split test, 6 frames' in capsys.readouterr().out
    page = tmp_path / 'report.html'
    write_report([tmp_path / 'runs/demo_coarse'], page, data=root, count=2)
    assert 'synthetic data' not in page.read_text() and (tmp_path / 'report.md').exists()
    # Nothing stands in for SAM 3 on data that are not synthetic.
    with pytest.raises(UserError, match='prior'):
        train('configs/demo/demo_refine_prior_aux.py', root, tmp_path / 'runs')


def test_both_ways_of_keeping_frames_train_on_the_same_pictures(plugin, tmp_path):
    from mmpose_surgical.datasets.clip_dataset import SurgicalClipDataset
    write_case(tmp_path / 'case', 0)
    samples = []
    for frames in ('extract', 'video'):
        imported('native', tmp_path / 'case', tmp_path / frames, '--frames', frames, '--quality', 100)
        data = SurgicalClipDataset(str(tmp_path / frames), 'all', num_frames=5, pipeline=[dict(type='LoadClip')])
        samples.append([data[k] for k in range(len(data))])
    for jpeg, video in zip(*samples, strict=True):
        assert (jpeg['keypoints'] == video['keypoints']).all() and jpeg['frame_id'] == video['frame_id']
        for a, b in zip(jpeg['img'], video['img'], strict=True):
            assert np.abs(a.astype(int) - b).mean() < 4  # colours at half the resolution in JPEG
            assert a.shape == (64, 96, 3)


def test_real_frames_train(plugin, shared_real, tmp_path):
    """Two real cases; of the sparse one the first half serves as a third."""
    source = tmp_path / 'src'
    shutil.copytree(shared_real, source)
    record = json.loads((source / 'annotations.json').read_text())
    record['videos'].append(dict(record['videos'][1], id=3, name='cholec80_v01_first'))
    for image in record['images']:
        if image['video_id'] == 2 and image['id'] <= 15:
            image['video_id'] = 3
    (source / 'annotations.json').write_text(json.dumps(record))
    root = tmp_path / 'data'
    imported('coco', source, root)
    words = ('clip', 'grasp', 'dissect', 'retract', 'idle')
    assert data_tool('validate', root, '--actions', *words) == 0
    assert data_tool('browse', root, '--out', tmp_path / 'page.html') == 0
    assert data_tool('split', root, '--val', 1, '--test-videos', 'cholec80_v01_sparse', '--folds', 0) == 0
    assert train('configs/demo/demo_coarse.py', root, tmp_path / 'runs', 'clip.num_frames=5') == 0
    assert (tmp_path / 'runs/demo_coarse/overlays/sheet.jpg').exists()
