"""``benchmarks/ablation.py``: its queue, what it keeps, and the tables it makes of that."""
import dataclasses
import json
import threading
import time

import pytest
from report_runs import write_run
from toy_data import write_toy_data

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split, load_splits
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions, write_predictions
from mmpose_surgical.files import write_json


@pytest.fixture
def bench(root, monkeypatch, tmp_path):
    """The modules of the benchmark, whose results go elsewhere."""
    monkeypatch.syspath_prepend(str(root / 'benchmarks'))
    import ablation
    import ablation_results
    import ablation_tables
    import ablation_units
    monkeypatch.setattr(ablation_units, 'UNITS', tmp_path / 'units')
    monkeypatch.setattr(ablation_results, 'RESULTS', tmp_path / 'results')
    return dict(queue=ablation, results=ablation_results, tables=ablation_tables, units=ablation_units)


def test_every_method_is_of_a_config_that_reads_and_no_two_are_alike(bench):
    units = bench['units']
    recipes = [(method.data, units.recipe(method)) for method in units.METHODS]
    assert len(set(recipes)) == len(recipes)
    assert len({(method.data, method.name) for method in units.METHODS}) == len(units.METHODS)
    known = {method.name for method in units.METHODS}
    results = bench['results']
    pairs = [*results.NO_PRIOR, *results.PAPER, *results.OTHERS, *results.LENGTHS,
             *(part[:2] for part in results.PARTS)]
    assert {name.format(backend) for pair in pairs for name in pair for backend in results.BACKENDS} <= known
    configs = {method.name: units.config_of(method) for method in units.METHODS}
    for name, epochs in units.EPOCHS.items():
        assert configs[name].train_cfg.max_epochs == epochs
    # Baselines of other rates and sharpness are as long as their shortest control.
    for name in ('rtmpose', 'simplebaseline', 'yolov8_pose'):
        others = {cfg.train_cfg.max_epochs for other, cfg in configs.items()
                  if other.startswith((f'{name}_rate_', f'{name}_sigma_'))}
        assert others == {configs[f'{name}_{units.CONTROLS[name][0]}'].train_cfg.max_epochs}


def test_the_queue_shares_no_chain_and_goes_on_behind_a_failure(bench, monkeypatch):
    queue, method = bench['queue'], bench['units'].Method
    chained = [method(f'c{i}', 'x', chain=True) for i in range(3)]
    units = [(m, seed) for seed in (0, 1) for m in (*chained, method('free', 'x'))]
    busy, order, lock = set(), [], threading.Lock()

    def train(m, seed, cores):
        with lock:
            assert not (m.chain and seed in busy)
            busy.update([seed] if m.chain else [])
            order.append((m.name, seed))
        time.sleep(0.01)
        with lock:
            busy.difference_update([seed] if m.chain else [])
        return 'no space' if (m.name, seed) == ('c1', 0) else None
    monkeypatch.setattr(queue, 'train', train)
    running = queue.Queue(list(units), float('inf'))
    workers = [threading.Thread(target=running.work, args=(1,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=20)
    assert sorted(order) == sorted((m.name, seed) for m, seed in units)
    assert running.failed == ['bench c1, seed 0: no space'] and not running.running
    late = queue.Queue(list(units), 0)
    late.work(1)
    assert len(late.waiting) == len(units)


def test_an_error_of_a_worker_is_a_failure(bench, monkeypatch):
    queue, method = bench['queue'], bench['units'].Method('a', 'x')
    monkeypatch.setattr(queue, 'train', lambda *unit: 1 / 0)
    running = queue.Queue([(method, 0)], float('inf'))
    with pytest.raises(ZeroDivisionError):
        running.work(1)
    assert running.failed == ['bench a, seed 0: was cut off'] and not running.running


@pytest.fixture
def cases(tmp_path_factory, bench, monkeypatch):
    """Eight test videos in the place of the bench."""
    folder = tmp_path_factory.mktemp('ablation')
    splits = dict(a='train', b='train', c='val', **{f't{i}': 'test' for i in range(8)})
    data = load_annotations(write_toy_data(folder / 'data/bench', splits, clips=3, frames=3))
    for module in ('results', 'units'):
        monkeypatch.setattr(bench[module], 'ROOT', folder)
    return data


@pytest.fixture
def finished(cases, bench, monkeypatch):
    """``finished(name, seed, hits)``: a unit that found so many tips, as its training left it."""
    units, folders = bench['units'], {}
    monkeypatch.setattr(units, 'recipe', lambda method: method.config)
    monkeypatch.setattr(units.Method, 'folder', lambda self, seed: folders[self.name, seed])

    def make(name, seed, hits):
        method = units.Method(name, f'bench_{name}')
        acting = [frame for frame in frames_of_split(cases, 'test') if frame.active_tools]
        points = [dict(image_id=frame.image_id, landmark='tip', x=frame.active_tools[0].points[0].x + (
            0.001 if number < hits else 5), y=frame.active_tools[0].points[0].y, score=0.9)
            for number, frame in enumerate(acting)]
        folders[name, seed] = folder = write_run(
            cases.root.parents[1] / 'work_dirs', name, seed, content=dict(train_cfg=dict(max_epochs=12)),
            meta=dict(data=dict(name='bench', sha256=cases.sha256, synthetic=True)))
        write_json(folder / 'thresholds.json', dict(tip=0.5, anchor=None, meta=dict(f1=dict(tip=0.8, anchor=None))))
        for split in ('test', 'val'):
            write_predictions(folder / f'{split}_predictions.json', Predictions.from_records(
                [*points, dict(points[0], x=points[0]['x'] + 0.001)]))
        units.keep(method, seed, 60)
        return method
    return make


def test_what_is_kept_is_whole_and_of_todays_config(finished, bench, tmp_path):
    units = bench['units']
    method = finished('coarse', 0, 9)
    record = units.kept(method, 0)
    assert record['thresholds'] == dict(tip=0.5, anchor=None) and record['epochs'] == 12 and record['seconds'] == 60
    # Two points that rounding made one are one.
    assert len(read_predictions(tmp_path / 'units/bench/coarse/seed0_test.csv.gz')) == 16
    assert units.kept(method, 1) is None
    assert units.kept(dataclasses.replace(method, config='other'), 0) is None
    assert units.units_of(dataclasses.replace(method, config='other')) == []


def test_what_no_commit_has_is_not_kept(finished, bench, monkeypatch, tmp_path):
    units = bench['units']
    folder = finished('coarse', 0, 9).folder(0)
    metrics = json.loads((folder / 'metrics.json').read_text())
    metrics['meta']['git_commit'] = 40 * 'a' + '-dirty'
    write_json(folder / 'metrics.json', metrics)
    with pytest.raises(UserError, match='files had changed since its commit'):
        units.keep(units.Method('coarse', 'bench_coarse'), 0, 60)


def test_tables_of_what_is_kept(finished, bench, cases, monkeypatch, tmp_path):
    kept = [finished('coarse', 0, 8), finished('coarse', 1, 8), finished('refine', 0, 15), finished('refine', 1, 14),
            finished('simplebaseline', 0, 3)]
    results = bench['results']
    monkeypatch.setattr(results, 'METHODS', [*dict.fromkeys(kept), bench['units'].Method('direct_mask', 'x')])
    # The tools of the toy data are some 10 px apart and stretched to the canvas.
    monkeypatch.setattr(results, 'MOTION', 'bench')
    monkeypatch.setattr(results, 'LOOKS', 'bench')
    monkeypatch.setattr(results, 'BY', ('source',))
    monkeypatch.setattr(results, 'trained_by', lambda *method: dict(
        learning_rate=0.004, frames_seen=2000, frames_seen_by_all_stages=5000))
    results.write_results()
    found = json.loads((tmp_path / 'results/ablation.json').read_text())['benches']['bench']
    assert found['test_videos'] == 8 and found['test_frames'] == 24 and found['data']['sha256'] == cases.sha256
    coarse = found['methods']['coarse']
    assert coarse['results']['overall']['tip']['tp'] == 16 and coarse['seed'] == [0, 1]
    assert set(coarse['results']['grasp']['tip']['ci95']) >= {'f1'}
    assert coarse['above_chance']['frames'] == 32 and coarse['above_chance']['answered'] == 1
    assert found['chance'] == 0.5 and coarse['above_chance']['difference'] == pytest.approx(
        coarse['above_chance']['accuracy'] - 0.5)
    entry, = found['paper']['simulated']
    tip = entry['f1']['overall']['tip']
    assert (entry['a'], entry['b'], entry['seeds']) == ('refine', 'coarse', [0, 1])
    assert tip['difference'] == pytest.approx((29 - 16) / 32) and entry['holm']['tip']['p'] >= tip['p']
    text = (tmp_path / 'results/ablation.md').read_text()
    assert '| refine > coarse | tip | 2 | 90.6 | 50.0 |' in text
    assert '| coarse | 0, 1 | 12 | 0.004 | 2 | 5 | 80.0, 80.0 | -, - |' in text and '50.0 / 0.0, 50.0 / 0.0' in text
    assert "- Of the paper's orderings, prior `simulated`, cannot be told: refine > coarse.\n" in text
    assert ('Not trained yet: coarse, seed 2; refine, seed 2; simplebaseline, seeds 1, 2; '
            'direct_mask, seeds 0, 1, 2.') in text
    assert 'one training seed' in text
    assert 'layout of Table 3' in text and 'layout of Table 2' in text and '| simplebaseline |' in text


def test_holm_correction_by_hand(bench):
    # 3 x 0.01, then 2 x 0.03, and never less than the one before: 1 x 0.04 becomes 0.06.
    assert bench['results']._corrected([0.01, 0.04, 0.03, None]) == [0.03, 0.06, 0.06, None]


def test_each_kind_of_p_is_corrected_by_itself(bench):
    cells = [dict(p=0.01, equivalence=dict(p=0.9)), dict(p=0.2)]
    assert bench['results']._holm(cells) == [dict(p=0.02, equivalence=0.9), dict(p=0.2, equivalence=None)]


@pytest.mark.parametrize('difference, p, equivalence, sign, verdict', [
    (0.1, 0.01, 1, 1, 'holds'), (-0.1, 0.01, 1, 1, 'is reversed'), (0.01, 0.2, 0.01, 1, 'equivalent'),
    (0.1, 0.2, 0.4, 1, 'cannot be told'), (0.01, 0.01, 0.01, 1, 'holds'), (None, None, None, 1, 'cannot be told'),
    (-2.0, 0.01, None, -1, 'holds'), (2.0, 0.01, None, -1, 'is reversed')])
def test_verdicts(bench, difference, p, equivalence, sign, verdict):
    assert bench['tables']._verdict(dict(difference=difference), dict(p=p, equivalence=equivalence), sign) == verdict


def test_verdicts_of_parts_know_that_the_smaller_distance_is_better(bench):
    cell = dict(a=3.0, b=4.0, difference=-1.0, ci95=[-1.5, -0.5], p=0.001)
    part = dict(a='x', b='y', action='overall', landmark='tip', seeds=[0], cell=cell, holm=dict(
        p=0.01, equivalence=None))
    lines = bench['tables']._parts([dict(part, measure='l2'), dict(part, measure='f1')])
    assert lines[2].startswith('| x < y | L2, px |') and lines[2].endswith('| holds |')
    assert lines[3].startswith('| x > y | F1 |') and lines[3].endswith('| is reversed |')


def test_what_is_said_of_the_paper_is_what_it_prints(bench, root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / 'tests/evaluation'))
    from test_paper_tables import TABLE_2, TABLE_3
    results = bench['results']
    names = {'Coarse': 'coarse', 'Refine w/o prior': 'refine', 'Direct mask-aug.': 'direct_mask',
             'Refine + prior': results.PRIOR, 'Refine + prior + aux': results.AUX, 'Ours': results.AUX,
             'SimpleBaseline': 'simplebaseline', 'RTMPose': 'rtmpose', 'YOLOv8-pose': 'yolov8_pose'}
    printed = {(action, names[method]): row for (action, method), row in (TABLE_2 | TABLE_3).items()}
    overall = {name: (row[2], row[5]) for (action, name), row in printed.items() if action == 'overall'}
    assert overall == results.PAPER_F1
    for a, b in (*results.NO_PRIOR, *results.PAPER):
        assert all(x >= y for x, y in zip(results.PAPER_F1[a], results.PAPER_F1[b]))
    checked = 0
    for a, b, action, landmark, measure in results.PARTS:
        if measure != 'l2' and {(action, a), (action, b)} <= set(printed):
            column = {'recall': 1, 'f1': 2}[measure] + (3 if landmark == 'anchor' else 0)
            assert printed[action, a][column] > printed[action, b][column], (a, b, action, landmark, measure)
            checked += 1
    assert checked == 16


def test_frames_of_all_stages(bench, toy_data):
    data = load_annotations(toy_data)
    pictures = sum(frame.annotated for frame in frames_of_split(data, 'train'))
    methods = {method.name: method for method in bench['units'].METHODS if method.data == 'bench'}
    folds = len(load_splits(toy_data, data).folds)
    coarse = 24 * pictures * 3
    assert folds > 1
    for name, own, behind in (('coarse', coarse, 0), ('rtmpose', 160 * pictures, 0), ('refine', 6 * pictures, folds),
                              ('in_sample_simulated', 6 * pictures, 1)):
        found = bench['results'].trained_by(methods[name], data)
        # The folds hold each picture out once.
        assert (found['frames_seen'], found['frames_seen_by_all_stages']) == (own, own + behind * coarse)


def test_a_plateau_is_judged_by_the_longest_training(bench):
    def entry(a, b, difference, equal, p, seeds=(0, 1)):
        cell = dict(difference=difference, equivalence=dict(equivalent=equal), p=p)
        return dict(a=a, b=b, seeds=seeds, f1=dict(overall=dict(tip=cell, anchor=cell)))
    lengths = [entry('coarse', 'coarse_half', 0.1, False, 0.01),
               entry('coarse_double', 'coarse', 0.04, False, 0.01, [0]),
               entry('rtmpose', 'rtmpose_half', 0.1, False, 0.01), entry('rtmpose_double', 'rtmpose', 0.01, True, 0.01),
               entry('refine', 'refine_half', 0.04, False, 0.01), entry('direct_double', 'direct', -0.04, False, 0.01),
               entry('simple_double', 'simple', 0.04, False, 0.2)]
    assert bench['tables']._moving(lengths) == (
        ['coarse (coarse to coarse_double: +4.0, +4.0, one seed)'],
        ['refine (refine_half to refine: +4.0, +4.0)', 'direct (direct to direct_double: -4.0, -4.0)',
         'simple (simple to simple_double: +4.0, +4.0)'])
    shares = bench['units'].SHARES
    for told in bench['units'].CONTROLS.values():
        assert [shares[share] for share in told] == sorted(shares[share] for share in told)


@pytest.mark.parametrize('p, equivalence, said', [
    (0.01, 0.01, 'not at chance'), (0.01, 0.9, 'not at chance'), (0.3, 0.01, 'at chance, within 3 points'),
    (0.3, 0.3, 'not told apart from chance, nor shown to be within 3 points of it')])
def test_what_is_said_of_chance(bench, p, equivalence, said):
    assert bench['tables'].against_chance(dict(p=p, p_equivalence=equivalence)) == said
