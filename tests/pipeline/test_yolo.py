"""The YOLO baseline around a stand-in for ultralytics, and once, where it is installed, with the real one."""
import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pipeline_runs import ROOT, evaluate, train

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.pipeline import yolo as yolo_stage
from mmpose_surgical.pipeline.yolo import PROGRAM

CONFIG = 'configs/surgical/baselines/yolov8_pose.py'
NAME = 'yolov8_pose'
# The toy pictures of 64x48 px are exported at twice their size.
DOUBLE = 'codec.input_size=[128,96]'


@pytest.fixture
def fake(monkeypatch):
    path = [str(ROOT / 'tests/fake_ultralytics'), os.environ['PYTHONPATH']]
    monkeypatch.delenv('YOLO_PYTHON', raising=False)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(path))


def trained(folder):
    return json.loads((folder / NAME / 'epoch_2.pt').read_text())


def test_whole_run_and_test_in_original_pixels(plugin, fake, toy_data, tmp_path, capsys):
    assert train(CONFIG, toy_data, tmp_path, DOUBLE) == 0
    folder = tmp_path / NAME
    points = read_predictions(folder / 'test_predictions.json').records()
    assert points == [dict(image_id=i, landmark=landmark, x=pytest.approx(x), y=pytest.approx(y), score=score)
                      for i in (7, 8) for landmark, x, y, score in (
                          ('tip', 10, 5, 0.4), ('tip', 15, 5, 0.3), ('anchor', 32, 24, 0.5))]
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['meta']['threshold_from']['split'] == 'val' and metrics['meta']['box'] == 'whole picture'
    assert metrics['meta']['checkpoint']['name'] == 'epoch_2.pt'
    assert len(list((folder / 'overlays').glob('*.jpg'))) == 3 and not (folder / 'ultralytics').exists()
    arguments = trained(tmp_path)['arguments']
    wanted = dict(imgsz=128, epochs=2, batch=2, nbs=2, optimizer='AdamW', lr0=5e-4, weight_decay=1e-2, seed=0,
                  mosaic=0.0, degrees=30.0, scale=[0.83, 1.18], warmup_epochs=100.0, workers=0)  # 200 steps of 2 a time
    assert {key: arguments[key] for key in wanted} == wanted
    assert trained(tmp_path)['model'] == 'yolov8m-pose.yaml'

    assert train(CONFIG, toy_data, tmp_path, DOUBLE) == 0
    assert 'yolov8 pose  done' in capsys.readouterr().out
    assert evaluate(folder / f'{NAME}.py', folder / 'epoch_2.pt', tmp_path / 'again', f'data_root={toy_data}') == 0
    assert json.loads((tmp_path / 'again/metrics.json').read_text())['results'] == metrics['results']
    with pytest.raises(UserError, match='no heatmaps .--heatmaps.'):
        evaluate(folder / f'{NAME}.py', folder / 'epoch_2.pt', tmp_path / 'again', heatmaps=True)
    with pytest.raises(UserError, match='made from something else: model.train.degrees: 30.0 -> 5'):
        train(CONFIG, toy_data, tmp_path, DOUBLE, 'model.train.degrees=5')


@pytest.mark.parametrize('stop, resumed', [('1', 1), ('2', 0)])  # behind the last epoch nothing is left to train
def test_a_training_that_died_goes_on(plugin, fake, toy_data, tmp_path, monkeypatch, capsys, stop, resumed):
    monkeypatch.setenv('FAKE_ULTRALYTICS_STOP', stop)
    with pytest.raises(UserError, match=r'ended with code 1: out of memory \(.*ultralytics.log\).*goes on'):
        train(CONFIG, toy_data, tmp_path, DOUBLE)
    assert train(CONFIG, toy_data, tmp_path, DOUBLE) == 0
    assert 'yolov8 pose  resumes' in capsys.readouterr().out and trained(tmp_path)['resumed'] == resumed


def test_what_is_missing_is_told_before_anything_is_made(plugin, toy_data, tmp_path, monkeypatch):
    without = tmp_path / 'python'
    without.write_text('#!/bin/sh\nexit 1\n')
    without.chmod(0o755)
    monkeypatch.setenv('YOLO_PYTHON', str(without))
    with pytest.raises(UserError, match=r'ultralytics is not installed.*pip install "mmpose_surgical\[yolo\]".*AGPL'):
        train(CONFIG, toy_data, tmp_path)
    without.write_text('#!/bin/sh\necho 8.4.99\n')
    wanted = (ROOT / 'requirements/yolo.txt').read_text().strip()
    with pytest.raises(UserError, match=f'ultralytics 8.4.99 takes no notice of model.oks_sigma.*"{wanted}"'):
        train(CONFIG, toy_data, tmp_path)
    monkeypatch.setenv('YOLO_PYTHON', str(tmp_path / 'nothing'))
    with pytest.raises(UserError, match='there is no such Python.*correct YOLO_PYTHON'):
        train(CONFIG, toy_data, tmp_path)
    with pytest.raises(UserError, match='run as one process.*--launcher'):
        train(CONFIG, toy_data, tmp_path, launcher='pytorch')
    for flag in ('amp', 'auto_scale_lr'):
        with pytest.raises(UserError, match=f'does not reach ultralytics .--{flag.replace("_", "-")}.'):
            train(CONFIG, toy_data, tmp_path, **{flag: True})
    assert not (tmp_path / NAME).exists()


def test_nothing_of_the_package_imports_it():
    lines = [(path, line) for path in (ROOT / 'mmpose_surgical').rglob('*.py') if path != PROGRAM
             for line in path.read_text().splitlines() if line.strip().startswith(('import ', 'from '))]
    assert lines and not [where for where in lines if 'ultralytics' in where[1].split()[1]]


def program(monkeypatch):
    """The program as a module; it finds its neighbour as a script would."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location('ultralytics_program', PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tips_are_ordered_behind_augmentation(monkeypatch):
    points = np.array([[[30, 5, 2], [10, 5, 2], [20, 40, 2]], [[0, 0, 0], [7, 7, 2], [0, 0, 0]]], np.float32)
    labels = program(monkeypatch).OrderTips()(dict(instances=SimpleNamespace(keypoints=points)))
    assert labels['instances'].keypoints.tolist() == [[[10, 5, 2], [30, 5, 2], [20, 40, 2]],
                                                      [[7, 7, 2], [0, 0, 0], [0, 0, 0]]]
    empty = dict(instances=SimpleNamespace(keypoints=np.zeros((0, 3, 3), np.float32)))
    assert program(monkeypatch).OrderTips()(empty) is empty


def test_packaged_weights_see_normalised_pictures(monkeypatch, tmp_path):
    """The folded network answers to a picture in [0, 1] as the original does to the normalised one."""
    import torch
    from torch import nn

    def network():
        return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    torch.manual_seed(0)
    original, folded = network(), network()
    original[1].running_mean.uniform_(-1, 1)
    # Further layers follow in the file; other names, the same order.
    torch.save({f'layer{i}': v for i, v in enumerate([*original.state_dict().values(), torch.zeros(7)])},
               tmp_path / 'weights.pt')
    yolo = program(monkeypatch)
    yolo.load_backbone(folded, str(tmp_path / 'weights.pt'))
    picture = torch.rand(1, 3, 6, 6)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (yolo.IMAGENET_MEAN, yolo.IMAGENET_STD))
    assert torch.allclose(folded(picture), original((picture - mean) / std), atol=1e-5)


def test_a_job_of_a_spelled_out_architecture(plugin, fake, toy_data, tmp_path, monkeypatch):
    """The bench config names layers and packaged weights; without the package it starts free and from scratch."""
    jobs = []
    run = yolo_stage._run
    monkeypatch.setattr(yolo_stage, '_run', lambda cfg, work, job, *a: jobs.append(job) or run(cfg, work, job, *a))
    bench = 'configs/bench/bench_yolov8_pose.py'
    assert train(bench, toy_data, tmp_path / 'with', DOUBLE) == 0
    monkeypatch.setattr('mmpose_surgical.pipeline.config.find_packaged', lambda checkpoint: None)
    assert train(bench, toy_data, tmp_path / 'without', DOUBLE) == 0
    started, free = (job for job in jobs if job['task'] == 'train')
    assert started['backbone_weights'].endswith('.pt') and started['arguments']['freeze'][0] == '0.m.0'
    assert free['backbone_weights'] is None and 'freeze' not in free['arguments']
    assert started['model'].endswith('architecture.yaml') and started['weights'] is None


def test_the_program_ends_with_whoever_started_it(tmp_path):
    job = tmp_path / 'job.json'
    os.mkfifo(job)  # reading it waits for ever, like a long training
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(job)], stdin=subprocess.PIPE)
    try:
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=20) == 1
    finally:
        process.kill()


@pytest.mark.slow
def test_real_ultralytics_trains_and_its_answers_are_read(plugin, toy_data, tmp_path):
    python = os.environ.get('YOLO_PYTHON') or sys.executable
    found = 'from importlib.util import find_spec as f; assert f("ultralytics") and f("polars")'
    if subprocess.run([python, '-c', found], capture_output=True).returncode:
        pytest.skip('no ultralytics; YOLO_PYTHON names the Python of an environment that has it')
    small = (DOUBLE, 'model.backbone.type=yolov8n-pose', 'model.predict.conf=0.0001')
    assert train(CONFIG, toy_data, tmp_path, *small) == 0
    points = read_predictions(tmp_path / NAME / 'test_predictions.json')
    assert len(points) and set(points.image_id.tolist()) == {7, 8}
    assert ((points.xy >= -1) & (points.xy <= [65, 49])).all()
