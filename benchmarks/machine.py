"""What a result was measured on."""
import os
import platform
from pathlib import Path
from typing import Any

from mmpose_surgical.evaluation.summary import git_commit


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, versions and commit, for the head of a result file."""
    info = Path('/proc/cpuinfo')
    names = [line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')] \
        if info.exists() else []
    import torch
    return dict(processor=names[0] if names else platform.processor(), cores=os.cpu_count(),
                memory_gib=round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
                gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                python=platform.python_version(), torch=torch.__version__, git_commit=git_commit())


def short_commit(machine: dict[str, Any]) -> str:
    """The commit of a result, with what says that files had changed since."""
    commit = machine['git_commit']
    return commit[:7] + ('-dirty' if commit.endswith('-dirty') else '')
