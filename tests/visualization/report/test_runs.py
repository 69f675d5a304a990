"""Reading finished runs: what is refused, what is joined, what is put apart."""
import json

import pytest
from report_runs import cell

from mmpose_surgical.errors import UserError
from mmpose_surgical.visualization.report.comparison import compare
from mmpose_surgical.visualization.report.runs import data_root, read_runs


def one(*folders):
    comparison, = compare(read_runs(folders))
    return comparison


def test_seeds_of_a_config_are_one_method_with_mean_and_range(make_run):
    low, high = cell(4, 2, 4, ci95=dict(f1=[0.4, 0.7])), cell(8, 2, 2, ci95=dict(f1=[0.6, 0.9]))
    method, = one(make_run(seed=1, tip=high), make_run(seed=0, tip=low)).methods
    assert [run.seed for run in method.runs] == [0, 1]
    f1 = method.joined('results', 'overall', 'tip', 'f1')
    assert (f1.low, f1.high, f1.seeds, f1.ci95) == (8 / 14, 0.8, 2, None)  # no interval from two
    assert f1.mean == pytest.approx((8 / 14 + 0.8) / 2)


def test_the_interval_of_a_single_run_is_its_own(make_run):
    run = make_run(tip=cell(4, 2, 4, ci95=dict(f1=[0.4, 0.7])))
    assert one(run).methods[0].joined('results', 'overall', 'tip', 'f1').ci95 == (0.4, 0.7)


def test_what_no_seed_defines_is_none_and_a_mean_is_over_those_that_do(make_run):
    method, = one(make_run(seed=0, tip=cell(1, 2, 3, l2=None)), make_run(seed=1, tip=cell(1, 2, 3, l2=4.))).methods
    assert method.joined('jitter', 'tip') is None
    l2 = method.joined('results', 'overall', 'tip', 'l2')
    assert (l2.mean, l2.seeds) == (4., 1)


@pytest.mark.parametrize('meta', [
    dict(data=dict(name='toy', sha256='b' * 64)), dict(split='val'), dict(canvas=None), dict(tolerance=10),
    dict(protocol='global'), dict(visible_only=True), dict(frames=19)])
def test_runs_on_different_grounds_are_refused_or_put_apart(make_run, meta):
    runs = read_runs([make_run('coarse'), make_run('refine', meta=meta)])
    with pytest.raises(UserError, match='were not evaluated alike: .*0/coarse.*0/refine.*Fix: .*--separate'):
        compare(runs)
    assert [[m.name for m in c.methods] for c in compare(runs, separate=True)] == [['coarse'], ['refine']]


def test_one_annotation_file_split_in_two_ways_is_refused(make_run):
    with pytest.raises(UserError, match='split differently'):
        one(make_run('coarse'), make_run('refine', content=dict(splits='other')))


def test_methods_stand_in_the_order_of_the_paper_and_oracles_are_named(make_run):
    names = ['bench_refine_prior_aux', 'oracle_prior', 'refine_prior', 'demo_coarse', 'rtmpose', 'direct_mask',
             'refine', 'simplebaseline']
    methods = one(*(make_run(name) for name in names)).methods
    assert [m.name for m in methods] == ['simplebaseline', 'rtmpose', 'demo_coarse', 'refine', 'direct_mask',
                                         'refine_prior', 'bench_refine_prior_aux', 'oracle_prior [oracle]']


def test_in_sample_variants_stand_before_those_that_they_are_held_against(make_run):
    meta = dict(config='refine_prior.py', coarse_for_training='in-sample')
    plain = make_run('refine_prior', meta=dict(coarse_for_training='out-of-fold'))
    methods = one(plain, make_run('worse', meta=meta), make_run('coarse')).methods
    assert [m.name for m in methods] == ['coarse', 'refine_prior (in-sample)', 'refine_prior (out-of-fold)']


def test_other_settings_or_another_prior_under_one_name_are_methods_of_their_own(make_run):
    grabcut = dict(prior=dict(backend='grabcut', stand_in=True, fingerprint='grabcut-1'))
    methods = one(make_run('refine', 0), make_run('refine', 1, content=dict(model='wider')),
                  make_run('refine', 2, meta=grabcut)).methods
    assert {m.name for m in methods} == {'refine (0/refine)', 'refine (1/refine)', 'refine (grabcut)'}
    assert sorted(m.prior for m in methods) == ['grabcut (a stand-in)', 'none', 'none']


def test_seeds_of_other_settings_are_named_after_the_folder_that_they_share(make_run):
    runs = [make_run(folder, seed, content=dict(model=folder), meta=dict(config='refine.py'))
            for seed in (0, 1) for folder in ('wide', 'refine')]
    assert {m.name for m in one(*runs).methods} == {'refine (wide)', 'refine (refine)'}


def test_refiners_behind_other_predictions_or_prompts_are_no_seeds_of_one_method(make_run):
    runs = []
    for seed, (chosen_on, points) in enumerate((('out-of-fold', 'both'), ('in-sample', 'both'), ('in-sample', 'tip'),
                                                ('in-sample', 'tip'))):
        folder = make_run('coarse', seed) / 'predictions'
        folder.mkdir()
        (folder / 'artifact.json').write_text(json.dumps(dict(facts=dict(chosen_on=chosen_on))))
        facts = dict(coarse='../coarse', predictions='../coarse/predictions', prior_config=dict(prompts=points))
        runs.append(make_run('refine_prior', seed, facts=facts))
    assert sorted(len(method.runs) for method in one(*runs).methods) == [1, 1, 2]


def test_several_seeds_may_be_joined_before(make_run):
    active = dict(accuracy=0.5, ci95=[0.4, 0.6])
    about = dict(method="BCa over videos, Student's t over seeds", resamples=10000, videos=6, seeds=3)
    comparison = one(make_run(meta=dict(seeds=3, bootstrap=about), more=dict(active_tool_accuracy=active)))
    method, = comparison.methods
    assert method.seeds == 3
    assert comparison.stands_on['intervals'] == "BCa over videos, Student's t over seeds, 10,000 resamples of 6 videos"
    assert method.joined('active_tool_accuracy', 'accuracy').ci95 == (0.4, 0.6)


def test_no_finished_run(make_run, tmp_path):
    run = make_run()
    for folder, message in ((tmp_path / 'nowhere', 'no such folder'), (run.parent, 'no finished run.*Fix: .*coarse'),
                            (make_run('refine', done=False), 'not finished')):
        with pytest.raises(UserError, match=message):
            read_runs([folder])
    with pytest.raises(UserError, match='given twice'):
        read_runs([run, run])


@pytest.mark.parametrize(('change', 'message'), [
    (lambda m: m['meta'].pop('data'), 'which ground truth'), (lambda m: m['results'].pop('overall'), 'results.overall'),
    (lambda m: m['results']['overall']['tip'].update(f1='high'), 'tip has no number or null as f1'),
    (lambda m: m['results']['overall']['tip'].update(l2=float('nan')), 'as l2'),
    (lambda m: m.update(per_video=3), 'per_video is not an object'),
    (lambda m: m.update(by=dict(smoke=[])), 'by.smoke is not an object'),
    (lambda m: m['meta'].update(prior='sam3'), 'meta.prior is not an object'),
    (lambda m: m['meta'].update(canvas=640), 'meta.canvas is not .width, height.'),
    (lambda m: m['meta'].update(seeds='3'), 'meta.seeds is not a number'),
    (lambda m: m['meta']['data'].pop('name'), 'which ground truth'), (lambda m: m.clear(), 'not {"meta"')])
def test_metrics_that_cannot_be_used_are_named(make_run, change, message):
    path = make_run() / 'metrics.json'
    metrics = json.loads(path.read_text())
    change(metrics)
    path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=message):
        read_runs([path.parent])
    for damaged in ('{"meta": ', '[' * 100_000):
        path.write_text(damaged)
        with pytest.raises(UserError, match='not valid JSON'):
            read_runs([path.parent])


@pytest.mark.parametrize('value', ['high', [1], True, {}])
def test_a_word_where_a_figure_belongs_is_named(make_run, value):
    method, = one(make_run(more=dict(jitter=dict(tip=value)))).methods
    with pytest.raises(UserError, match=r'jitter.tip is no number \(.*metrics.json'):
        method.joined('jitter', 'tip')


def test_a_damaged_record_is_named(make_run):
    path = make_run() / 'artifact.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()), content=3)))
    with pytest.raises(UserError, match='record of the work directory is damaged'):
        read_runs([path.parent])


def test_a_copy_of_a_run_is_no_second_seed(make_run):
    first, second = make_run(seed=0), make_run(seed=1, content=dict(seed=0))
    with pytest.raises(UserError, match='no seeds that differ'):
        one(first, second)


def test_results_of_a_test_belong_to_the_training_around_them(make_run):
    trained = make_run('refine', 3)
    tested = trained / 'test-toy-test'
    tested.mkdir()
    (trained / 'metrics.json').rename(tested / 'metrics.json')
    run, = read_runs([tested])
    assert (run.seed, run.config, run.trained_in) == (3, 'refine', trained)


def test_the_data_set_is_where_the_dumped_config_says(make_run, tmp_path):
    folder = make_run()
    run, = read_runs([folder])
    assert data_root(run) is None
    (folder / 'coarse.py').write_text(f'_base_ = []\ndata_root = {str(tmp_path)!r}\nmodel = dict(a=1)\n')
    assert data_root(run) == tmp_path
