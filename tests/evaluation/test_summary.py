"""What the table and the metrics file say."""
import io
import json
import math
import subprocess

import pytest
from rich.console import Console

from mmpose_surgical.evaluation import summary
from mmpose_surgical.evaluation.evaluator import evaluate
from mmpose_surgical.evaluation.summary import metrics_table, with_meta, write_metrics


def printed(metrics):
    """The table as text."""
    out = io.StringIO()
    Console(file=out, width=200).print(metrics_table(metrics))
    return out.getvalue()


@pytest.fixture
def metrics(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(0, 0), tip2=(50, 0))), frame(2)]
    return evaluate(frames, table((1, 'tip', 3, 4, .9), (2, 'tip', 1, 1, .9)),
                    score_thr={'tip': .25, 'anchor': None})


def test_table_in_per_cent_with_what_it_stands_on(metrics):
    data = {'name': 'set [1]', 'synthetic': True}
    source = {'file': 't.json', 'split': 'val', 'data': data}
    text = printed(with_meta(metrics, data=data, split='test', threshold_from=source,
                             prior={'backend': 'simulated', 'stand_in': True, 'weights_sha256': None}))
    lines = [line.split() for line in text.splitlines()]
    assert ['overall', 'tip', '50.0', '50.0', '50.0', '5.00', '5.00', '1', '1', '1'] in lines
    assert ['anchor', '-', '-', '-', '-', '-', '0', '0', '0'] in lines
    for part in ('set [1] (synthetic), split test, 2 frames, 1 idle',
                 '15 px on a canvas of 640x480, max_pairs',
                 'tip 0.25, anchor none (from t.json: split val of set [1])', 'prior: simulated (a stand-in)',
                 'on the acting tool: - % of 0 frames', 'per idle minute: 1500.0 (1 frames)'):
        assert part in ' '.join(text.split())


@pytest.mark.parametrize('split, flatters', [('test', False), ('val', True), ('all', True)])
def test_a_threshold_chosen_on_the_counted_frames_is_told(metrics, split, flatters):
    data = {'name': 'set', 'sha256': 'ab', 'synthetic': True}
    text = printed(with_meta(metrics, data=data, split=split,
                             threshold_from={'file': 't.json', 'split': 'val', 'data': data}))
    assert ('it flatters' in text) == flatters


def test_what_is_not_known_is_not_claimed(metrics):
    assert 'prior: not recorded' in printed(metrics) and 'from an unnamed source' in printed(metrics)
    assert 'prior: none' in printed(with_meta(metrics, prior=None))
    text = printed(with_meta(metrics, threshold_from={'file': 't.json', 'split': None, 'data': None, 'videos': None}))
    assert 'from t.json: it does not say where it was chosen' in ' '.join(text.split())


def test_oracle_prompts_and_in_sample_predictions_are_told(metrics):
    prior = dict(backend='sam3', stand_in=False, points='ground_truth', label='oracle prompts')
    text = ' '.join(printed(with_meta(metrics, prior=prior, coarse_for_training='in-sample')).split())
    assert 'prior: sam3, oracle prompts' in text and 'coarse predictions in-sample in training' in text
    assert 'in-sample' not in printed(with_meta(metrics, coarse_for_training='out-of-fold'))


def test_metrics_file_has_null_and_never_nan(tmp_path, metrics):
    write_metrics(tmp_path / 'm.json', metrics)
    assert json.loads((tmp_path / 'm.json').read_text()) == metrics
    assert metrics['results']['overall']['anchor']['f1'] is None
    with pytest.raises(ValueError):
        write_metrics(tmp_path / 'm.json', with_meta(metrics, lost=math.nan))
    assert json.loads((tmp_path / 'm.json').read_text()) == metrics


def test_intervals_take_the_place_of_the_median_within_80_columns(metrics):
    cell = metrics['results']['overall']['tip']
    cell['ci95'] = {'f1': [.4, .6125]}
    bootstrap = {'resamples': 10_000, 'videos': 40, 'seeds': 3, 'method': "BCa over videos, Student's t over seeds",
                 'caution': 'few'}
    many = metrics | {'results': {'ambiguous': {'anchor': cell | {'tp': 9999, 'fp': 9999, 'fn': 9999}},
                                  'overall': metrics['results']['overall']}}
    out = io.StringIO()
    Console(file=out, width=80).print(metrics_table(with_meta(many, bootstrap=bootstrap)))
    assert '40.0-61.3' in out.getvalue() and 'median' not in out.getvalue() and '…' not in out.getvalue()
    assert '10,000 resamples of 40 videos x 3 seeds few' in ' '.join(out.getvalue().split())
    assert 'no intervals: few' in printed(with_meta(metrics, bootstrap={'note': 'no intervals: few'}))


def test_thresholds_of_seeds(metrics):
    several = with_meta(metrics, seeds=2, threshold=[.1, .2], threshold_from=['command line', None])
    assert '0.1 (from command line); 0.2 (from an unnamed source)' in printed(several)
    same = with_meta(metrics, threshold=[None, None], threshold_from=[None, None])
    assert printed(same).count('all points count') == 1


def test_results_of_benchmarks_do_not_change_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, '__file__', str(tmp_path / 'mmpose_surgical/evaluation/summary.py'))
    assert summary.git_commit() is None
    code, table = tmp_path / 'code.py', tmp_path / 'benchmarks/results/table.md'
    table.parent.mkdir(parents=True)

    def git(*words):
        return subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *words], cwd=tmp_path, check=True,
                              capture_output=True, text=True).stdout.strip()
    for path in (code, table):
        path.write_text('1')
    git('init')
    git('add', '.')
    git('commit', '-m', 'all')
    table.write_text('2')
    assert summary.git_commit() == git('rev-parse', 'HEAD')
    code.write_text('2')
    assert summary.git_commit() == git('rev-parse', 'HEAD') + '-dirty'
