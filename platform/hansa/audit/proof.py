"""A receipt: what shows offline that an entry is in the log and that enough witnesses saw it (c2sp.org/tlog-proof).

    c2sp.org/tlog-proof@v1
    extra <the entry in base64>
    index <its place>
    <its audit path in base64, lowest sibling first, a line each>

    <the checkpoint with its cosignatures>

The format leaves to its user what `extra` holds; ours holds the entry, so a receipt needs nothing beside the policy.
"""

from msgspec import Struct

from hansa.audit.checkpoint import parse_digest, parse_number
from hansa.audit.note import Note, decode_text, from_base64, to_base64
from hansa.audit.note import parse as parse_note
from hansa.audit.policy import Policy, Seen, accepted
from hansa.audit.tiles import MOST_ENTRY_BYTES
from hansa.audit.tree import check_inclusion
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63


class Receipt(Struct, frozen=True):
    entry: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Note

    def __bytes__(self) -> bytes:
        """The `.tlog-proof` file."""
        lines = [
            FIRST_LINE,
            f"extra {to_base64(self.entry)}",
            f"index {self.index}",
            *map(to_base64, self.path),
            "",
            "",
        ]
        return "\n".join(lines).encode() + bytes(self.checkpoint)


def parse(data: bytes) -> Receipt:
    """What a file says; nothing in it has been checked against anything."""
    head, split, note = decode_text(data).partition("\n\n")
    first, *rest = head.split("\n", MOST_HASHES + 3)
    if not split or first != FIRST_LINE or not 2 <= len(rest) <= MOST_HASHES + 2:
        raise ProtocolViolation("a receipt does not begin as a tlog-proof of version 1 with an entry and its index")
    extra, index, *path = rest
    if not extra.startswith("extra ") or not index.startswith("index "):
        raise ProtocolViolation("a receipt has no entry, or no index")
    return Receipt(
        from_base64(extra.removeprefix("extra ")),
        parse_number(index.removeprefix("index ")),
        tuple(map(parse_digest, path)),
        parse_note(note.encode()),
    )


def check(receipt: Receipt, policy: Policy) -> Seen:
    """The checkpoint that covers the entry, and who cosigned it when; ProtocolViolation where the policy is not
    satisfied, or the entry is not in that tree at that place."""
    if not 0 < len(receipt.entry) <= MOST_ENTRY_BYTES:
        raise ProtocolViolation("an entry in a receipt is empty or too long")
    found = accepted(policy, receipt.checkpoint)
    check_inclusion(leaf(receipt.entry), receipt.index, found.checkpoint.head, receipt.path)
    return found
