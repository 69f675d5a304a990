"""Several processes: started by torchrun or SLURM, all walking one plan together."""
import os
import subprocess
import warnings
from datetime import timedelta
from typing import Any

TIMEOUT = timedelta(minutes=60)


def start_processes(launcher: str) -> None:
    """Join the process group before any Runner exists, on GPUs by NCCL and else by gloo.

    MMEngine joins inside a Runner and on GPUs only; a plan needs it for all its stages.
    """
    if launcher == 'none':
        return
    import torch
    from mmengine.dist import init_dist, is_distributed
    if is_distributed():
        return
    warnings.filterwarnings('ignore', message='`broadcast_buffers` is deprecated', category=FutureWarning)
    if torch.cuda.is_available():
        init_dist(launcher, backend='nccl', timeout=int(TIMEOUT.total_seconds()))  # MMEngine takes seconds
        return
    if launcher == 'slurm':
        os.environ.update(RANK=os.environ['SLURM_PROCID'], WORLD_SIZE=os.environ['SLURM_NTASKS'],
                          LOCAL_RANK=os.environ.get('SLURM_LOCALID', '0'))
        os.environ.setdefault('MASTER_ADDR', _first_slurm_host())
        os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo', timeout=TIMEOUT)


def _first_slurm_host() -> str:
    done = subprocess.run(['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], capture_output=True,
                          text=True, check=True)
    return done.stdout.split()[0]


def rank_from_environment() -> tuple[int, int]:
    """Rank and world size as the launcher set them, known before any process group exists."""
    env = os.environ
    rank = env.get('RANK') or env.get('SLURM_PROCID') or '0'
    world = env.get('WORLD_SIZE') or env.get('SLURM_NTASKS') or '1'
    return int(rank), int(world)


def share_from_main(value: Any) -> Any:
    """The value that rank 0 holds, on every rank."""
    from mmengine.dist import broadcast_object_list, is_distributed
    if is_distributed():
        box = [value]
        broadcast_object_list(box)
        value = box[0]
    return value


def wait_for_all() -> None:
    """Return when every rank has come here."""
    from mmengine.dist import barrier
    barrier()
