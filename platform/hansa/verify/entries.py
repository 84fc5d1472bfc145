"""Entries of the log: their bytes, and who may do what.

leaf data  = [entry, signature]                     deterministic, at most 65 535 bytes
entry      = [log, by, sequence, milliseconds, act, run, details, payload]
signature  = Ed25519(by, "hansa/v1/log entry" ‖ 0x00 ‖ entry)
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from hansa.errors import ProtocolViolation
from hansa.verify.charters import HUB, Name
from hansa.verify.encoding import canonical, label
from hansa.verify.findings import printable

SIGNED_AS = label("log entry")
MOST_BYTES = 65_535

# Each act, and the details that the verifier reads of it.
OF_HUB: Mapping[str, tuple[str, ...]] = {
    "log opened": (),
    "charter adopted": ("version", "charter"),
    "site seen": ("site",),
    "signed in": ("person", "member"),
    "proposal asked": ("plan", "kind", "table", "person", "member"),
    "consent asked": ("sites",),
    "heard": ("site", "what", "plan"),
    "setup complete": ("session", "plan", "sites"),
    "survivors locked": ("step", "sites"),
    "total opened": ("step", "total", "locked"),
    "released": ("answer", "sites"),
    "answer read": ("person",),
    "ended": ("status",),
    "cancelled": ("person",),
    "letter set aside": ("site",),
}
OF_MEMBER: Mapping[str, tuple[str, ...]] = {
    "log continued": ("log", "entries", "digest", "size", "root"),
    "charter accepted": ("version", "charter"),
    "table added": ("table",),
    "table withdrawn": ("table",),
    "policy changed": ("policy",),
    "proposal signed": ("plan",),
    "consent given": ("plan",),
    "refused": (),
    "contributed": ("step", "header"),
    "locked": ("step", "survivors"),
    "unmasked": ("step", "shares"),
    "release agreed": ("plan", "answer"),
    "figures seen": ("person",),
    "release seen": ("answer",),
    "log reviewed": ("size", "root"),
    "table closed": ("table",),
    "budget reserved": ("table", "nano-rho"),
    "budget spent": ("table", "nano-rho"),
    "budget given back": ("table", "nano-rho"),
    "decision refused": ("what",),
    "person added": ("person", "roles", "key"),
    "person removed": ("person",),
}


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    log: str
    by: Name
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    milliseconds: Annotated[int, Meta(ge=0, le=2**53)]
    act: Annotated[str, Meta(max_length=40)]
    run: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]
    details: dict[str, str]
    payload: Annotated[bytes, Meta(max_length=32)]


class SignedEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    entry: bytes
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Read(Struct, frozen=True):
    """An entry with its place in the log, and the bytes that its author signed."""

    place: int
    entry: Entry
    signed: bytes
    signature: bytes


def read(data: bytes, place: int) -> Read:
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the entry is larger than 65 535 bytes")
    raw = canonical(data, SignedEntry, "the entry")
    entry = canonical(raw.entry, Entry, "the entry")
    acts = OF_HUB if entry.by == HUB else OF_MEMBER
    if entry.act not in acts:
        raise ProtocolViolation(f"'{entry.by}' may not do the act '{entry.act}'")
    lacking = [name for name in acts[entry.act] if name not in entry.details]
    if lacking:
        raise ProtocolViolation(f"the act '{entry.act}' does not say its '{lacking[0]}'")
    if len(entry.payload) not in (0, 32):
        raise ProtocolViolation("the commitment to a payload is not 32 bytes")
    return Read(place, entry, SIGNED_AS + raw.entry, raw.signature)


def names(text: str) -> tuple[str, ...]:
    """Sites as a detail lists them."""
    return tuple(name for name in text.replace(",", " ").split(" ") if name)


def about(text: str) -> str:
    """What somebody else wrote, short enough for a sentence and without control characters."""
    return printable(text[:80])
