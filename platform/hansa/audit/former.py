"""The log as Hansa 0.1 wrote it: entries linked by digest. It is read and checked, and never written any more.

    digest(n) = SHA-256("hansa/v1/audit" ‖ 0x00 ‖ length ‖ entry(n))
    entry(n) holds digest(n − 1), or 32 zero bytes for n = 0

The log that follows it holds its size and its last digest in the first entry, "log opened".
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation
from hansa.messages import Digest, decode

GENESIS = bytes(32)


class FormerEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=0)]
    previous: Digest
    milliseconds: int  # since 1970, by the hub's clock
    act: str
    by: str  # a member's id, or "hub"
    run: str  # empty where the act belongs to no job
    details: dict[str, str]


def entry_digest(data: bytes) -> bytes:
    return digest("audit", data)


def check_links(rows: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """(size, head) of entries in order, each with the digest kept beside it; ProtocolViolation names the first bad."""
    size, head = 0, GENESIS
    for data, kept in rows:
        try:
            entry = decode(data, FormerEntry)
        except ProtocolViolation as violation:
            raise ProtocolViolation(f"entry {size} of the log is no entry: {violation}") from violation
        if entry.number != size or entry.previous != head or entry_digest(data) != kept:
            raise ProtocolViolation(f"entry {size} of the log does not follow from the one before it")
        size, head = size + 1, kept
    return size, head
