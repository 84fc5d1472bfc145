"""The log as files: tiles of hashes and bundles of entries (c2sp.org/tlog-tiles).

    tile/<level>/<place>[.p/<width>]    256 hashes; those of level l are roots of complete subtrees of 256^l leaves
    tile/entries/<place>[.p/<width>]    256 entries, each with its length in two bytes before it

A place is written in groups of three digits, all but the last with an x before it: 1234067 is x001/x234/067. The last
of each row is partial where the tree ends in it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from hansa.audit.tree import Read
from hansa.crypto.merkle import DIGEST_BYTES
from hansa.errors import ProtocolViolation

WIDTH: Final = 256
MOST_ENTRY_BYTES: Final = 2**16 - 1
HEIGHT: Final = 8  # levels of the tree in a tile
MOST_LEVEL: Final = 63
ENTRIES: Final = "entries"

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class Place(Struct, frozen=True):
    """Which tile: its level, or ENTRIES; its place in that row; and how many it holds."""

    level: int | str
    index: int
    width: int = WIDTH

    def __str__(self) -> str:
        """Its path."""
        groups = [f"{self.index % 1000:03}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{self.level}/{'/'.join(groups)}{partial}"


def parse_path(path: str) -> Place:
    """Which tile a path names, where it is spelt as we spell it; else ProtocolViolation."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ProtocolViolation("a path is not that of a tile")
    row, groups, width = found.groups()
    index = int(groups.replace("x", "").replace("/", ""))
    place = Place(ENTRIES if row == ENTRIES else int(row), index, int(width or WIDTH))
    if str(place) != path or (isinstance(place.level, int) and place.level > MOST_LEVEL):
        raise ProtocolViolation("a path is not that of a tile")
    return place


def row(level: int | str, size: int) -> Iterator[Place]:
    """The tiles of one level, or the bundles, of a tree of `size`: full ones, then the partial one."""
    count = size >> HEIGHT * level if isinstance(level, int) else size
    for index in range(count // WIDTH):
        yield Place(level, index)
    if count % WIDTH:
        yield Place(level, count // WIDTH, count % WIDTH)


def places(size: int) -> Iterator[Place]:
    """Every file that a tree of `size` has, bundles first."""
    yield from row(ENTRIES, size)
    level = 0
    while size >> HEIGHT * level:
        yield from row(level, size)
        level += 1


def export(size: int, read: Read, entries: Callable[[int, int], Sequence[bytes]]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file for the first `size` entries; `entries(start, end)` gives some of them."""
    for place in places(size):
        start = place.index * WIDTH
        if isinstance(place.level, int):
            level = HEIGHT * place.level
            yield str(place), b"".join(read(level, start + number) for number in range(place.width))
        else:
            yield str(place), bundle(entries(start, start + place.width))


def bundle(entries: Sequence[bytes]) -> bytes:
    if not 0 < len(entries) <= WIDTH or any(len(entry) > MOST_ENTRY_BYTES for entry in entries):
        raise ValueError("a bundle holds up to 256 entries, each of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle of `width`; ProtocolViolation where it holds fewer, more, or part of one."""
    entries, at = [], 0
    for _ in range(width):
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 + length > len(data):
            raise ProtocolViolation("a bundle ends before its entries do")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(data):
        raise ProtocolViolation("a bundle holds more than its entries")
    return entries


def parse_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of `width`."""
    if len(data) != width * DIGEST_BYTES:
        raise ProtocolViolation("a tile does not hold as many hashes as its name says")
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]
