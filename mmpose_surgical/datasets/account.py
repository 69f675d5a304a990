"""What was taken over from one format to another, and what was not."""
from collections import Counter


class Account:
    """Counts records: every one is either taken or skipped with a reason, so that nothing is lost unseen."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.skipped: dict[tuple[str, str], list[str]] = {}
        self.remarks: list[str] = []

    def skip(self, what: str, why: str, where: str) -> None:
        """Count a record that is left out."""
        self.skipped.setdefault((what, why), []).append(where)

    def remark(self, text: str) -> None:
        """Something that the user should look at."""
        if text not in self.remarks:
            self.remarks.append(text)

    def lines(self) -> list[str]:
        """All of it for the terminal."""
        return ['taken: ' + ', '.join(f'{what} {count}' for what, count in self.taken.items() if count),
                *(f'skipped: {what} {len(places)}: {why} (e.g. {places[0]})'
                  for (what, why), places in sorted(self.skipped.items())),
                *(f'look: {remark}' for remark in self.remarks)]
