"""The one error that a user is meant to read."""
from pathlib import Path


class UserError(Exception):
    """Something that the user can mend: bad input, a missing file, a contradiction in a config.

    Tools print it as one line and exit with code 1; it is never a reason for a traceback.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: The file, record or option that it is about.
        fix: What to do, as an imperative sentence without a full stop.
    """

    def __init__(self, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        place = f' ({where})' if where is not None else ''
        remedy = f' Fix: {fix}.' if fix else ''
        super().__init__(f'{what}{place}.{remedy}')


def list_problems(problems: list[str], limit: int = 10) -> str:
    """Join many problems into one message: the first ``limit`` in words, the rest as a count."""
    shown = '; '.join(problems[:limit])
    rest = len(problems) - limit
    return f'{shown}; and {rest} more' if rest > 0 else shown
