"""Versions are checked before anything is imported, and all that registers itself is imported."""
from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmpose_surgical import versions
from mmpose_surgical.errors import UserError


@pytest.mark.parametrize(('version', 'expected'), [
    ('2.14.1', (2, 14, 1)), ('2.13.0+cpu', (2, 13)), ('2.2.0rc1', (2, 2)), ('10', (10,)), ('0.0', ()),
])
def test_version_tuple(version: str, expected: tuple[int, ...]) -> None:
    assert versions.version_tuple(version) == expected


@pytest.mark.parametrize(('name', 'version', 'fits'), [
    ('mmcv', '2.0.0', True), ('mmcv', '2.1.0', True), ('mmcv', '2.2.0', False), ('mmcv', '1.7.2', False),
    ('torch', '2.6.0+cu124', True), ('torch', '2.10.0', True), ('torch', '2.5.1', False),
    ('numpy', '2.3.5', True), ('numpy', '2.4.0', False), ('mmdet', None, False),
])
def test_version_ranges(name: str, version: str | None, fits: bool) -> None:
    assert (versions.version_problem(name, version) is None) is fits


def test_a_problem_names_what_is_there_and_what_is_needed() -> None:
    assert versions.version_problem('mmcv', '2.2.0') == 'mmcv 2.2.0 is installed (>=2.0.0,<2.2 is needed)'
    assert versions.version_problem('mmdet', None) == 'mmdet is not installed (>=3.2,<3.4 is needed)'


def test_what_is_installed_here_fits() -> None:
    assert versions.version_problems() == []


def test_the_ranges_agree_with_what_pip_is_told(root: Path) -> None:
    lines = (root / 'requirements' / 'runtime.txt').read_text().split()
    asked = dict(re.match(r'([a-z0-9-]+)(.*)', line).groups() for line in lines)
    assert asked == {name: versions.needed(name) for name in versions.VERSIONS if name != 'mmcv'}


def test_all_problems_and_one_command_in_one_line(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, 'installed_version', {'torch': '2.0.1', 'mmpose': '1.3.2'}.get)
    with pytest.raises(UserError, match=r'torch 2\.0\.1.*mmcv is not installed.*Fix: make .*setup') as caught:
        plugin.check_versions()
    assert '\n' not in str(caught.value)


def test_loading_imports_every_listed_module(plugin: ModuleType) -> None:
    assert all(f'mmpose_surgical.{module}' in sys.modules for module in plugin.MODULES)
