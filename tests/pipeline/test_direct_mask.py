"""Direct mask supervision through the pipeline, with masks in the annotations and without."""
import json
import shutil
from pathlib import Path

import numpy as np
from pipeline_runs import ROOT, evaluate, train

from mmpose_surgical.priors.store import RecordStore

CONFIG = 'configs/demo/demo_direct_mask.py'


def without_masks(toy_data: Path, folder: Path, every: int) -> Path:
    """A copy of the toy data in which each ``every``-th annotation has lost its mask."""
    shutil.copytree(toy_data, folder)
    path = folder / 'annotations.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations'][::every]:
        annotation.pop('segmentation', None)
    path.write_text(json.dumps(content))
    return folder


def test_masks_of_the_annotations_are_the_target(plugin, toy_data, tmp_path, capsys) -> None:
    assert train(CONFIG, toy_data, tmp_path) == 0
    out = capsys.readouterr().out
    assert 'masks in the target: ground truth\n' in out and '[1/1] direct mask' in out
    meta = json.loads((tmp_path / 'demo_direct_mask/metrics.json').read_text())['meta']
    assert meta['target_masks'] == 'ground truth' and meta['prior'] is None
    assert not list(tmp_path.glob('tool_masks*'))
    config = tmp_path / 'demo_direct_mask/demo_direct_mask.py'
    assert evaluate(config, tmp_path / 'demo_direct_mask/epoch_2.pth', tmp_path / 'test') == 0
    tested = json.loads((tmp_path / 'test/metrics.json').read_text())
    assert tested['results'] == json.loads((tmp_path / 'demo_direct_mask/metrics.json').read_text())['results']
    assert tested['meta']['target_masks'] == 'ground truth'


def test_a_backend_makes_what_is_lacking_from_ground_truth_points(plugin, toy_data, tmp_path, capsys) -> None:
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.datasets.splits import frames_of_split
    data = without_masks(toy_data, tmp_path / 'data', every=1)
    annotations = load_annotations(data)
    lacking = [frame for frame in frames_of_split(annotations, 'train') if frame.active_tools]
    assert train(CONFIG, data, tmp_path / 'runs', 'prior.backend=grabcut') == 0
    told = f'grabcut (a stand-in), prompted with ground-truth points, in {len(lacking)} training frames'
    out = capsys.readouterr().out
    assert f'masks in the target: {told}' in out and '[1/2] tool masks of training frames' in out
    store = RecordStore(tmp_path / 'runs/tool_masks-grabcut')
    assert len(store) == len(lacking)  # of training frames alone
    for frame in lacking:
        points = [(point.x, point.y) for tool in frame.active_tools for point in tool.points]
        np.testing.assert_allclose(store.get(frame.image_id)[0]['points_xy'], points, atol=1 / 16)  # the prompt grid
    meta = json.loads((tmp_path / 'runs/demo_direct_mask/metrics.json').read_text())['meta']
    assert meta['target_masks'].startswith(told)
    capsys.readouterr()
    assert train(CONFIG, data, tmp_path / 'runs', 'prior.backend=grabcut') == 0
    assert '[1/2] tool masks of training frames  done' in capsys.readouterr().out


def test_paper_scale_config_has_the_same_target() -> None:
    from mmpose_surgical.pipeline.config import load_config
    demo, paper = (load_config(ROOT / f'configs/{name}_mask.py') for name in ('demo/demo_direct', 'surgical/direct'))
    assert demo.model.head.loss == paper.model.head.loss and demo.codec.alpha == paper.codec.alpha == 0.1
