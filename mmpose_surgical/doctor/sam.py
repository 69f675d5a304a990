"""SAM 3 and SAM 2.1: are there weights, of which kind, do they run, and what do they need?"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mmpose_surgical.doctor.finding import Finding
from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.weights import VARIABLES, find_weights, how_to_get, named_checkpoint

# Peak of a whole process at full size, float32 on the CPU: benchmarks/results/sam_size_cpu.md.
_PURPOSES = dict(sam3='the prior of the paper; takes 3.4 GiB of memory', sam2='its open alternative; 2.6 GiB')


def check_sam(backend: str, complete: bool = True) -> Finding:
    """Look for the weights that the environment names, and segment one picture with them.

    Args:
        backend: ``sam3`` or ``sam2``.
        complete: Whether all that is needed to run anything is installed.
    """
    name = VARIABLES[backend]
    if not named_checkpoint(backend, None):
        return Finding(name, None, f'unset ({_PURPOSES[backend]})', how_to_get(backend))
    try:
        weights = find_weights(backend, None)
        told = f'{weights.path} ({weights.kind}), {_size(weights.path)}'
    except UserError as error:
        return _wrong(name, error)
    if not complete:
        return Finding(name, None, f'{told}; not tried before the rest is mended')
    # In a process of its own, so that its peak of memory is not that of another backend.
    path = os.pathsep.join(filter(None, sys.path))  # of a checkout that was not installed too
    done = subprocess.run([sys.executable, '-m', __name__, backend], capture_output=True, text=True,
                          env=os.environ | dict(PYTHONPATH=path))
    try:
        ok, detail, fix = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):  # killed for memory, say
        last = (done.stderr.strip().splitlines() or ['no message'])[-1]
        ok, detail, fix = False, f'does not run: exit code {done.returncode}: {last}', how_to_get(backend)
    return Finding(name, ok, f'{told}; {detail}', fix)


def _wrong(name: str, error: UserError) -> Finding:
    return Finding(name, False, error.what + (f' ({error.where})' if error.where else ''), error.fix or '')


def try_out(backend: str) -> Finding:
    """Segment one picture in this process; whatever goes wrong is a finding."""
    name = VARIABLES[backend]
    try:
        return Finding(name, True, dry_run(backend))
    except UserError as error:
        return _wrong(name, error)
    except Exception as error:  # a doctor reports what it meets: foreign code runs foreign files here
        reason = (str(error).strip().splitlines() or [''])[0]
        return Finding(name, False, f'does not run: {type(error).__name__}: {reason}', how_to_get(backend))


def _size(path: Path) -> str:
    files = [path] if path.is_file() else path.glob('*.safetensors')
    return f'{sum(file.stat().st_size for file in files) / 1e9:.2f} GB'


def dry_run(backend: str) -> str:
    """Segment one grey picture by two points; time and memory, in words.

    Raises:
        UserError: It does not run.
    """
    import numpy as np
    import torch

    import mmpose_surgical.plugin  # noqa: F401  (registers the backends)
    from mmpose_surgical.priors.base import PriorFrame, build_backend
    built = build_backend(dict(backend=backend))
    frame = PriorFrame(np.full((480, 640, 3), 128, np.uint8))
    built.model  # noqa: B018  (loading is not timed)
    start = time.monotonic()
    embedding = built.embed(frame)
    encoded = time.monotonic()
    built.predict(embedding, np.array([[200., 200.], [300., 250.]], np.float32), np.ones(2, np.int64))
    decoded = time.monotonic()
    if torch.cuda.is_available():
        memory = f'{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on {torch.cuda.get_device_name()}'
    else:
        import resource
        # Linux counts in KiB, macOS in bytes.
        unit = 2**30 if sys.platform == 'darwin' else 2**20
        memory = f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.1f} GiB on the CPU'
    return f'one picture: encoder {encoded - start:.2f} s, decoder {decoded - encoded:.2f} s, {memory}'


if __name__ == '__main__':
    found = try_out(sys.argv[1])
    print(json.dumps([found.ok, found.detail, found.fix]))
