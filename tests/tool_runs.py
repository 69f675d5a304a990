"""Tools as a user starts them: processes of their own, which can be killed."""
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
_base_ = [{base!r}]
data_root = {data!r}
codec = dict(input_size=(64, 48), heatmap_size=(16, 12), sigma=1)
train_cfg = dict(max_epochs=3)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=[
    dict(type='LoadClip'), dict(type='GetBBoxCenterScale', padding=1.0), dict(type='TopdownAffine'), {prior}
    dict(type='GenerateTarget'), dict(type='PackClipInputs')]))
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
test_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
"""
SLOW_STORE = "custom_imports = dict(imports=['mmpose_surgical.plugin', 'slow_store'], allow_failed_imports=False)\n"


def write_configs(folder: Path, data: Path, more: str = '') -> Path:
    """``coarse.py`` and ``refine.py`` on tiny pictures, both with ``more`` lines at the end; returns the latter.

    Nothing in them is drawn at random after the start, so that a run that was cut off and resumed must end with the
    same numbers as one that was not.
    """
    folder.mkdir(exist_ok=True)
    for name, base, prior, last in (
            ('coarse', 'demo_coarse', '', ''),
            ('refine', 'demo_refine_prior_aux', "dict(type='LoadMaskPrior'),", "coarse = dict(config='coarse.py')\n")):
        text = CONFIG.format(base=str(ROOT / f'configs/demo/{base}.py'), data=str(data), prior=prior)
        (folder / f'{name}.py').write_text(text + last + more)
    return folder / 'refine.py'


def start(*words: object, cwd: Path | None = None, python: bool = True) -> subprocess.Popen:
    """Start a tool of this checkout in a process group of its own, a shell script with ``python=False``."""
    command = [*([sys.executable] if python else []), *map(str, words)]
    path = os.pathsep.join([os.environ['PYTHONPATH'], str(ROOT), str(ROOT / 'tests')])
    env = os.environ | dict(PYTHONPATH=path, PYTHON=sys.executable, OMP_NUM_THREADS='1', SAM3_CHECKPOINT='')
    return subprocess.Popen(command, cwd=cwd or ROOT, env=env, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen, timeout: float = 240) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; nothing survives the test."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        kill(process)
    return process.returncode, out, err


def run(*words: object, cwd: Path | None = None, python: bool = True) -> tuple[int, str, str]:
    """Start a tool and wait for its end."""
    return finish(start(*words, cwd=cwd, python=python))


def kill(process: subprocess.Popen) -> None:
    """``kill -9`` for the whole process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def kill_when(process: subprocess.Popen, condition: Callable[[], bool], timeout: float = 120) -> str:
    """Kill a tool as soon as the condition holds; returns its stdout.

    Raises:
        AssertionError: The tool ended, or the time was over, before that.
    """
    end = time.monotonic() + timeout
    try:
        while not condition():
            if process.poll() is not None or time.monotonic() > end:
                kill(process)
                out, err = process.communicate()
                raise AssertionError(f'not reached, exit code {process.returncode}:\n{out}\n{err}')
            time.sleep(0.002)
    finally:
        kill(process)
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return out
