"""What is wrong with the data is said in one line with the fix, and exit code 1."""
import json
from pathlib import Path

import pytest
from pipeline_runs import ROOT, tiny_options, train
from tool_runs import run
from toy_data import write_toy_data

from mmpose_surgical.cli import one_line, run_tool
from mmpose_surgical.errors import UserError

COARSE = 'configs/demo/demo_coarse.py'
REFINE = 'configs/demo/demo_refine_prior_aux.py'


@pytest.fixture
def data(tmp_path) -> Path:
    """Toy data that a test may spoil."""
    return write_toy_data(tmp_path / 'data')


def error_of(capsys, config: str, *args, **flags) -> str:
    """The one line that a tool prints before it ends with exit code 1."""
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: train(config, *args, **flags))
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith('error: ') and err.count('\n') == 1 and ' Fix: ' in err, err
    return err


def test_missing(plugin, tmp_path, capsys):
    assert 'annotation file not found' in error_of(capsys, COARSE, tmp_path / 'nowhere', tmp_path / 'runs')


def test_empty_folder(plugin, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    assert 'it must hold annotations.json' in error_of(capsys, COARSE, tmp_path / 'empty', tmp_path / 'runs')


def test_truncated_annotations(plugin, data, tmp_path, capsys):
    path = data / 'annotations.json'
    path.write_bytes(path.read_bytes()[:-100])
    err = error_of(capsys, COARSE, data, tmp_path / 'runs')
    assert 'is not valid JSON, perhaps truncated' in err and str(path) in err


def test_all_bad_records_at_once(plugin, data, tmp_path, capsys):
    path = data / 'annotations.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['keypoints'][2] = 7
    content['annotations'][3]['image_id'] = 99
    path.write_text(json.dumps(content))
    err = error_of(capsys, COARSE, data, tmp_path / 'runs')
    assert '2 bad record(s)' in err and 'visibility 7 of tip1' in err and 'image_id 99 is unknown' in err


@pytest.mark.parametrize('name', ['train', 'val', 'test'])
def test_a_split_is_missing(plugin, data, tmp_path, capsys, name):
    splits = json.loads((data / 'splits.json').read_text())
    splits.pop(name)
    splits.pop('folds')
    (data / 'splits.json').write_text(json.dumps(splits))
    err = error_of(capsys, COARSE, data, tmp_path / 'runs')
    assert f'there is no {name} video' in err and 'splits.json' in err


def test_no_splits_file(plugin, data, tmp_path, capsys):
    (data / 'splits.json').unlink()
    assert 'there is no train video' in error_of(capsys, COARSE, data, tmp_path / 'runs')


def test_folds_are_missing(plugin, data, tmp_path, capsys):
    splits = json.loads((data / 'splits.json').read_text())
    splits.pop('folds')
    (data / 'splits.json').write_text(json.dumps(splits))
    err = error_of(capsys, REFINE, data, tmp_path / 'runs')
    assert '0 folds' in err and 'coarse.out_of_fold=False' in err


def test_missing_picture(plugin, data, tmp_path, capsys):
    (data / 'frames/a/000012.png').unlink()
    err = error_of(capsys, COARSE, data, tmp_path / 'runs')
    assert 'pictures are missing' in err and 'frames/a/000012.png' in err


def test_synthetic_set_of_another_version(plugin, tmp_path, capsys):
    folder = tmp_path / 'synthetic'
    folder.mkdir()
    (folder / 'generator.json').write_text(json.dumps(dict(fingerprint='old', version='0')))
    err = error_of(capsys, COARSE, folder, tmp_path / 'runs', f'synthetic.root={folder}')
    assert 'of another spec or version' in err and str(folder) in err


def test_half_written_synthetic_set_is_completed(plugin, data, tmp_path, capsys, monkeypatch):
    from mmpose_surgical.datasets.synthetic import generate as generator
    folder = tmp_path / 'synthetic'
    folder.mkdir()
    mark = dict(fingerprint=generator.SPECS['demo'].fingerprint(), version='any')
    (folder / 'generator.json').write_text(json.dumps(mark))

    def generate(out, spec, progress):
        for name in ('annotations.json', 'splits.json', 'frames'):
            (data / name).rename(out / name)

    monkeypatch.setattr(generator, 'generate', generate)
    assert train(COARSE, folder, tmp_path / 'runs', f'synthetic.root={folder}', plan=True) == 0
    assert 'is made first' in capsys.readouterr().out and not (folder / 'frames').exists()
    train_lines = []
    monkeypatch.setattr('mmpose_surgical.pipeline.plan.Plan.run', lambda plan, console: train_lines.append(plan))
    monkeypatch.setattr('mmpose_surgical.pipeline.run.show_results', lambda cfg, console: None)
    assert train(COARSE, folder, tmp_path / 'runs', f'synthetic.root={folder}') == 0
    assert 'making the synthetic data set' in capsys.readouterr().out and len(train_lines) == 1


def test_message_of_a_worker_is_one_line():
    inner = UserError('picture cannot be decoded', 'a.png', 'restore the file')
    wrapped = UserError('Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent call):\n'
                        f'  File "x.py", line 1, in y\nmmpose_surgical.errors.UserError: {inner}\n')
    assert one_line(wrapped) == one_line(inner) == 'picture cannot be decoded (a.png). Fix: restore the file.'
    assert one_line(UserError('a\nb', fix='c')) == 'a b. Fix: c.'


def started(config: str, data: Path, folder: Path, *options: str) -> tuple[int, list[str], str]:
    """Exit code, lines that begin with ``error:``, and stderr of the real tool."""
    code, _, err = run('tools/train.py', ROOT / config, '--work-dir', folder, '--cfg-options',
                       *tiny_options(data, *options))
    return code, [line for line in err.splitlines() if line.startswith('error:')], err


def test_unreadable_picture_in_a_data_loader_worker(data, tmp_path):
    picture = data / 'frames/b/000017.png'
    picture.write_bytes(b'no picture')
    code, lines, err = started(COARSE, data, tmp_path / 'run', 'train_dataloader.num_workers=1')
    assert code == 1 and 'Traceback' not in err
    assert lines == [f'error: picture cannot be decoded ({picture}). '
                     'Fix: restore the file, it is truncated or no picture.']


def test_missing_data_with_the_real_tool(tmp_path):
    code, lines, err = started(COARSE, tmp_path / 'nowhere', tmp_path / 'run')
    assert code == 1 and len(lines) == 1 and 'annotation file not found' in lines[0]
    assert err.splitlines() == lines
