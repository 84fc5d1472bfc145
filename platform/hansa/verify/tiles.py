"""An export's tiles (C2SP tlog-tiles): entries in bundles of 256, and the digests above them.

tile/entries/<N>[.p/<W>]   u16be length ‖ entry, 256 times, or W times where the log ends
tile/<L>/<N>[.p/<W>]       256 digests, or W; those of level L + 1 are the roots of the full ones of level L
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.findings import Findings
from hansa.verify.tree import DIGEST_BYTES, WIDTH, Tree, leaf

MOST_ENTRIES = 10_000_000  # of a log that is verified in memory


class Source(Struct, frozen=True):
    """An export, as its owner opens it. `read`: a file by its path, None where there is none. `names`: what lies in a
    folder, sorted; nothing where there is none."""

    read: Callable[[str], bytes | None]
    names: Callable[[str], Sequence[str]]


def path(level: str, number: int, width: int) -> str:
    """Of the tile `number`; `width` below 256 for the one in which the log ends."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < WIDTH else "")


def widths(count: int) -> Sequence[int]:
    """Of the tiles that hold `count` things."""
    return [WIDTH] * (count // WIDTH) + ([count % WIDTH] if count % WIDTH else [])


def entries_of(bundle: bytes, width: int, where: str) -> list[bytes]:
    """The first `width` entries of a bundle that holds as many, or is full."""
    found: list[bytes] = []
    at = 0
    while at < len(bundle) and len(found) < WIDTH:
        length = int.from_bytes(bundle[at : at + 2], "big")
        if at + 2 + length > len(bundle):
            raise ProtocolViolation(f"{where} is cut off in the middle of an entry")
        found.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    if at < len(bundle) or len(found) not in (width, WIDTH):
        raise ProtocolViolation(f"{where} holds {len(found)} entries; the checkpoint says {width}")
    return found[:width]


def read_tree(source: Source, size: int, findings: Findings) -> tuple[list[bytes], Tree] | None:
    """Every entry, and the tree over them, each tile held to the ones below; None where entries are missing."""
    if size > MOST_ENTRIES:
        raise ProtocolViolation(f"the log is said to have {size} entries; at most {MOST_ENTRIES} are verified at once")
    entries: list[bytes] = []
    tree = Tree()
    for number, width in enumerate(widths(size)):
        where = path("entries", number, width)
        bundle = tile(source, "entries", number, width)
        if bundle is None:
            findings.failed(where, f"entries {WIDTH * number} to {WIDTH * number + width - 1} are not in the export")
            return None
        try:
            found = entries_of(bundle, width, "the bundle")
        except ProtocolViolation as violation:
            findings.failed(where, str(violation))
            return None
        tree.append([leaf(entry) for entry in found])
        entries += found
    _check_digests(source, tree, findings)
    return entries, tree


def _check_digests(source: Source, tree: Tree, findings: Findings) -> None:
    for level, row in enumerate(tree.rows):
        for number, width in enumerate(widths(len(row) // DIGEST_BYTES)):
            where, kept = path(str(level), number, width), tile(source, str(level), number, width)
            due = bytes(row[number * WIDTH * DIGEST_BYTES :][: width * DIGEST_BYTES])
            if kept is None:
                findings.missing(where, "the tile is not in the export; its digests were computed from the entries")
            elif kept[: len(due)] != due or len(kept) not in (len(due), WIDTH * DIGEST_BYTES):
                below = "entries" if level == 0 else f"tiles of level {level - 1}"
                findings.failed(where, f"the tile does not hold the digests of the {below} below it")


def tile(source: Source, level: str, number: int, width: int) -> bytes | None:
    """The tile of this width, or the full one that came after it."""
    found = source.read(path(level, number, width))
    return source.read(path(level, number, WIDTH)) if found is None and width < WIDTH else found
