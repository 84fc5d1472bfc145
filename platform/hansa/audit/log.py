"""Entries of the log: who did what, signed by who did it.

    leaf data  = [entry, signature]                     deterministic, at most 65 535 bytes
    entry      = [log, by, sequence, milliseconds, act, run, details, payload]
    signature  = Ed25519(by, "hansa/v1/log entry" ‖ 0x00 ‖ entry)
    payload    = SHA-256(salt ‖ content), or empty      salt of 32 bytes; salt and content can be erased

Where members agreed on a new log (`charter.py`), the hub's first entry says what is known of the one before, and each
member's first says what it wrote and cosigned there:

    log opened       former log, former size, former root    what the hub's database holds of it
                     witnessed, heard                        the largest checkpoint that is known; who was asked for it
    log continued    log, entries, digest, size, root        how many entries are the member's, and the root of a tree
                                                             of them alone; the head that it cosigned last

`sequence` counts the author's own entries in this log, from 0 and without gaps, so that one that the hub leaves out is
missed; `log` is its origin, so that an entry of one log is worthless in another. Members sign with their consent key,
the hub with the one that signs its letters. What a person typed stands in no entry, only its commitment.
"""

import hashlib
from typing import Annotated

from msgspec import Meta, Struct

from hansa.charter import Charter, Origin, log_began
from hansa.crypto.keys import SigningKey, verify
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import HUB, Signature, decode, encode

_PURPOSE = "log entry"
ROWS = 2**40  # of a table: each log of a consortium has so many numbers of its own there
MOST_BYTES = 65_535  # of leaf data (C2SP tlog-tiles)
SALT_BYTES = 32
LATEST = 7_258_118_400_000  # the year 2200: a member must not write times that no calendar or page can show

OF_HUB = frozenset(
    {
        "log opened",
        "charter adopted",
        "site seen",
        "signed in",
        "proposal asked",
        "consent asked",
        "heard",  # of a site that signs no entries of its own (Hansa 0.1)
        "setup complete",
        "survivors locked",
        "total opened",
        "released",
        "answer read",
        "ended",
        "cancelled",
        "letter set aside",
    }
)
OF_MEMBER = frozenset(
    {
        "log continued",
        "charter accepted",
        "table added",
        "table withdrawn",
        "policy changed",
        "proposal signed",
        "consent given",
        "refused",
        "contributed",
        "locked",
        "unmasked",
        "release agreed",
        "figures seen",
        "release seen",
        "log reviewed",
        "table closed",
        "budget reserved",
        "budget spent",
        "budget given back",
        "decision refused",
        "person added",
        "person removed",
    }
)

Text = Annotated[str, Meta(max_length=8_192)]


def first_row(charter: Charter) -> int:
    """From which number on a database keeps the entries, nodes and checkpoints of this charter's log: those of a log
    that is over stay where they are."""
    return first_row_of(charter.origin)


def first_row_of(origin: str) -> int:
    return (log_began(origin) - 1) * ROWS


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One act. `details` hold ids, digests and counts; never a value of a table, a key, or a person's name."""

    log: Origin
    by: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    milliseconds: Annotated[int, Meta(ge=0, le=LATEST)]  # since 1970, by the author's clock
    act: Annotated[str, Meta(max_length=40)]
    run: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]  # empty where the act belongs to no job
    details: dict[Annotated[str, Meta(max_length=40)], Text]
    payload: Annotated[bytes, Meta(max_length=32)]


class Signed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Leaf data."""

    entry: bytes
    signature: Signature


class Payload(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an entry's commitment opens to; kept beside the log, and erasable."""

    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    content: Annotated[bytes, Meta(max_length=2**20)]

    def __repr__(self) -> str:
        return f"Payload({len(self.content)} bytes)"

    @property
    def commitment(self) -> bytes:
        return hashlib.sha256(self.salt + self.content).digest()


def sign(entry: Entry, key: SigningKey) -> bytes:
    """The entry's leaf data. Acts that nobody may do are an error of ours."""
    if entry.act not in (OF_HUB if entry.by == HUB else OF_MEMBER):
        raise ValueError(f"'{entry.by}' never does the act '{entry.act}'")
    raw = encode(entry)
    data = encode(Signed(raw, key.sign(_PURPOSE, raw)))
    if len(data) > MOST_BYTES:
        raise ValueError("an entry is larger than 65 535 bytes")
    return data


def read(data: bytes) -> Entry:
    """An entry, from its leaf data; its signature is not looked at."""
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("an entry is larger than 65 535 bytes")
    entry = decode(decode(data, Signed).entry, Entry)
    if entry.act not in (OF_HUB if entry.by == HUB else OF_MEMBER) or len(entry.payload) not in (0, 32):
        raise ProtocolViolation(f"an entry is of an act that '{entry.by}' never does, or its commitment is none")
    return entry


def check(data: bytes, charter: Charter) -> Entry:
    """An entry of this charter's log, signed by its author."""
    entry = read(data)
    try:
        key = charter.word_of(entry.by)
    except Refused as refusal:
        raise ProtocolViolation(str(refusal)) from refusal
    verify(key, _PURPOSE, decode(data, Signed).entry, decode(data, Signed).signature)
    if entry.log != charter.origin:
        raise ProtocolViolation(f"an entry is of the log '{entry.log}', and not of '{charter.origin}'")
    return entry
