"""Package metadata, and the two forms of ``.mim``: copies in a wheel, links in an editable install.

OpenMMLab's launcher (``mim train mmpose_surgical CONFIG``) looks for ``configs`` and ``tools`` in
``<package>/.mim``. Copies made at build time cannot go stale in the source tree, and links never do.
"""
import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmpose_surgical'
MIM_ENTRIES = ('configs', 'tools')


class BuildWithMim(build_py):
    """``build_py`` that also puts :data:`MIM_ENTRIES` under ``<package>/.mim``."""

    def run(self) -> None:
        super().run()
        present = [name for name in MIM_ENTRIES if (ROOT / name).exists()]
        if self.editable_mode:
            for name in present:
                _link(ROOT / PACKAGE / '.mim' / name, ROOT / name)
        else:
            # What an earlier build left here would come along, files that were removed since included.
            shutil.rmtree(Path(self.build_lib) / PACKAGE / '.mim', ignore_errors=True)
            for name in present:
                _copy(ROOT / name, Path(self.build_lib) / PACKAGE / '.mim' / name)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    if link.is_symlink() or link.exists():
        if link.is_symlink():
            link.unlink()
        else:
            shutil.rmtree(link) if link.is_dir() else link.unlink()
    link.symlink_to(os.path.relpath(target, link.parent))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignore)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def requirements(name: str) -> list[str]:
    """The lines of ``requirements/<name>.txt``. mmcv is in none: mmcv-lite would overwrite a full mmcv."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith('#')]


def version() -> str:
    text = (ROOT / PACKAGE / '__init__.py').read_text()
    return re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE).group(1)


if __name__ == '__main__':
    setup(
        name=PACKAGE,
        version=version(),
        description='Surgical landmarks from clips with mask priors, as a plugin for MMPose',
        license='Apache-2.0',
        license_files=['LICENSE'],
        python_requires='>=3.11',
        packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
        include_package_data=True,
        install_requires=requirements('runtime'),
        extras_require={name: requirements(name) for name in ('sam3', 'yolo', 'export', 'demo', 'dev')},
        cmdclass={'build_py': BuildWithMim},
    )
