"""What a verification found: each finding one sentence, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from msgspec import Struct

from hansa.errors import ProtocolViolation

Severity = Literal["failed", "missing", "note"]
MOST_KEPT = 1_000


def printable(text: str) -> str:
    """What somebody else wrote, without what moves a terminal's cursor, changes its colours, or turns the direction of
    writing."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class Finding(Struct, frozen=True):
    """`failed`: something is false. `missing`: something is not there that would have to be shown. `note`: a person
    should look at it."""

    severity: Severity
    where: str
    sentence: str


class Findings:
    """In the order in which they were found. All are counted; of each severity the first thousand are kept."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.counts: dict[Severity, int] = {"failed": 0, "missing": 0, "note": 0}

    def add(self, severity: Severity, where: str, sentence: str) -> None:
        self.counts[severity] += 1
        if self.counts[severity] <= MOST_KEPT:
            self.found.append(Finding(severity, printable(where), printable(sentence)))

    def failed(self, where: str, sentence: str) -> None:
        self.add("failed", where, sentence)

    def missing(self, where: str, sentence: str) -> None:
        self.add("missing", where, sentence)

    def note(self, where: str, sentence: str) -> None:
        self.add("note", where, sentence)

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """What a block refuses is a failure at `where`; the verification goes on after the block."""
        try:
            yield
        except ProtocolViolation as violation:
            self.failed(where, str(violation))
