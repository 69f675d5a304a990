"""What all tools share: errors as one line, options, the data set made on first use."""
import sys
from collections.abc import Callable

from mmpose_surgical.errors import UserError

_WORKER_MARK = f'{UserError.__module__}.{UserError.__name__}: '


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool and exit; what the user can mend is one line on stderr and exit code 1."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        # A data loader worker wraps the message in its own traceback.
        message = str(error).rpartition(_WORKER_MARK)[2].strip()
        print(f'error: {message}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        sys.exit(130)
