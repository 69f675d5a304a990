"""One line of a diagnosis, shared by the environment check and the audit, and the ways to print it."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        name: What was looked at.
        ok: True is fine, False is wrong (exit code 1), None is absent or unknown and may stay so.
        detail: What was found.
        fix: The command or sentence that mends it; empty if nothing is to be done.
        needed: What was asked for (a version range, say); empty if that goes without saying.
    """

    name: str
    ok: bool | None
    detail: str
    fix: str = ''
    needed: str = ''


def failed(findings: Sequence[Finding]) -> bool:
    """Whether any finding is wrong."""
    return any(finding.ok is False for finding in findings)


def to_json(findings: Sequence[Finding]) -> str:
    """``{"ok": bool, "findings": [...]}`` for programs."""
    return json.dumps({'ok': not failed(findings), 'findings': [asdict(item) for item in findings]}, indent=2)


def print_findings(findings: Sequence[Finding], title: str) -> None:
    """Print a table and below it the remedies, which a table cell would break over lines."""
    marks = {True: 'ok', False: 'WRONG', None: '-'}
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:  # the doctor is called where little is installed
        for item in findings:
            print(f'{marks[item.ok]:6} {item.name:22} {item.detail}  {item.needed}'.rstrip())
    else:
        styles = {True: 'green', False: 'bold red', None: 'dim'}
        table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD)
        for column in ('', 'what', 'found', 'needed'):
            table.add_column(column, overflow='fold')
        for item in findings:
            table.add_row(Text(marks[item.ok], style=styles[item.ok]),
                          *(Text(cell) for cell in (item.name, item.detail, item.needed)))
        Console().print(table)
    for ok, heading in ((False, 'To mend:'), (None, 'To add, if wanted:')):
        by_fix: dict[str, list[str]] = {}
        for item in findings:
            if item.ok is ok and item.fix:
                by_fix.setdefault(item.fix, []).append(item.name)
        if by_fix:
            print(heading)
        for fix, names in by_fix.items():
            print(f'  {", ".join(names)}: {fix}')
