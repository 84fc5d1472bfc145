"""Entries of an export as a person reads them: safe to print, whatever somebody else wrote into them.

`verdict.verify` says whether they hold. Here only payloads are held to anything, to the commitments of their entries.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from re import compile as pattern
from typing import Literal

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.entries import Entry, read
from hansa.verify.findings import Finding
from hansa.verify.payloads import content_of, read_plan
from hansa.verify.tiles import Source, entries_of, path, tile, widths
from hansa.verify.tree import WIDTH

MOST_LETTERS = 2_000  # of one text
_PLACE = pattern(r"entry (\d{1,15})\b")


class Wanted(Struct, frozen=True):
    """Which entries; what is empty takes all. `member`: who acted. `run`: how a job's id begins. `since`, `until`:
    milliseconds by the author's clock, the second excluded."""

    member: str = ""
    run: str = ""
    act: str = ""
    since: int = 0
    until: int | None = None

    def takes(self, entry: Entry) -> bool:
        if self.until is not None and entry.milliseconds >= self.until:
            return False
        by = {entry.by, entry.details["site"]} if entry.act == "heard" else {entry.by}
        act = {entry.act, entry.details["what"]} if entry.act == "heard" else {entry.act}
        return (
            entry.milliseconds >= self.since
            and entry.run.startswith(self.run)
            and (not self.member or self.member in by)
            and (not self.act or self.act in act)
        )


class Shown(Struct, frozen=True):
    """An entry. `payload`: whether what its commitment opens to is in the export; `text`, what it says if it is. Of one
    that can't be read there is a place alone, and `wrong` says why."""

    place: int
    by: str = ""
    milliseconds: int = 0
    act: str = ""
    run: str = ""
    details: Mapping[str, str] = {}
    payload: Literal["none", "open", "erased", "false"] = "none"
    text: str = ""
    wrong: str = ""


def show(source: Source, size: int, wanted: Wanted, newest: int) -> Sequence[Shown]:
    """The newest of the wanted entries, in the order of the log. Those that can't be read are always wanted."""
    return deque(_shown(source, size, wanted), maxlen=newest)


def _shown(source: Source, size: int, wanted: Wanted) -> Iterator[Shown]:
    for place, data in _leaves(source, size):
        if isinstance(data, str):
            yield Shown(place, wrong=data)
            continue
        try:
            entry = read(data, place).entry
        except ProtocolViolation as violation:
            yield Shown(place, wrong=clean(str(violation)))
            continue
        if wanted.takes(entry):
            yield _open(source, place, entry)


def _leaves(source: Source, size: int) -> Iterator[tuple[int, bytes | str]]:
    """Each leaf's data with its place, or why a bundle shows none."""
    for number, width in enumerate(widths(size)):
        start = number * WIDTH
        where = path("entries", number, width)
        bundle = tile(source, "entries", number, width)
        try:
            if bundle is None:
                raise ProtocolViolation(f"{where} is not in the export: entries up to {start + width - 1} are missing")
            yield from enumerate(entries_of(bundle, width, where), start)
        except ProtocolViolation as violation:
            yield start, str(violation)


def _open(source: Source, place: int, entry: Entry) -> Shown:
    details = {clean(name): clean(value) for name, value in entry.details.items()}
    about = place, entry.by, entry.milliseconds, entry.act, entry.run, details
    if not entry.payload:
        return Shown(*about)
    try:
        content = content_of(source, entry.payload)
    except ProtocolViolation:
        return Shown(*about, payload="false")
    return Shown(*about, payload="erased") if content is None else Shown(*about, "open", _text(entry, content))


def _text(entry: Entry, content: bytes) -> str:
    """A plan's question; of everything else, what a person typed."""
    if entry.act != "proposal asked":
        return clean(content.decode("utf-8", "replace"))
    try:
        return clean(read_plan(content).parameters.decode("utf-8", "replace"))
    except ProtocolViolation:
        return f"{len(content)} bytes, which are no plan"


def clean(text: str) -> str:
    """On one line, without what moves a terminal's cursor, changes its colours, or turns the direction of writing."""
    line = " / ".join(text[: MOST_LETTERS + 1].splitlines())
    if len(line) > MOST_LETTERS:
        line = line[:MOST_LETTERS] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def of_entries(findings: Iterable[Finding]) -> Mapping[int, Sequence[Finding]]:
    """What a verification found, by the place of the entry where it did."""
    found: dict[int, list[Finding]] = {}
    for finding in findings:
        if place := _PLACE.match(finding.where):
            found.setdefault(int(place[1]), []).append(finding)
    return found
