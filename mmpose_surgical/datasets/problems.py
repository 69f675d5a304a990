"""What can be wrong with a data set, as records that tools group and print."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set.

    Args:
        kind: What problems are grouped by; ``record`` is one that the reader refuses.
        file: The file that it is about.
        record: The record in that file, ``''`` for the file as a whole.
        what: What is wrong, in words.
    """
    kind: str
    file: str
    record: str
    what: str
