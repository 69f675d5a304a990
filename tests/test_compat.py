"""Each quirk: that upstream still has it (else remove the patch), and that the patch mends it."""
from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mmpose_surgical import compat, versions
from mmpose_surgical.errors import UserError


@pytest.fixture(autouse=True)
def _applied() -> None:
    compat.apply()


class RunsCode:
    """Pickles into a call that leaves a file behind, as a hostile checkpoint would."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


class Reaches:
    """Pickles into ``getattr(owner, name)``, the first step of most escapes from an allow-list."""

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self) -> tuple:
        return getattr, (self.owner, self.name)


def in_fresh_python(code: str) -> str:
    """Standard output of ``code`` run where nothing was patched."""
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code)],
                            capture_output=True, text=True, check=True)
    return result.stdout.strip()


def train(work_dir: Path, epochs: int, **options: object) -> object:
    """A two-parameter model through the MMEngine Runner, with EMA, optimizer state and a message hub."""
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
            return {'loss': self.layer(torch.stack(list(x))).square().mean()}

    class Pairs(torch.utils.data.Dataset):
        metainfo = {'sigmas': np.array([0.1, 0.2]), 'name': 'pairs'}

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {'x': torch.tensor([1.0, float(index)])}

    runner = Runner(
        model=Model(), work_dir=str(work_dir), experiment_name=f'compat-{time.time_ns()}', log_level='ERROR',
        train_dataloader={'dataset': Pairs(), 'batch_size': 2,
                          'sampler': {'type': 'DefaultSampler', 'shuffle': True}},
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'type': 'OptimWrapper', 'optimizer': {'type': 'Adam', 'lr': 0.1}},
        param_scheduler=[{'type': 'MultiStepLR', 'milestones': [1], 'by_epoch': True}],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 2}},
        custom_hooks=[{'type': 'EMAHook'}], **options)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """A work directory after two epochs, and the runner that made it."""
    compat.apply()
    folder = tmp_path_factory.mktemp('run')
    return folder, train(folder, epochs=2)


@pytest.fixture
def work_dir(run: tuple[Path, object], tmp_path: Path) -> Iterator[Path]:
    """A copy of that work directory that a test may damage. Its ``last_checkpoint`` names the original."""
    for source in run[0].iterdir():
        if source.is_file():
            (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    yield tmp_path


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:len(content) * 2 // 3])


# -- apply -------------------------------------------------------------------------------------------------
def test_apply_twice_patches_once() -> None:
    from mmengine.runner import checkpoint

    before = (checkpoint.save_checkpoint, checkpoint.load_url, sys.modules.get('mmcv._ext'))
    compat.apply()
    assert before == (checkpoint.save_checkpoint, checkpoint.load_url, sys.modules.get('mmcv._ext'))


# -- setuptools --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(('prepare', 'warned'), [
    ('', True), ('import mmpose_surgical.compat as c; c.silence_pkg_resources()', False),
], ids=['upstream', 'patched'])
def test_mmengine_warns_about_pkg_resources_unless_told_not_to(prepare: str, warned: bool) -> None:
    code = f'{prepare}\nfrom mmengine.utils import is_installed\nis_installed("mmengine")'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert ('pkg_resources is deprecated' in result.stderr) is warned


# -- xtcocotools -------------------------------------------------------------------------------------------
@pytest.mark.skipif(versions.version_tuple(np.__version__) < (2,), reason='numpy 1 has the constant')
def test_numpy_2_lacks_the_constant_that_xtcocotools_reads() -> None:
    assert in_fresh_python("""
        import numpy
        from xtcocotools import mask
        try:
            mask.encode(numpy.zeros((2, 2), numpy.uint8, order='F'))
            mask.decode(mask.encode(numpy.zeros((2, 2), numpy.uint8, order='F')))
        except AttributeError as error:
            print('NPY_OWNDATA' in str(error))
    """) == 'True'


def test_xtcocotools_masks_survive_a_round_trip() -> None:
    from xtcocotools import mask

    picture = np.zeros((3, 5), np.uint8)
    picture[1, 2:] = 1
    assert np.array_equal(mask.decode(mask.encode(np.asfortranarray(picture))), picture)


# -- mmcv-lite ---------------------------------------------------------------------------------------------
lite_only = pytest.mark.skipif(versions.has_mmcv_ops(), reason='the full mmcv is installed')


@lite_only
def test_mmcv_lite_has_no_ops_and_mmpose_does_not_import_without() -> None:
    assert in_fresh_python("""
        try:
            import mmcv.ops
        except ImportError as error:
            print('_ext' in str(error))
    """) == 'True'


@lite_only
def test_a_missing_op_imports_and_says_what_to_install_when_called() -> None:
    from mmcv.ops import nms

    with pytest.raises(UserError, match='make setup MMCV=full'):
        nms(torch.zeros(1, 4), torch.ones(1), 0.5)


@lite_only
def test_the_stand_in_answers_the_import_system() -> None:
    import importlib.util

    assert importlib.util.find_spec('mmcv._ext') is not None
    assert not hasattr(sys.modules['mmcv._ext'], '__path__')


def test_a_full_mmcv_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.setattr(compat, 'has_mmcv_ops', lambda: True)
    compat.stand_in_for_mmcv_ops()
    assert 'mmcv._ext' not in sys.modules


# -- reading -----------------------------------------------------------------------------------------------
def test_torch_refuses_mmengine_checkpoints_by_itself(work_dir: Path) -> None:
    with pytest.raises(pickle.UnpicklingError):
        torch.load(work_dir / 'epoch_2.pth', weights_only=True)


def test_a_checkpoint_comes_back_whole(work_dir: Path, run: tuple[Path, object]) -> None:
    from mmengine.runner import CheckpointLoader

    loaded = CheckpointLoader.load_checkpoint(str(work_dir / 'epoch_2.pth'), 'cpu')
    hub = run[1].message_hub
    assert torch.equal(loaded['ema_state_dict']['module.layer.weight'], run[1].model.layer.weight)
    assert loaded['meta']['epoch'] == 2
    assert np.array_equal(loaded['meta']['dataset_meta']['sigmas'], [0.1, 0.2])
    assert loaded['message_hub']['log_scalars']['train/loss'].data[0].tolist() == \
        hub.log_scalars['train/loss'].data[0].tolist()


def test_nothing_stays_allowed_after_a_load(work_dir: Path) -> None:
    from mmengine.runner import CheckpointLoader

    before = set(torch.serialization.get_safe_globals())
    CheckpointLoader.load_checkpoint(str(work_dir / 'epoch_2.pth'), 'cpu')
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(work_dir / 'epoch_2.pth')


def test_a_hostile_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    from mmengine.runner import CheckpointLoader

    marker, path = tmp_path / 'marker', tmp_path / 'hostile.pth'
    torch.save({'state_dict': {}, 'extra': RunsCode(marker)}, path)
    with pytest.raises(UserError, match='hostile.pth'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu')
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the payload does work where nothing stops it


@pytest.mark.parametrize(('owner', 'name'), [(np.ndarray, 'tofile'), (np.dtype, '__reduce__')])
def test_getattr_on_an_allowed_class_is_refused_by_name(tmp_path: Path, owner: type, name: str) -> None:
    from mmengine.runner import CheckpointLoader

    path = tmp_path / 'hostile.pth'
    torch.save({'state_dict': {}, 'extra': Reaches(owner, name)}, path)
    with pytest.raises(UserError, match=rf'getattr\(.*{name}.*hostile.pth'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu')


def test_only_the_statistics_of_a_history_buffer_are_reachable() -> None:
    from mmengine.logging import HistoryBuffer

    assert compat._history_buffer_method(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((HistoryBuffer, '__init__'), (HistoryBuffer, 'register_statistics'), (os, 'min')):
        with pytest.raises(pickle.UnpicklingError):
            compat._history_buffer_method(owner, name)


def test_a_url_is_read_through_the_restricted_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.runner import CheckpointLoader

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    torch.save({'extra': RunsCode(tmp_path / 'marker')}, cache / 'hostile.pth')
    with pytest.raises(UserError, match='https://example.org/hostile.pth'):
        CheckpointLoader.load_checkpoint('https://example.org/hostile.pth', 'cpu')
    assert not (tmp_path / 'marker').exists()


def test_upstream_would_run_code_from_a_url(tmp_path: Path) -> None:
    """When this fails, the loader of URLs is safe by itself and ``_load_url`` can go."""
    import inspect

    signature = inspect.signature(torch.hub.load_state_dict_from_url)
    assert signature.parameters['weights_only'].default is False


@pytest.mark.parametrize('content', [b'', b'not a checkpoint'], ids=['empty', 'text'])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    from mmengine.runner import CheckpointLoader

    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(UserError, match='broken.pth'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu')


def test_a_cut_off_or_missing_checkpoint_is_named(work_dir: Path) -> None:
    from mmengine.runner import CheckpointLoader

    cut_off(work_dir / 'epoch_2.pth')
    for name in ('epoch_2.pth', 'absent.pth'):
        with pytest.raises(UserError, match=name):
            CheckpointLoader.load_checkpoint(str(work_dir / name), 'cpu')


# -- writing -----------------------------------------------------------------------------------------------
@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Limits the size that a file may reach; Python ignores the signal, so writing raises OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def overwrite_on_full_disk(save: Callable, path: Path, limit: Callable[[int], None]) -> bytes:
    torch.save({'old': 1}, path)
    limit(64 * 1024)
    with pytest.raises((OSError, RuntimeError)):
        save({'new': torch.zeros(100_000)}, str(path))
    return path.read_bytes()


def test_upstream_destroys_the_old_file_when_a_save_fails(tmp_path: Path, full_disk: Callable) -> None:
    from mmengine.runner import checkpoint

    stock = checkpoint.save_checkpoint.args[0]
    path = tmp_path / 'epoch_1.pth'
    assert len(overwrite_on_full_disk(stock, path, full_disk)) == 64 * 1024
    assert not compat.checkpoint_is_whole(path)


def test_a_save_that_fails_keeps_the_old_file_only(tmp_path: Path, full_disk: Callable) -> None:
    from mmengine.runner import save_checkpoint

    path = tmp_path / 'epoch_1.pth'
    overwrite_on_full_disk(save_checkpoint, path, full_disk)
    assert torch.load(path) == {'old': 1}
    assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']


def test_the_runner_saves_through_the_patch() -> None:
    from mmengine.runner import runner

    assert runner.save_checkpoint.func is compat._save_atomically


# -- resuming ----------------------------------------------------------------------------------------------
def test_resume_goes_on_where_it_was(work_dir: Path) -> None:
    runner = train(work_dir, epochs=3, resume=True)
    assert (runner.epoch, runner.iter) == (3, 6)
    # Two iterations of three epochs: had the buffer been lost, two entries would be left.
    assert len(runner.message_hub.log_scalars['train/loss'].data[0]) == 6
    steps = {int(state['step']) for state in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {6}


def test_resume_steps_over_a_cut_off_checkpoint(work_dir: Path) -> None:
    cut_off(work_dir / 'epoch_2.pth')
    runner = train(work_dir, epochs=2, resume=True)
    assert (runner.epoch, runner.iter) == (2, 4)
    assert len(runner.message_hub.log_scalars['train/loss'].data[0]) == 4
    assert compat.checkpoint_is_whole(work_dir / 'epoch_2.pth')


def test_upstream_trusts_the_pointer(work_dir: Path) -> None:
    cut_off(work_dir / 'epoch_2.pth')
    assert in_fresh_python(f"""
        from mmengine.runner import find_latest_checkpoint
        print(find_latest_checkpoint({str(work_dir)!r}))
    """) == str(work_dir / 'epoch_2.pth')


@pytest.mark.parametrize(('pointer', 'expected'), [
    ('epoch_1.pth', 'epoch_1.pth'),  # a pointer that names a whole file is obeyed, however old
    ('', 'epoch_2.pth'),
    ('/moved/from/here/epoch_1.pth', 'epoch_1.pth'),
    ('epoch_9.pth', 'epoch_2.pth'),
    (None, 'epoch_2.pth'),
], ids=['whole', 'empty', 'moved', 'gone', 'absent'])
def test_the_latest_checkpoint(work_dir: Path, pointer: str | None, expected: str) -> None:
    if pointer is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(pointer)
    os.utime(work_dir / 'epoch_1.pth', (1, 1))
    assert compat.find_latest_checkpoint(work_dir) == str(work_dir / expected)


def test_one_flipped_byte_counts_as_damage(work_dir: Path) -> None:
    path = work_dir / 'epoch_2.pth'
    content = bytearray(path.read_bytes())
    weight = torch.load(work_dir / 'epoch_2.pth', weights_only=False)['state_dict']['layer.weight']
    at = content.index(weight.numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert not compat.checkpoint_is_whole(path)
    assert compat.find_latest_checkpoint(work_dir) == str(work_dir / 'epoch_1.pth')


def test_no_checkpoint_is_none_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    assert compat.find_latest_checkpoint(tmp_path) is None
    (tmp_path / 'epoch_1.pth').write_bytes(b'cut')
    with pytest.raises(UserError, match='none of the checkpoints is whole'):
        compat.find_latest_checkpoint(tmp_path)


COUNT_FORMATTING = """
    from mmengine.config import Config
    {patch}
    calls = []
    from yapf.yapflib import yapf_api
    real = yapf_api.FormatTree
    yapf_api.FormatTree = lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs)
    cfg = Config(dict(a=1, b=dict(c=[1, 2])))
    print(cfg.pretty_text == cfg.pretty_text != Config(dict(a=2)).pretty_text, len(calls))
"""


def test_a_config_is_formatted_once_and_upstream_formats_it_each_time() -> None:
    patch = 'from mmpose_surgical import compat; compat.format_configs_once(); compat.format_configs_once()'
    assert in_fresh_python(COUNT_FORMATTING.format(patch=patch)) == 'True 2'
    assert in_fresh_python(COUNT_FORMATTING.format(patch='')) == 'True 3'


def test_no_network_is_not_called_a_damaged_file(monkeypatch) -> None:
    from urllib.error import URLError

    import torch
    from mmengine.runner import load_checkpoint

    def offline(*args, **kwargs):
        raise URLError('no route to host')

    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', offline)
    with pytest.raises(UserError, match='the weights cannot be downloaded: no route to host.*fetch the file'):
        load_checkpoint(torch.nn.Linear(1, 1), 'https://weights.invalid/a.pth')


LOG_BFLOAT16 = """
    import torch
    from mmpose_surgical import compat
    compat.apply()
    {patch}
    from mmpose.models.heads.coord_cls_heads import rtmcc_head
    try:
        maps = rtmcc_head.to_numpy((torch.ones(2, dtype=torch.bfloat16), torch.zeros(1)))
        print([float(m.sum()) for m in maps])
    except TypeError as error:
        print(error)
"""


def test_simcc_heads_log_bfloat16_and_upstream_cannot() -> None:
    assert in_fresh_python(LOG_BFLOAT16.format(patch='compat.let_simcc_heads_log_bfloat16()')) == '[2.0, 0.0]'
    assert in_fresh_python(LOG_BFLOAT16.format(patch='')) == 'Got unsupported ScalarType BFloat16'
