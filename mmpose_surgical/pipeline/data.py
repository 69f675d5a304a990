"""The synthetic data set is made on first use; any other data must be there."""
import time
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmpose_surgical.errors import UserError

_POLL_SECONDS = 2.0
_PATIENCE_SECONDS = 3600.0


def ensure_data(cfg: Config, console: Console, dry_run: bool = False, rank: int = 0) -> bool:
    """Make the synthetic data set where the config points to it and it is missing or unfinished.

    ``cfg.synthetic`` names the folder, spec and seed; a ``data_root`` that points elsewhere is the user's own and is
    never made. Of several processes the first one makes the data, before any process group exists, and the others look
    for the result: no one waits in a collective.

    Returns:
        Whether the data is there; False only with ``dry_run``.

    Raises:
        UserError: The folder holds a data set of another spec or version.
    """
    wanted = cfg.get('synthetic')
    if not wanted or Path(cfg.data_root) != Path(wanted['root']):
        return True
    from mmpose_surgical.datasets.synthetic.generate import SPECS, Completeness, check, generate
    if wanted['spec'] not in SPECS:
        raise UserError(f'there is no synthetic data set "{wanted["spec"]}"', 'synthetic.spec', f'choose one of: '
                        f'{", ".join(SPECS)}')
    root, spec = Path(cfg.data_root), SPECS[wanted['spec']].with_seed(wanted.get('seed', 0))
    state, message = check(root, spec)
    if state is Completeness.OTHER:
        raise UserError(message, root, 'remove the folder (it is made anew), or set SURGICAL_DATA to your own data')
    if state is Completeness.COMPLETE or dry_run:
        return state is Completeness.COMPLETE
    if rank > 0:
        end = time.monotonic() + _PATIENCE_SECONDS
        while check(root, spec)[0] is not Completeness.COMPLETE:
            if time.monotonic() > end:
                raise UserError('the first process did not make the synthetic data set within an hour', root,
                                'put the folder where all machines see it')
            time.sleep(_POLL_SECONDS)
        return True
    console.print(f'making the synthetic data set in {root} ({message})', highlight=False, soft_wrap=True)
    with Progress(TextColumn('      '), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                  transient=True) as bar:
        task = bar.add_task('', total=None)
        generate(root, spec, progress=lambda done, total: bar.update(task, completed=done, total=total))
    return True
