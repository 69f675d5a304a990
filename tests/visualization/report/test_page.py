"""The page: whole, self-contained, of limited size, with a gallery that shows what the predictions are."""
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_runs import cell
from tool_runs import run as run_tool

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.store import RecordStore
from mmpose_surgical.visualization.report.comparison import compare
from mmpose_surgical.visualization.report.figures import all_figures
from mmpose_surgical.visualization.report.gallery import choose_frames, conditions_of, lay_heatmap
from mmpose_surgical.visualization.report.page import lacking, write_report
from mmpose_surgical.visualization.report.runs import read_runs

VOID = {'meta', 'img', 'input', 'br'}


class Page(HTMLParser):
    """Collects addresses, texts of scripts and the ids of a page; tags must nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.addresses, self.ids, self.tags, self.scripts = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.addresses += [attrs[k] for k in ('src', 'href', 'srcset', 'action', 'data') if attrs.get(k)]
        self.ids += [attrs['id']] if 'id' in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == 'script' and dict(self.tags[-1][1]).get('type') == 'application/json':
            self.scripts.append(json.loads(data))


FULL = dict(
    tolerance_curve=dict(tolerance=[5, 15], tip=[0.2, 0.6], anchor=[None, 0.4]),
    score_curve=dict(tip=dict(score=[0.9, 0.1], precision=[1., 0.5], recall=[0.1, 0.9], f1=[0.2, 0.6])),
    calibration=dict(tip=dict(edges=[0, 0.5, 1], mean_score=[0.2, 0.8], precision=[None, 0.7], count=[0, 9], ece=0.1)),
    per_video={'v</script>': dict(source='A', frames=3, tip=cell(1, 1, 0), anchor=cell(1, 0, 1))})


def test_a_page_is_whole_and_needs_nothing_from_elsewhere(shown_run, toy_data, tmp_path):
    truth = next(f for f in load_annotations(toy_data).frames if f.video.name == 'd' and f.active_tools)
    tip = next(p for p in truth.active_tools[0].points if p.landmark == 'tip')
    point = dict(image_id=truth.image_id, landmark='tip', x=tip.x, y=tip.y, score=0.9)
    runs = [shown_run('coarse', [point], more=FULL), shown_run('refine', [])]
    out = tmp_path / 'report.html'
    part, = write_report(runs, out)
    text = out.read_text()
    page = Page(text)
    assert page.addresses and all(a.startswith(('#', 'data:image/jpeg;base64,')) for a in page.addresses)
    assert not re.search(r'@import|url\(', text[:text.index('</style>')])
    assert len(page.ids) == len(set(page.ids))
    for number in ('0.6', 'data-method="1-0"', 'SHA-256'):
        assert number in text
    assert len(page.scripts) == len(part.figures) == 5
    item, = part.gallery.shown  # the other test frame is idle, and nobody found anything there
    assert (item.kind, item.action) == ('disputed', 'grasp') and len(item.panels) == 3
    assert [p.caption for p in item.panels[1:]] == ['coarse: F1 67 %, points only', 'refine: F1 0 %, points only']
    assert out.with_suffix('.md').is_file() and out.with_suffix('.tex').is_file()


def test_controls_are_native_and_tables_say_how_they_are_sorted(make_run, tmp_path):
    write_report([make_run()], tmp_path / 'r.html', count=0)
    tags = Page((tmp_path / 'r.html').read_text()).tags
    sortable = [attrs for tag, attrs in tags if tag == 'th' and 'aria-sort' in attrs]
    assert len(sortable) == sum(tag == 'button' for tag, _ in tags) > 0
    assert not any(name.startswith('on') for _, attrs in tags for name in attrs)


def test_figures_say_what_the_metrics_say(make_run):
    comparison, = compare(read_runs([make_run('coarse', more=FULL)]))
    figures = {figure.key: figure for figure in all_figures(comparison)}
    assert set(figures) == {'tolerance', 'precision-recall', 'f1-score', 'calibration', 'videos'}
    assert figures['tolerance'].rows == (('coarse', 'tip', '5', '20.0', '1'), ('coarse', 'tip', '15', '60.0', '1'),
                                         ('coarse', 'anchor', '15', '40.0', '1'))
    assert figures['precision-recall'].rows == (('coarse', '0', 'tip', '10', '100.0'),
                                                 ('coarse', '0', 'tip', '90', '50.0'))
    assert figures['calibration'].rows == (('coarse', '0', 'tip', '0.8', '70.0'),)
    assert figures['videos'].rows[0] == ('coarse', 'v</script>', 'A', '3', 'tip', '66.7', '-')
    assert '</script>' not in figures['videos'].json


def test_prior_quality_stands_against_what_refinement_gained(make_run):
    coarse = make_run('coarse', tip=cell(5, 5, 5))
    priors = coarse / 'priors-simulated'
    priors.mkdir()
    quality = dict(pictures=10, unprompted=2, failed=2, with_instances=8, straddling=4, with_truth=8, mean_iou=0.6)
    report = {'training': dict(quality, mean_iou=0.9), 'held out': quality}
    (priors / 'artifact.json').write_text(json.dumps(dict(facts=dict(report=report))))
    prior = dict(backend='simulated', stand_in=True, fingerprint='simulated-1')
    refine = make_run('refine_prior', tip=cell(7, 3, 3), meta=dict(prior=prior),
                      facts=dict(coarse='../coarse', priors='../coarse/priors-simulated'))
    comparison, = compare(read_runs([coarse, refine]))
    figures = {figure.key: figure for figure in all_figures(comparison)}
    assert not any('mask priors' in line for line in lacking(comparison))
    name = 'simulated (a stand-in)'
    assert [row[-2:] for row in figures['priors'].rows] == [
        ('mean IoU', '60.0'), ('failed', '25.0'), ('straddling', '50.0'), ('no prompt', '20.0')]
    assert figures['gain'].rows[0] == ('refine_prior', name, '0', '10', 'tip', '60.0', '+20.0')
    # What older stores recorded mixes training pictures in.
    (priors / 'artifact.json').write_text(json.dumps(dict(facts=dict(report=quality))))
    assert 'quality of the mask priors that were read, told by tools/make_priors.py: no run' in lacking(comparison)
    assert 'priors' not in {figure.key for figure in all_figures(comparison)}


def test_every_table_is_on_the_page(shown_run, toy_data, tmp_path):
    frames = frames_of_split(load_annotations(toy_data), 'test')
    points = [dict(image_id=frame.image_id, landmark=point.landmark, x=point.x, y=point.y, score=0.9)
              for frame in frames for tool in frame.active_tools for point in tool.points]
    folders = [shown_run('coarse', points[:1]), shown_run('refine', points)]
    part, = write_report(folders, tmp_path / 'r.html', data=toy_data, count=0)
    page = (tmp_path / 'r.html').read_text()
    assert {table.key for table in part.tables} >= {'methods', 'strategies', 'differences', 'counts', 'runs'}
    for table in part.tables:
        assert f'<table id="table-{table.key}-1"' in page, table.title


def test_metrics_of_a_mere_predictions_file_are_enough(make_run, tmp_path):
    folder = make_run('yolo')
    metrics = json.loads((folder / 'metrics.json').read_text())
    for key in ('config', 'checkpoint', 'git_commit', 'prior', 'threshold_from'):
        metrics['meta'].pop(key)
    metrics['meta']['threshold'] = None
    (folder / 'metrics.json').write_text(json.dumps(metrics))
    (folder / 'artifact.json').unlink()
    part, = write_report([folder], tmp_path / 'r.html', count=0)
    assert [(m.name, m.prior) for m in part.comparison.methods] == [('yolo', 'not recorded')]
    assert part.comparison.stands_on['threshold'] == 'none: all points count'
    Page((tmp_path / 'r.html').read_text())


def test_what_runs_lack_is_said(make_run):
    comparison, = compare(read_runs([make_run('coarse', more=FULL), make_run('refine')]))
    lines = lacking(comparison)
    assert 'temporal jitter: no run' in lines and 'F1 over the tolerance: 1 of 2 runs; without: 0/refine' in lines


def test_parts_on_different_grounds_are_labelled(make_run, tmp_path):
    runs = [make_run('coarse'), make_run('refine', meta=dict(tolerance=10))]
    parts = write_report(runs, tmp_path / 'r.html', count=0, separate=True)
    text = (tmp_path / 'r.html').read_text()
    assert len(parts) == 2 and text.count('do not compare numbers across parts') == 2
    assert '1 of 2: toy' in text and '10 px on a canvas' in text
    Page(text)


def test_the_gallery_is_cut_to_the_size_of_the_page(shown_run, tmp_path):
    runs = [shown_run('coarse', [dict(image_id=i, landmark='tip', x=1, y=1, score=1) for i in (7, 8)])]
    write_report(runs, tmp_path / 'bare.html', count=0)
    bare = (tmp_path / 'bare.html').stat().st_size
    whole, = write_report(runs, tmp_path / 'r.html')
    assert len(whole.gallery.shown) == 2 and whole.gallery.left_out == 0
    part, = write_report(runs, tmp_path / 'r.html', limit=bare + 5000)
    assert part.gallery.left_out == 2 and (tmp_path / 'r.html').stat().st_size <= bare + 5000
    before = (tmp_path / 'r.html').read_bytes()
    with pytest.raises(UserError, match='MB, more than'):
        write_report(runs, tmp_path / 'r.html', limit=1000)
    assert (tmp_path / 'r.html').read_bytes() == before


def test_another_data_set_is_no_ground_for_a_gallery(make_run, shown_run, toy_data, tmp_path):
    with pytest.raises(UserError, match='not the data set'):
        write_report([make_run()], tmp_path / 'r.html', data=toy_data)
    with pytest.raises(UserError, match=r'not in the evaluated split: \[1\]'):
        write_report([shown_run('refine', [])], tmp_path / 'r.html', frames=[1])


def test_frames_are_chosen_by_what_methods_made_of_them(toy_data):
    frames = load_annotations(toy_data).annotated_frames()
    a, b, c, d = (f.image_id for f in frames[::2][:4])
    good, bad = {a: 1., b: 0., c: 1., d: 0.1}, {a: 1., b: 0., c: 0., d: 0.2}
    by_id = {f.image_id: f for f in frames}
    chosen = choose_frames(frames, [good, bad], 1, [d])
    assert [(kind, f.image_id) for kind, f in chosen] == [('chosen', d), ('disputed', c), ('worst', b), ('best', a)]
    assert len({(f.video.id, f.clip.id) for _, f in choose_frames(frames, [good, bad], 9)}) == 4
    by_id[a].extra = dict(conditions=dict(smoke=0.3, blur=0.001), tags=['dark'], tissue='liver',
                           attributes=dict(look_alike=True, still=False, tools=2, gas=0))
    assert conditions_of(by_id[a]) == ('smoke', 'dark', 'tissue: liver', 'look_alike', 'tools: 2')
    assert conditions_of(by_id[b]) == ('none',)


def test_a_heatmap_lies_where_its_point_is():
    heatmaps = np.zeros((2, 12, 16), np.float32)
    heatmaps[0, 6, 8] = 1
    laid = lay_heatmap(np.zeros((48, 64, 3), np.uint8), heatmaps, dict(input_center=[32, 24], input_scale=[64, 48]))
    y, x = np.unravel_index(laid.sum(axis=2).argmax(), (48, 64))
    assert (x, y) == (32, 24)
    assert laid[y, x, 0] < laid[y, x, 2]  # yellow: a tip


def test_heatmaps_that_are_stored_are_shown(shown_run, toy_data, tmp_path):
    folder = shown_run('coarse', [dict(image_id=7, landmark='tip', x=20, y=10, score=1)])
    with RecordStore(folder / 'predictions', dict(coarse='x'), mode='a') as store:
        store.put('k', dict(heatmaps=np.zeros((2, 12, 16), np.float16)),
                  dict(input_center=[32, 24], input_scale=[64, 48]))
        store.link(7, 'k')
    part, = write_report([folder], tmp_path / 'r.html')
    captions = {item.title: item.panels[1].caption for item in part.gallery.shown}
    assert all('points only' not in caption for title, caption in captions.items() if '(image 7)' in title)
    assert 'heatmaps of the network: no run' not in part.lacking


def test_the_tool_names_what_is_wrong_in_one_line(make_run, root: Path, tmp_path):
    code, out, _ = run_tool(root / 'tools/report.py', make_run(), '--out', tmp_path / 'r.html')
    assert code == 0 and 'no gallery: the data set is not where' in out and (tmp_path / 'r.html').is_file()
    code, out, err = run_tool(root / 'tools/report.py', tmp_path)
    assert code == 1 and err.startswith('error: this is no finished run') and err.count('\n') == 1
    for args in (('--gallery', -3), ('--gallery', 0, '--frames', 7)):
        code, _, err = run_tool(root / 'tools/report.py', tmp_path, *args)
        assert code == 2 and '--gallery' in err


def test_outputs_stand_in_places_of_their_own(make_run, tmp_path):
    run = make_run()
    before = (run / 'metrics.json').read_bytes()
    for out, more in (('r.md', {}), ('r.html', dict(markdown_out=tmp_path / 'r.html')), ('0', {}), ('', {}),
                      ('0/coarse/metrics.json', {}), ('r.html', dict(latex_out=run / 'metrics.json'))):
        with pytest.raises(UserError, match='name'):
            write_report([run], tmp_path / out, **more)
    with pytest.raises(UserError, match='this is a folder'):
        write_report([run], Path(''))
    assert [path.name for path in tmp_path.iterdir()] == ['0'] and (run / 'metrics.json').read_bytes() == before
