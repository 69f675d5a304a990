"""``tools/evaluate.py`` as a user calls it."""
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'evaluate.py'
POINTS = [{'image_id': 1, 'landmark': 'tip', 'x': 100, 'y': 100, 'score': 0.9},
          {'image_id': 4, 'landmark': 'tip', 'x': 500, 'y': 50, 'score': 0.4}]


def call(*args, cwd=None):
    command = [sys.executable, str(TOOL), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def main(capsys):
    """The same in this process: ``main(*args)`` gives the exit code and what was printed."""
    spec = importlib.util.spec_from_file_location('evaluate_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run(*args):
        return (tool.main([str(arg) for arg in args]), *capsys.readouterr())
    return run


@pytest.fixture
def pred(tmp_path):
    path = tmp_path / 'pred.json'
    path.write_text(json.dumps(POINTS))
    return path


def test_help_at_once_and_a_run_without_torch(data_set, pred, tmp_path):
    begin = time.perf_counter()
    done = call('--help')
    assert done.returncode == 0 and '--score-thr' in done.stdout
    assert time.perf_counter() - begin < 1
    argv = ['evaluate.py', '--gt', str(data_set), '--pred', str(pred)]
    code = (f'import runpy, sys; sys.argv = {argv}\n'
            f'try: runpy.run_path({str(TOOL)!r}, run_name="__main__")\n'
            'except SystemExit as end: assert end.code == 0\n'
            'print("loaded", sorted({"torch", "mmengine", "mmcv", "mmpose"} & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path)
    assert 'loaded []' in done.stdout, done.stderr


def test_from_another_folder(data_set, pred, tmp_path):
    done = call('--gt', 'tiny', '--pred', 'pred.json', '--out', 'out/metrics.json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    meta = json.loads((tmp_path / 'out' / 'metrics.json').read_text())['meta']
    assert meta['data']['name'] == 'tiny' and meta['data']['synthetic'] is True and meta['frames'] == 3
    assert 'tiny (synthetic), 3 frames, 1 idle' in done.stdout and 'all points count' in done.stdout


def test_split(data_set, pred, tmp_path):
    done = call('--gt', data_set, '--pred', pred, '--split', 'val', '--out', tmp_path / 'm.json')
    metrics = json.loads((tmp_path / 'm.json').read_text())
    assert metrics['results']['overall']['tip']['tp'] == 1 and metrics['meta']['frames'] == 1
    assert metrics['meta']['ignored_predictions']['outside_split'] == 1
    assert 'ignored predictions: 1 (outside_split)' in done.stdout


@pytest.mark.parametrize('args, message', [
    (['--split', 'exam'], 'no split "exam"'),
    (['--split', 'train'], 'no annotated frame'),
    (['--tolerance', '-1'], 'not a distance'),
    (['--tolerance', 'nan'], 'not a distance'),
    (['--tolerance', '1e308'], 'not a distance'),
    (['--score-thr', 'high'], 'no threshold'),
    (['--score-thr', 'nose=0.3'], 'no threshold'),
    (['--score-thr', 'nan'], 'no threshold'),
    (['--score-thr', 'tip=0.3,0.2'], 'no threshold'),
    (['--score-thr', 'tip=0.3,tip=0.2'], 'no threshold'),
    (['--score-thr', 'none.json'], 'not found'),
    (['--score-thr-from', 'none.json'], 'not found'),
    (['--score-thr-from', 'a.json', 'b.json'], '2 threshold files for 1 predictions'),
    (['--compare-score-thr-from', 'a.json'], 'no second method'),
    (['--out', ''], 'no name of a file'), (['--out', '.'], 'no name of a file'), (['--out', '/'], 'no name of a file'),
    (['--score-thr', 'tip=0.3'], 'no threshold for anchor (--score-thr)'),
    (['--by', 'fog'], 'no picture has the attribute fog'),
    (['--compare', 'p.json', '--no-bootstrap'], 'stands on the bootstrap'),
    (['--split', 'test', '--score-thr', 'best'], 'no threshold is chosen on the test split'),
    (['--score-thr', 'best'], 'no threshold is chosen on the test split'),
    (['--compare', 'p.json', '--paired-seeds'], '1 and 1 predictions are no pairs'),
    (['--margin', '3'], 'tests a difference (--margin)'),
    (['--compare', 'p.json', '--margin', '0'], 'between 0 and 100'),
    (['--compare', 'p.json', '--score-thr-from', 'a.json'], 'a threshold of its own'),
    (['--compare', 'none.json'], 'predictions file not found')])
def test_one_line_and_code_1(data_set, pred, main, args, message):
    code, _, error = main('--gt', data_set, '--pred', pred, *args)
    assert code == 1 and message in error and len(error.splitlines()) == 1


def test_metrics_never_take_the_place_of_what_they_are_made_of(data_set, pred, main, tmp_path):
    thresholds = tmp_path / 't.json'
    thresholds.write_text('{"tip": 0.1, "anchor": null}')
    inputs = (pred, thresholds, data_set, data_set.with_name('splits.json'))
    before = [path.read_bytes() for path in inputs]
    for path in inputs:
        code, _, error = main('--gt', data_set, '--pred', pred, '--score-thr-from', thresholds, '--out', path)
        assert code == 1 and f'({path})' in error and 'take the place' in error
    assert [path.read_bytes() for path in inputs] == before


def test_a_file_of_thresholds_has_one_for_each_landmark(data_set, pred, main, tmp_path):
    (tmp_path / 't.json').write_text('{"tip": 0.1}')
    code, _, error = main('--gt', data_set, '--pred', pred, '--score-thr-from', tmp_path / 't.json')
    assert code == 1 and 'no threshold for anchor' in error and 't.json' in error


def test_predictions_of_unknown_images_are_named(data_set, pred):
    pred.write_text(json.dumps([{**POINTS[0], 'image_id': 77}]))
    done = call('--gt', data_set, '--pred', pred)
    assert done.returncode == 1 and str(pred) in done.stderr
    assert 'image_id 77 is not in the annotations' in done.stderr


def test_a_canvas_that_is_none(data_set, pred):
    done = call('--gt', data_set, '--pred', pred, '--canvas', '640by480')
    assert done.returncode == 2 and 'neither WIDTHxHEIGHT nor none' in done.stderr


@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    """Ten cases of four pictures, eight of them ``test``; predictions by name, two seeds of each method."""
    folder = tmp_path_factory.mktemp('cases')
    images = [dict(id=i, file_name=f'{i}.jpg', width=640, height=480, video_id=i // 4, frame_id=i,
                   attributes=dict(smoke=bool(i % 2))) for i in range(40)]
    (folder / 'annotations.json').write_text(json.dumps(dict(
        videos=[dict(id=v, name=f'case{v}', source='X') for v in range(10)], images=images,
        categories=[dict(id=1, name='hook', keypoints=['tip1', 'anchor'])],
        annotations=[dict(id=i, image_id=i, category_id=1, keypoints=[100, 100, 2, 200, 200, 2],
                          attributes=dict(action='cut')) for i in range(40)])))
    (folder / 'splits.json').write_text(json.dumps(
        dict(val=['case0', 'case1'], test=[f'case{v}' for v in range(2, 10)])))
    for number, (name, share) in enumerate([('ours1', 8), ('ours2', 8), ('theirs1', 4), ('theirs2', 4)]):
        points = [dict(image_id=i, landmark='tip', x=100 if (i * 7 + number * 3) % 10 < share else 150, y=100,
                       score=.9 if (i * 7 + number * 3) % 10 < share else .4) for i in range(40)]
        (folder / f'{name}.json').write_text(json.dumps(points))
    return folder


def test_seeds_a_comparison_and_a_threshold_of_validation(cases, main, monkeypatch):
    monkeypatch.chdir(cases)
    for name in ('ours1', 'theirs1'):
        code, text, _ = main('--gt', '.', '--pred', f'{name}.json', '--split', 'val', '--score-thr', 'best', '--out',
                             f'{name}_val.json')
        assert code == 0 and 'it flatters' in text
    code, text, error = main(
        '--gt', '.', '--pred', 'ours1.json', 'ours2.json', '--split', 'test', '--score-thr-from', 'ours1_val.json',
        '--compare', 'theirs1.json', 'theirs2.json', '--compare-score-thr-from', 'theirs1_val.json', '--by', 'smoke',
        '--out', 'm.json')
    assert code == 0, error
    assert '2 seeds' in text and 'ours1.json, ours2.json less theirs1.json, theirs2.json' in text
    assert max(map(len, text.splitlines())) <= 80
    metrics = json.loads((cases / 'm.json').read_text())
    tip = metrics['results']['overall']['tip']
    assert tip['tp'] + tip['fn'] == 2 * 32 and tip['fp'] == 0
    assert list(tip['ci95']) == ['recall', 'f1'] and list(metrics['by']) == ['smoke']
    assert metrics['meta']['threshold_from'][0]['split'] == 'val' and metrics['meta']['seeds'] == 2
    found = metrics['comparison']['f1']['overall']['tip']
    assert found['difference'] == tip['f1'] - found['b'] > .1 and found['ci95'][0] > 0 and found['p'] < .05


def test_a_validation_set_of_its_own_gives_a_threshold(cases, main, monkeypatch, tmp_path):
    """Nothing is held out where no splits are named; its file serves other data, and not these."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'annotations.json').write_text((cases / 'annotations.json').read_text())
    pred = str(cases / 'ours1.json')
    assert main('--gt', '.', '--pred', pred, '--score-thr', 'best', '--out', 'val.json')[0] == 0
    code, _, error = main('--gt', '.', '--pred', pred, '--score-thr', 'val.json')
    assert code == 1 and 'chosen on all videos' in error


def test_the_same_points_are_no_second_seed(cases, main, monkeypatch):
    monkeypatch.chdir(cases)
    code, _, error = main('--gt', '.', '--pred', 'ours1.json', 'ours2.json', 'ours1.json')
    assert code == 1 and 'the same points as in ours1.json, which would count as another seed (ours1.json)' in error


def test_seeds_can_be_paired(cases, main, monkeypatch):
    monkeypatch.chdir(cases)
    width = []
    for name in ('ours2', 'theirs2'):
        # A seed in which both methods miss the last pictures.
        (cases / f'{name}_less.json').write_text(json.dumps(json.loads((cases / f'{name}.json').read_text())[:25]))
    for option in ([], ['--paired-seeds']):
        code, _, error = main('--gt', '.', '--pred', 'ours1.json', 'ours2_less.json', '--compare', 'theirs1.json',
                              'theirs2_less.json', '--score-thr', '.5', '--out', 'm.json', *option)
        assert code == 0, error
        found = json.loads((cases / 'm.json').read_text())['comparison']
        width.append(np.ptp(found['f1']['overall']['tip']['ci95']))
        assert found['paired_seeds'] is bool(option)
    assert width[1] < .8 * width[0]


def test_equivalence_within_a_margin(cases, main, monkeypatch):
    monkeypatch.chdir(cases)
    for other, margin, verdict in (('ours2', '40', True), ('theirs1', '3', False)):
        code, text, error = main('--gt', '.', '--pred', 'ours1.json', '--compare', f'{other}.json', '--score-thr', '.5',
                                 '--margin', margin, '--out', 'm.json')
        assert code == 0, error
        assert f'the difference lies within +-{margin} points' in text and max(map(len, text.splitlines())) <= 80
        found = json.loads((cases / 'm.json').read_text())['comparison']['f1']['overall']['tip']['equivalence']
        assert found['margin'] == float(margin) / 100 and found['equivalent'] is verdict


def test_a_threshold_of_the_reported_videos_is_refused(cases, main, monkeypatch):
    monkeypatch.chdir(cases)
    main('--gt', '.', '--pred', 'ours1.json', '--split', 'val', '--score-thr', 'best', '--out', 'val.json')
    for split in ([], ['--split', 'val']):
        for option in ('--score-thr-from', '--score-thr'):
            code, _, error = main('--gt', '.', '--pred', 'ours1.json', option, 'val.json', *split)
            assert code == 1 and 'chosen on split val' in error
    # Of another tool's making: on all videos.
    meta = json.loads((cases / 'val.json').read_text())['meta']
    (cases / 'all.json').write_text(json.dumps(dict(tip=.5, anchor=.5, meta=dict(data=meta['data']))))
    code, _, error = main('--gt', '.', '--pred', 'ours1.json', '--score-thr', 'all.json', '--split', 'test')
    assert code == 1 and 'chosen on all videos' in error
