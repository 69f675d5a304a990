"""Seeds joined and methods compared from the predictions in the folders of finished runs."""
import pytest
from report_runs import cell
from toy_data import write_toy_data

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.predictions import Predictions, write_predictions
from mmpose_surgical.visualization.report.comparison import compare
from mmpose_surgical.visualization.report.pooling import differences_table, pool_seeds, share_coarse
from mmpose_surgical.visualization.report.runs import read_runs


@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    """Eight test videos with two acting frames each."""
    folder = tmp_path_factory.mktemp('cases')
    splits = dict(a='train', b='train', c='val', **{f't{i}': 'test' for i in range(8)})
    return load_annotations(write_toy_data(folder, splits, clips=3, frames=3))


@pytest.fixture
def runs(cases, make_run):
    """``runs(name, seed, hits)``: a run that finds the first ``hits`` of the tips and misplaces the others."""
    def make(name, seed, hits, **more):
        acting = [frame for frame in frames_of_split(cases, 'test') if frame.active_tools]
        points = []
        for number, frame in enumerate(acting):
            tip = next(p for p in frame.active_tools[0].points if p.landmark == 'tip')
            points.append(dict(image_id=frame.image_id, landmark='tip', x=tip.x + (0 if number < hits else 40), y=tip.y,
                               score=0.9))
        folder = make_run(name, seed, tip=cell(hits, len(acting) - hits, len(acting) - hits), meta=dict(
            data=dict(name='cases', sha256=cases.sha256, synthetic=True), threshold=None, canvas=None, tolerance=5,
            frames=24, idle_frames=8), **more)
        write_predictions(folder / 'test_predictions.json', Predictions.from_records(points))
        return folder
    return make


def test_counts_of_seeds_are_summed_and_have_one_interval(cases, runs):
    comparison, = compare(read_runs([runs('coarse', 0, 12), runs('coarse', 1, 6)]))
    method, = pool_seeds(comparison, cases).methods
    assert method.pooled['results']['overall']['tip']['tp'] == 18
    f1 = method.joined('results', 'overall', 'tip', 'f1')
    assert (f1.low, f1.mean, f1.high, f1.seeds) == (6 / 16, 18 / 32, 12 / 16, 2)
    assert f1.ci95[0] < f1.mean < f1.ci95[1]
    # A single run keeps its own metrics, and so does a method without predictions.
    single, = compare(read_runs([runs('refine', 0, 3)]))
    assert pool_seeds(single, cases).methods[0].pooled is None
    (comparison.methods[0].runs[1].folder / 'test_predictions.json').unlink()
    assert pool_seeds(comparison, cases).methods[0].pooled is None


def test_differences_are_paired_with_the_last_strategy(cases, runs):
    folders = [runs('coarse', 0, 4), runs('coarse', 1, 4), runs('refine', 0, 4), runs('refine_prior_aux', 0, 15)]
    comparison, = compare(read_runs(folders))
    table = differences_table(comparison, cases)
    assert table.title == 'Differences to refine_prior_aux, prior: none'
    rows = table.sections[0].rows
    assert [row.heads[::2] for row in rows] == [('coarse', '0'), ('refine', '0')]
    tip, p = rows[1].cells[:2]
    assert tip.value.mean == (4 - 15) / 16 and tip.text == '-68.8' and tip.value.ci95[1] < 0
    assert p.text == f'{p.value.mean:.3f}' and p.value.mean < 0.05
    assert differences_table(compare(read_runs(folders[:2]))[0], cases) is None


def test_a_difference_is_of_the_seeds_that_both_have(cases, runs):
    folders = [runs('coarse', 0, 4), runs('coarse', 1, 12), *(runs('refine', seed, 8) for seed in (1, 2))]
    row, = differences_table(compare(read_runs(folders))[0], cases).sections[0].rows
    assert row.heads[2] == '1' and row.cells[0].value.mean == (12 - 8) / 16
    row, = differences_table(compare(read_runs([folders[0], *folders[2:]]))[0], cases).sections[0].rows
    assert row.heads[2] == '0 / 1, 2' and row.cells[0].value.mean == (4 - 8) / 16  # none in common: all count


def test_seeds_behind_the_same_coarse_networks_are_paired(runs):
    coarse = [runs('coarse', seed, 4) for seed in (0, 1)]
    refined = [runs('refine', seed, 9, facts=dict(coarse='../coarse')) for seed in (0, 1)]
    alone = [runs('direct_mask', seed, 9) for seed in (0, 1)]
    methods = {method.name: method for method in compare(read_runs([*coarse, *refined, *alone]))[0].methods}
    assert share_coarse(methods['coarse'], methods['refine']) and share_coarse(methods['refine'], methods['coarse'])
    assert not share_coarse(methods['direct_mask'], methods['refine'])
    fewer, = compare(read_runs(coarse[:1]))[0].methods
    assert not share_coarse(fewer, methods['refine']) and not share_coarse(fewer, fewer)
