"""Two processes on the CPU (gloo): the same plan, equal weights, the same metrics as one process."""
import json
import shutil
from pathlib import Path

import pytest
from tool_runs import ROOT, run, write_configs
from toy_data import write_toy_data

from mmpose_surgical.priors.records import scan
from mmpose_surgical.priors.store import RecordStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
HOOK = ("custom_imports = dict(imports=['mmpose_surgical.plugin', 'compare_ranks'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='SyncBuffersHook'), dict(type='CompareRanks')]\n")


def dist(tool: str, *words: object, cwd: Path) -> tuple[int, str, str]:
    """``tools/dist_*.sh`` as a user calls it, from a folder that is not the checkout."""
    return run(ROOT / 'tools' / tool, *words, cwd=cwd, python=False)


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A folder with a run that two processes trained: an odd number of pictures per split."""
    folder = tmp_path_factory.mktemp('dist')
    data = write_toy_data(folder / 'data', dict(a='train', b='train', c='val', d='test'), clips=3)
    write_configs(folder / 'configs', data, HOOK)
    code, out, err = dist('dist_train.sh', 'configs/refine.py', 2, '--work-dir', 'runs/refine', cwd=folder)
    assert code == 0, err
    assert out.count('[5/5] done in') == 1  # rank 0 alone speaks
    return folder


def test_all_stages_end_with_equal_weights(trained):
    for name in ('coarse', 'coarse/fold0', 'coarse/fold1', 'refine'):
        hashes = json.loads((trained / 'runs' / name / 'rank_weights.json').read_text())
        assert len(hashes) == 2 and hashes[0] == hashes[1], name
    for name in ('predictions', 'priors-simulated'):
        record = json.loads((trained / 'runs/coarse' / name / 'artifact.json').read_text())
        assert record['done']
    assert record['facts']['summary']['total'] == 12  # both ranks' shares
    assert json.loads((trained / 'runs/refine/metrics.json').read_text())['results'].keys() >= {'overall', 'grasp'}
    assert sorted(path.name for path in trained.iterdir()) == ['configs', 'data', 'runs']  # nothing left around


def test_dist_test_equals_one_process(trained):
    checkpoint = 'runs/refine/epoch_3.pth'
    code, _, err = dist('dist_test.sh', 'configs/refine.py', checkpoint, 2, '--work-dir', 'two', cwd=trained)
    assert code == 0, err
    code, _, err = run(ROOT / 'tools/test.py', 'configs/refine.py', checkpoint, '--work-dir', 'one', cwd=trained)
    assert code == 0, err
    one, two = (json.loads((trained / name / 'test_predictions.json').read_text()) for name in ('one', 'two'))
    assert len(one) == len(two) > 0
    for a, b in zip(one, two):
        assert (a['image_id'], a['landmark']) == (b['image_id'], b['landmark'])
        assert [a[k] for k in ('x', 'y', 'score')] == pytest.approx([b[k] for k in ('x', 'y', 'score')], abs=1e-4)
    one, two = (json.loads((trained / name / 'metrics.json').read_text()) for name in ('one', 'two'))
    assert one['meta'] == two['meta']
    for action, row in one['results'].items():
        for landmark, cell in row.items():
            other = two['results'][action][landmark]
            assert {k: other[k] for k in COUNTED} == {k: cell[k] for k in COUNTED}
            assert other['l2'] == pytest.approx(cell['l2'], abs=1e-4)


COUNTED = ('tp', 'fp', 'fn', 'precision', 'recall', 'f1')


def test_two_processes_share_the_making_of_priors(trained, tmp_path):
    for name in ('configs', 'runs'):
        shutil.copytree(trained / name, tmp_path / name)
    folder = tmp_path / 'runs/coarse/priors-simulated'
    before = RecordStore(folder.rename(tmp_path / 'before'))
    code, out, err = run('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                         ROOT / 'tools/make_priors.py', 'configs/refine.py', '--work-dir', 'runs/refine', '--launcher',
                         'pytorch', cwd=tmp_path)
    assert code == 0, err
    assert out.count('made: 12 of 12 pictures') == 1 and out.count('[4/4] done in') == 1
    # Half of them each, none twice, and the same masks as before.
    counts = [sum(found.header['kind'] == 'link' for found in scan(path)) for path in folder.glob('shard-*.bin')]
    assert sorted(counts) == [6, 6]
    after = RecordStore(folder)
    for image_id in after._links:
        assert after.note(image_id) == before.note(image_id)
        assert (after.get(image_id)[0]['logits'] == before.get(image_id)[0]['logits']).all()
    record = json.loads((folder / 'artifact.json').read_text())
    assert record['done'] and record['facts']['summary']['total'] == 12


def test_an_error_of_all_ranks_is_printed_once(trained):
    code, _, err = dist('dist_train.sh', 'configs/refine.py', 2, '--work-dir', 'none/refine', '--cfg-options',
                        'data_root=nowhere', cwd=trained)
    assert code == 1
    assert err.count('error: annotation file not found (nowhere)') == 1


def test_an_error_of_one_rank_ends_all(trained, tmp_path):
    """The rank that fails alone says so; the other one waits in a collective until the launcher ends it."""
    for name in ('configs', 'data'):
        shutil.copytree(trained / name, tmp_path / name)
    picture = tmp_path / 'data/frames/a/000012.png'
    picture.write_bytes(picture.read_bytes()[:60])
    code, _, err = dist('dist_train.sh', 'configs/coarse.py', 2, '--work-dir', 'runs/coarse', '--cfg-options',
                        'data_root=data', cwd=tmp_path)
    assert code == 1
    assert err.count('error: picture cannot be decoded') == 1 and 'data/frames/a/000012.png' in err
    assert '[rank' not in err  # no traceback of the other rank hides the line
