"""The log of acts: entries linked by digest, so that changing one changes every later head.

    digest(n) = SHA-256("hansa/v1/audit" ‖ 0x00 ‖ length ‖ entry(n))
    entry(n) holds digest(n − 1), or 32 zero bytes for n = 0

What a linked list shows: whoever kept an earlier head (size and digest) sees any change to what it covers. What it
can't show: the hub alone writes it, and nobody else signs it yet, so a hub that never showed its head to anybody can
rewrite everything. `SECURITY.md` says so too.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation
from hansa.messages import Digest, decode, encode

GENESIS = bytes(32)
ACTS = (
    "charter adopted",
    "site seen",
    "signed in",
    "proposal asked",
    "proposal signed",
    "consent asked",
    "consent given",
    "refused",
    "setup complete",
    "survivors locked",
    "total opened",
    "released",
    "ended",
    "cancelled",
    "letter set aside",
)


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One act. `details` hold ids, digests and counts; never a value of a table, a key, or a person's name."""

    number: Annotated[int, Meta(ge=0)]
    previous: Digest
    milliseconds: int  # since 1970, by the hub's clock
    act: str
    by: str  # a member's id, or "hub"
    run: str  # empty where the act belongs to no job
    details: dict[str, str]


def entry_digest(data: bytes) -> bytes:
    return digest("audit", data)


def link(
    number: int, previous: bytes, milliseconds: int, act: str, by: str, run: str, details: Mapping[str, str]
) -> tuple[bytes, bytes]:
    """The next entry's bytes and digest."""
    if act not in ACTS:
        raise ValueError(f"the log knows no act '{act}'")
    data = encode(Entry(number, previous, milliseconds, act, by, run, dict(details)))
    return data, entry_digest(data)


def check_links(rows: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """(size, head) of entries in order, each with the digest kept beside it; ProtocolViolation names the first bad."""
    size, head = 0, GENESIS
    for data, kept in rows:
        try:
            entry = decode(data, Entry)
        except ProtocolViolation as violation:
            raise ProtocolViolation(f"entry {size} of the log is no entry: {violation}") from violation
        if entry.number != size or entry.previous != head or entry_digest(data) != kept:
            raise ProtocolViolation(f"entry {size} of the log does not follow from the one before it")
        size, head = size + 1, kept
    return size, head
