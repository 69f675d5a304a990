"""The parts of the set-up that need no download: discovery, constraints, stamps, messages, the wheel."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope='module')
def install(root: Path) -> ModuleType:
    """``requirements/install.py``, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location('install', root / 'requirements' / 'install.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A set-up of the running environment that writes its files into a temporary folder."""
    setup = install.Setup(None, sys.executable, 'lite')
    setup.prefix, setup.stamp, setup.log = tmp_path, tmp_path / install.STAMP_NAME, tmp_path / 'log'
    setup.installed = {}
    monkeypatch.setattr(setup, '_has_compiler', lambda: True)
    return setup


def constraints_of(setup: object) -> list[str]:
    return setup._write_constraints().read_text().split('\n')


def fake_python(path: Path, works: bool) -> None:
    path.write_text('#!/bin/sh\n' + ('exec true\n' if works else 'echo "pyenv: command not found" >&2; exit 127\n'))
    path.chmod(0o755)


def find_python(root: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    environment = {'PATH': f'{folder}:/usr/bin:/bin', 'HOME': str(folder), **environment}
    return subprocess.run([shutil.which('bash'), str(root / 'requirements' / 'find_python.sh')],
                          env=environment, capture_output=True, text=True)


# -- finding an interpreter --------------------------------------------------------------------------------
def test_a_shim_with_nothing_behind_it_is_passed_over(root: Path, tmp_path: Path) -> None:
    fake_python(tmp_path / 'python3.11', works=False)
    behind = tmp_path / '.pyenv' / 'versions' / '3.11.9' / 'bin'
    behind.mkdir(parents=True)
    fake_python(behind / 'python', works=True)
    found = find_python(root, tmp_path).stdout.strip()
    assert found != str(tmp_path / 'python3.11')
    assert found in (str(behind / 'python'), '/usr/bin/python3.11', '/usr/local/bin/python3.11')


def test_the_first_that_works_is_taken(root: Path, tmp_path: Path) -> None:
    for name in ('python3.11', 'python3.12', 'python3'):
        fake_python(tmp_path / name, works=True)
    assert find_python(root, tmp_path).stdout == f'{tmp_path}/python3.11\n'


def test_a_named_interpreter_that_does_not_fit_is_one_line(root: Path, tmp_path: Path) -> None:
    fake_python(tmp_path / 'python2', works=False)
    result = find_python(root, tmp_path, PYTHON_BIN=str(tmp_path / 'python2'))
    assert (result.returncode, result.stdout) == (1, '')
    assert re.fullmatch(r'setup: no Python 3\.11 or 3\.12 .*Fix: .*\n', result.stderr)


# -- constraints -------------------------------------------------------------------------------------------
def test_an_own_environment_keeps_its_torch_and_numpy(here: object) -> None:
    here.installed = {'torch': '2.7.0+cu126', 'torchvision': '0.22.0+cu126', 'numpy': '1.26.4', 'scipy': '1.11.0'}
    lines = constraints_of(here)
    assert [line for line in lines if re.match('torch|torchvision|numpy', line)] == [
        'torch==2.7.0+cu126', 'torchvision==0.22.0+cu126', 'numpy==1.26.4']
    assert 'mmpose==1.3.2' in lines


def test_a_torch_from_elsewhere_without_torchvision_stops(install: ModuleType, here: object) -> None:
    here.installed = {'torch': '2.13.0+cpu'}
    with pytest.raises(install.SetupError, match='Fix: install torchvision from where this torch came from'):
        here._write_constraints()


def test_a_torch_of_pypi_gets_the_torchvision_that_fits(here: object) -> None:
    here.installed = {'torch': '2.13.0'}
    lines = constraints_of(here)
    assert 'torch==2.13.0' in lines
    assert not [line for line in lines if line.startswith('torchvision')]


def test_without_a_compiler_numpy_1_is_taken(here: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, '_has_compiler', lambda: False)
    monkeypatch.setattr(here, '_ask', lambda code: '3.11')
    lines = constraints_of(here)
    assert [line for line in lines if re.match('numpy|opencv-python', line)] == [
        'numpy==1.26.4', 'opencv-python==4.11.0.86']


def test_without_a_compiler_python_3_12_has_no_way(
        install: ModuleType, here: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, '_has_compiler', lambda: False)
    monkeypatch.setattr(here, '_ask', lambda code: '3.12')
    with pytest.raises(install.SetupError, match='apt install gcc python3.12-dev, or use Python 3.11'):
        here._write_constraints()


def test_every_pin_is_exact_and_once(root: Path) -> None:
    lines = [line for line in (root / 'requirements/constraints.txt').read_text().splitlines() if line[0] != '#']
    names = [re.match(r'[A-Za-z0-9_.-]+', line)[0].lower() for line in lines]
    assert len(set(names)) == len(names)
    assert [line for line in lines if '==' not in line] == ['setuptools<81']


def test_the_package_does_not_require_an_mmcv(root: Path) -> None:
    """pip would put mmcv-lite over a full mmcv."""
    for file in (root / 'requirements').glob('*.txt'):
        if file.name != 'constraints.txt':
            assert 'mmcv' not in file.read_text()


# -- the stamp ---------------------------------------------------------------------------------------------
def test_the_stamp_holds_until_an_input_changes(here: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not here._is_done()
    here._write_stamp()
    assert here._is_done()
    monkeypatch.setattr(here, '_digest', lambda: 'another')
    assert not here._is_done()


def test_a_full_mmcv_serves_the_lite_lane_and_not_the_other_way(here: object) -> None:
    for have, want, done in (('full', 'lite', True), ('lite', 'full', False), ('full', 'full', True)):
        here.stamp.write_text(json.dumps({'digest': here._digest(), 'mmcv': have}))
        here.mmcv = want
        assert here._is_done() is done


@pytest.mark.parametrize('content', ['', '{"digest": '])
def test_a_half_written_stamp_is_no_stamp(here: object, content: str) -> None:
    here.stamp.write_text(content)
    assert not here._is_done()


def test_a_package_cut_off_by_a_kill_is_taken_out(install: ModuleType, tmp_path: Path) -> None:
    site = tmp_path / 'lib' / 'python3.11' / 'site-packages'
    for name, whole in (('torch-2.14.1.dist-info', False), ('numpy-2.3.5.dist-info', True)):
        (site / name).mkdir(parents=True)
        (site / name / 'METADATA').touch()
        if whole:
            (site / name / 'RECORD').touch()
    (site / '~orch').mkdir()
    setup = install.Setup(tmp_path, None, 'lite')
    setup.installed = {'torch': '2.14.1', 'numpy': '2.3.5'}
    setup._drop_half_installed()
    assert [path.name for path in site.iterdir()] == ['numpy-2.3.5.dist-info']
    assert setup.installed == {'numpy': '2.3.5'}


# -- messages ----------------------------------------------------------------------------------------------
def test_a_download_that_fails_is_one_line_with_the_reason(
        install: ModuleType, here: object, capsys: pytest.CaptureFixture) -> None:
    here.python = Path(sys.executable)
    with pytest.raises(install.SetupError) as caught:
        here._pip('[1/1] nothing', ('--no-index', 'there-is-no-such-package'))
    assert re.fullmatch(r'pip failed at \[1/1\] nothing: Could not find a version .*it goes on where it stopped',
                        str(caught.value))
    assert capsys.readouterr().out.startswith('setup: [1/1] nothing ...')


def test_too_little_disk_is_said_before_anything_is_downloaded(
        install: ModuleType, here: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10**10, 0, 10**9))
    with pytest.raises(install.SetupError, match=r'1\.0 GB are free'):
        here._check_disk()
    here.installed = {'torch': '2.14.1'}
    here._check_disk()


def test_make_names_an_interpreter_that_is_not_there(root: Path) -> None:
    result = subprocess.run(['make', '-s', '-C', str(root), 'setup', 'PYTHON=/no/such/python'],
                            capture_output=True, text=True)
    assert result.returncode != 0
    assert result.stderr.startswith('setup: PYTHON=/no/such/python is not an executable. Fix: ')


def test_ci_runs_make_test_from_anywhere(root: Path, tmp_path: Path) -> None:
    fake = tmp_path / 'make'
    fake.write_text('#!/bin/sh\necho "$PWD $@"\n')
    fake.chmod(0o755)
    result = subprocess.run([str(root / '.ci' / 'run')], cwd=tmp_path, capture_output=True, text=True,
                            env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}, check=True)
    assert result.stdout == f'{root} test\n'


# -- the wheel ---------------------------------------------------------------------------------------------
@pytest.fixture(scope='module')
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of the checkout in which a build may leave its traces."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE'):
        shutil.copy(root / name, folder)
    for name in ('mmpose_surgical', 'requirements', 'configs', 'tools'):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    return folder


def build(checkout: Path, *command: str) -> None:
    subprocess.run([sys.executable, 'setup.py', '-q', *command], cwd=checkout, check=True, capture_output=True)


def relative_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


def test_a_wheel_holds_configs_and_tools_and_no_tests(checkout: Path) -> None:
    stale = checkout / 'build/lib/mmpose_surgical/.mim/configs/removed_long_ago.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    build(checkout, 'bdist_wheel')
    names = set(zipfile.ZipFile(next((checkout / 'dist').glob('*.whl'))).namelist())
    for folder in ('configs', 'tools'):
        shipped = {name.removeprefix(f'mmpose_surgical/.mim/{folder}/') for name in names
                   if name.startswith(f'mmpose_surgical/.mim/{folder}/')}
        assert shipped == relative_files(checkout / folder)
    assert 'mmpose_surgical/doctor/environment.py' in names
    templates = 'mmpose_surgical/visualization/report/templates'
    assert {f'{templates}/{name}' for name in relative_files(checkout / templates)} <= names
    assert not [name for name in names if name.startswith(('tests', 'requirements'))]


def test_an_editable_build_links_and_links_again(checkout: Path) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, '-c', 'from setuptools.build_meta import build_editable as b; b("dist")'],
                       cwd=checkout, check=True, capture_output=True)
        for name in ('configs', 'tools'):
            link = checkout / 'mmpose_surgical' / '.mim' / name
            assert link.is_symlink()
            assert not os.path.isabs(os.readlink(link))
            assert link.resolve() == checkout / name
