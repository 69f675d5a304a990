"""What all tools share: errors as one line."""
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmpose_surgical.compat import silence_pkg_resources
from mmpose_surgical.errors import UserError

_WORKER_MARK = f'{UserError.__module__}.{UserError.__name__}: '
_GRACE_SECONDS = 5.
"""How long other processes than the first hold back an error: most errors meet all of them, and the launcher ends them
as soon as the first one has said so."""


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool and exit; what the user can mend is one line on stderr and exit code 1."""
    silence_pkg_resources()  # MMEngine warns when it is imported, before anything else here is
    try:
        sys.exit(main() or 0)
    except UserError as error:
        if int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0) > 0:
            time.sleep(_GRACE_SECONDS)
        print(f'error: {one_line(error)}', file=sys.stderr, flush=True)
        sys.exit(1)
    except RuntimeError as error:
        if int(os.environ.get('WORLD_SIZE') or 1) == 1 or 'by peer' not in str(error):
            raise
        # Connection closed, or reset, by peer.
        print('stopped: another process of this run has failed', file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output, such as head, has seen enough; nothing may be written on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        sys.exit(130)


@contextmanager
def progress_bar(what: str, visible: bool = True, speed: str = '') -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, gone when the work is done; what it gives is called with how many are done and of how many.

    ``speed``, e.g. ``frames/s``, shows how fast it goes too.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

    class Speed(ProgressColumn):
        def render(self, task: Any) -> str:
            return f'{task.speed:.1f} {speed}' if speed and task.speed else ''

    with Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn(), transient=True,
                  console=Console(stderr=True)) as bar:
        task = bar.add_task(what, visible=visible)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def one_line(error: UserError) -> str:
    """The message in one line, without the traceback that a data loader worker wraps it in."""
    before, mark, message = str(error).rpartition(_WORKER_MARK)
    return message.splitlines()[0] if mark else ' '.join(message.split('\n'))
