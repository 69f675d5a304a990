"""Bring an environment to the tested set. Standard library only: it runs before anything is installed.

``make setup`` calls it on every run; when nothing changed since the last success it returns at once.
An interrupted run is taken up where it stopped, because every step asks pip for what is missing only.
"""
from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STAMP_NAME = '.mmpose_surgical_setup.json'
INPUTS = ('constraints.txt', 'runtime.txt', 'demo.txt', 'dev.txt', 'install.py', '../setup.py')
KEPT_IN_OWN_ENVIRONMENT = ('torch', 'torchvision', 'numpy', 'opencv-python')
# xtcocotools ships wheels for numpy 1 only; without a compiler this older set is the way.
NUMPY_1_PINS = {'ml_dtypes': 'ml_dtypes==0.5.4'}
NO_COMPILER_PINS = {'numpy': 'numpy==1.26.4', 'opencv-python': 'opencv-python==4.11.0.86', **NUMPY_1_PINS}
FULL_MMCV = 'mmcv==2.1.0'
NEEDED_GB = 9
# A torchvision built for another torch imports and fails at its first compiled op only.
IMPORT_CHECK = ('import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5); '
                'import mmpose_surgical.plugin')


class SetupError(Exception):
    """One line that says what failed and what to do."""


def main() -> int:
    """Parse the options, set the environment up, and turn every failure into one line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--venv', type=Path, help='make or mend this virtual environment')
    parser.add_argument('--python', help='use the environment of this interpreter and keep its torch')
    parser.add_argument('--mmcv', choices=('lite', 'full'), default='lite')
    args = parser.parse_args()
    try:
        Setup(args.venv, args.python, args.mmcv).run()
    except SetupError as error:
        print(f'setup: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nsetup: interrupted. Fix: run the same command again; it goes on where it stopped.',
              file=sys.stderr)
        return 130
    return 0


class Setup:
    """The steps from a bare interpreter to an environment that passes its imports."""

    def __init__(self, venv: Path | None, python: str | None, mmcv: str) -> None:
        if (venv is None) == (python is None):
            raise SetupError('give either --venv or --python')
        self.venv = venv.absolute() if venv else None
        self.mmcv = mmcv
        self.python = self.venv / 'bin/python' if self.venv else self._resolve(python)
        self.started = time.monotonic()
        self.prefix = self.venv or Path(self._ask('import sys; print(sys.prefix)'))
        self.log = self.prefix / '.mmpose_surgical_setup.log'
        self.stamp = self.prefix / STAMP_NAME

    def run(self) -> None:
        """Return at once if the stamp is current, else do every step and write the stamp."""
        if self._is_done():
            return
        self.prefix.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if self._is_done():
                return
            if self.venv:
                self._make_venv()
            self._check_python()
            self.installed = self._installed()
            self._check_disk()
            self._drop_half_installed()
            self._install()
            self._verify()
            self._write_stamp()
        print(f'setup: ready in {time.monotonic() - self.started:.0f} s ({self.prefix})', flush=True)

    # -- what is there --------------------------------------------------------------------------------------
    def _digest(self) -> str:
        content = b''.join((HERE / name).read_bytes() for name in INPUTS)
        return hashlib.sha256(content + str(ROOT).encode()).hexdigest()

    def _is_done(self) -> bool:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return False
        # An environment with the full mmcv also serves the lite lane: nothing is ever taken away from it.
        lane_ok = stamp.get('mmcv') == 'full' or self.mmcv == 'lite'
        return stamp.get('digest') == self._digest() and lane_ok and os.access(self.python, os.X_OK)

    def _write_stamp(self) -> None:
        mmcv = 'full' if 'mmcv' in self._installed() else 'lite'
        temporary = self.stamp.with_suffix('.tmp')
        temporary.write_text(json.dumps({'digest': self._digest(), 'mmcv': mmcv, 'root': str(ROOT)}))
        os.replace(temporary, self.stamp)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.prefix / '.mmpose_surgical_setup.lock').open('w') as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print('setup: another set-up of this environment is running; waiting for it', flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _resolve(self, python: str) -> Path:
        found = shutil.which(python)
        if not found:
            raise SetupError(f'PYTHON={python} is not an executable. Fix: name the python of an environment')
        return Path(found).absolute()  # not resolved: the link's place tells Python which environment it is

    def _ask(self, code: str) -> str:
        result = subprocess.run([self.python, '-c', code], capture_output=True, text=True)
        if result.returncode:
            raise SetupError(f'{self.python} does not run: {_last_line(result.stderr)}')
        return result.stdout.strip()

    def _installed(self) -> dict[str, str]:
        return json.loads(self._ask(
            'import importlib.metadata as m, json; print(json.dumps('
            '{d.name.lower().replace("_", "-"): d.version for d in m.distributions() if d.name}))'))

    def _check_python(self) -> None:
        version = self._ask('import sys; print("%d.%d" % sys.version_info[:2])')
        if version not in ('3.11', '3.12'):
            raise SetupError(f'{self.python} is Python {version}; 3.11 or 3.12 is needed. '
                             'Fix: PYTHON_BIN=/path/to/python3.11 make setup, or another PYTHON=')

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.prefix).free / 1e9
        if 'torch' not in self.installed and free < NEEDED_GB:
            raise SetupError(f'{free:.1f} GB are free on the disk of {self.prefix} and {NEEDED_GB} GB are '
                             'needed. Fix: free some space, or put the checkout on another disk')

    def _drop_half_installed(self) -> None:
        """Remove metadata that a killed pip left without a RECORD, which makes pip believe in the package."""
        if not self.venv:
            return
        for site in self.venv.glob('lib/python3*/site-packages'):
            for folder in site.glob('*.dist-info'):
                if not (folder / 'RECORD').exists():
                    shutil.rmtree(folder)
                    self.installed.pop(folder.name.split('-')[0].lower().replace('_', '-'), None)
            for leftover in site.glob('~*'):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    # -- the steps ------------------------------------------------------------------------------------------
    def _make_venv(self) -> None:
        if os.access(self.python, os.X_OK) and not subprocess.run(
                [self.python, '-m', 'pip', '--version'], capture_output=True).returncode:
            return
        print(f'setup: making {self.venv} with Python {sys.version.split()[0]}', flush=True)
        result = subprocess.run([sys.executable, '-m', 'venv', '--clear', self.venv],
                                capture_output=True, text=True)
        if result.returncode:
            raise SetupError(f'{sys.executable} -m venv failed: {_last_line(result.stdout + result.stderr)}. '
                             'Fix: install the venv module (Debian, Ubuntu: apt install python3.11-venv)')

    def _install(self) -> None:
        constraints = self._write_constraints()
        compiled = self._has_compiler()
        isolated = ('--no-build-isolation',)
        from_source = ('--no-binary', 'xtcocotools') if compiled else ()
        steps: list[tuple[str, tuple[str, ...]]] = [
            ('build tools', ('-U', 'pip', 'setuptools<81', 'wheel', 'cython')),
            ('torch, torchvision, numpy (about 3 GB to download)', ('torch', 'torchvision', 'numpy')),
            ('chumpy, xtcocotools', (*isolated, *from_source, 'chumpy', 'xtcocotools')),
            ('OpenMMLab and the rest', (*(() if self._wants_full() else ('mmcv-lite',)),
                                        *(part for name in ('runtime', 'demo', 'dev')
                                          for part in ('-r', str(HERE / f'{name}.txt'))))),
            ('this package, editable', (*isolated, '--no-deps', '-e', str(ROOT))),
        ]
        for number, (title, arguments) in enumerate(steps, 1):
            self._pip(f'[{number}/{len(steps)}] {title}', ('-c', str(constraints), *arguments))
        if self.mmcv == 'full' and self._installed().get('mmcv') is None:
            self._build_mmcv(constraints)

    def _wants_full(self) -> bool:
        return self.mmcv == 'full' or 'mmcv' in self.installed

    def _write_constraints(self) -> Path:
        """The tested set, less what a chosen environment brings itself, plus that at its own version."""
        lines = (HERE / 'constraints.txt').read_text().splitlines()
        override = {} if self._has_compiler() else self._without_compiler()
        if not self.venv:
            override.update(self._own_versions())
        kept = [line for line in lines if line.split('==')[0].lower() not in override]
        target = self.prefix / '.mmpose_surgical_constraints.txt'
        target.write_text('\n'.join([*kept, *filter(None, override.values())]) + '\n')
        return target

    def _without_compiler(self) -> dict[str, str]:
        version = self._ask('import sys; print("%d.%d" % sys.version_info[:2])')
        if version != '3.11' and 'xtcocotools' not in self.installed:
            raise SetupError(f'no C compiler or no Python.h was found, and xtcocotools has no wheel for Python '
                             f'{version}. Fix: apt install gcc python{version}-dev, or use Python 3.11')
        print('setup: no C compiler: taking numpy 1.26, for which xtcocotools has a wheel', flush=True)
        return dict(NO_COMPILER_PINS)

    def _own_versions(self) -> dict[str, str]:
        """Constraints that keep what a chosen environment has; an empty one leaves the version to pip."""
        own = {name: f'{name}=={self.installed[name]}' for name in KEPT_IN_OWN_ENVIRONMENT
               if name in self.installed}
        if own.get('numpy', '').startswith('numpy==1.'):
            own |= NUMPY_1_PINS
        if 'torch' in own and 'torchvision' not in own:
            if '+' in self.installed['torch']:
                raise SetupError(f'{own["torch"]} is there without its torchvision, and PyPI has none for '
                                 'that build. Fix: install torchvision from where this torch came from')
            own['torchvision'] = ''
        return own

    def _has_compiler(self) -> bool:
        header = self._ask('import sysconfig; print(sysconfig.get_paths()["include"] + "/Python.h")')
        return bool(shutil.which(os.environ.get('CC', 'cc').split()[0])) and Path(header).is_file()

    def _build_mmcv(self, constraints: Path) -> None:
        """mmcv 2.1.0 from source (no wheels): about six minutes on two cores."""
        if not self._has_compiler():
            raise SetupError('the full mmcv is compiled and no C++ compiler or no Python.h was found. '
                             'Fix: apt install g++ python3-dev')
        self._pip('[mmcv 1/2] ninja', ('-c', str(constraints), 'ninja', 'psutil'))
        subprocess.run([self.python, '-m', 'pip', 'uninstall', '-qq', '-y', 'mmcv-lite'], check=False)
        wrapper = self.prefix / 'mmpose-surgical-c++'
        # mmcv puts -std=c++17 last, and the headers of torch >= 2.14 need C++20: the later flag wins.
        wrapper.write_text(f'#!/bin/sh\nexec {os.environ.get("CXX", "c++")} "$@" -std=c++20\n')
        wrapper.chmod(0o755)
        torch = tuple(int(part) for part in self._installed()['torch'].split('+')[0].split('.')[:2])
        build = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': str(os.cpu_count() or 2), 'CFLAGS': '-g0 -O1',
                 'PATH': f'{self.python.parent}{os.pathsep}{os.environ["PATH"]}',
                 **({'CXX': str(wrapper)} if torch >= (2, 14) else {})}
        self._pip('[mmcv 2/2] mmcv with compiled ops (minutes)',
                  ('--no-build-isolation', '--no-deps', '--no-cache-dir', FULL_MMCV), build)

    def _pip(self, title: str, arguments: tuple[str, ...], extra: dict[str, str] | None = None) -> None:
        print(f'setup: {title} ...', end='', flush=True)
        begin = time.monotonic()
        environment = {'PIP_DEFAULT_TIMEOUT': '60', 'PIP_RETRIES': '5', **os.environ, **(extra or {}),
                       'PIP_DISABLE_PIP_VERSION_CHECK': '1', 'PIP_ROOT_USER_ACTION': 'ignore'}
        result = subprocess.run(
            [self.python, '-m', 'pip', 'install', '-qq', '--no-input', '--log', self.log, *arguments],
            env=environment, capture_output=True, text=True)
        print(f' {time.monotonic() - begin:.0f} s', flush=True)
        if result.returncode:
            raise SetupError(f'pip failed at {title}: {_reason(result.stdout + result.stderr)} (all of it: '
                             f'{self.log}). Fix: mend that or the network and run the same command again; '
                             'it goes on where it stopped')

    def _verify(self) -> None:
        print('setup: checking', end='', flush=True)
        check = subprocess.run([self.python, '-m', 'pip', 'check'], capture_output=True, text=True)
        imports = subprocess.run(
            [self.python, '-W', 'ignore', '-c', IMPORT_CHECK],
            capture_output=True, text=True, cwd=self.prefix)
        print(flush=True)
        if check.returncode:
            message = f'pip check: {"; ".join(check.stdout.splitlines()[:3])}'
            if self.venv:
                raise SetupError(f'{message}. Fix: make clean-env setup')
            # Only a warning: a chosen environment may hold what is none of ours.
            print(f'setup: warning: {message}', file=sys.stderr)
        if imports.returncode:
            remedy = 'make clean-env setup' if self.venv else 'mend that environment, or leave PYTHON= out'
            raise SetupError(f'the packages do not import: {_last_line(imports.stderr)}. Fix: {remedy}')


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else 'no message'


def _reason(text: str) -> str:
    """The line of pip's output that says why: the first ERROR, else the last line."""
    errors = [line.strip() for line in text.splitlines() if line.strip().lower().startswith('error:')]
    return (errors[0][6:].strip() if errors else _last_line(text))[:300]


if __name__ == '__main__':
    sys.exit(main())
