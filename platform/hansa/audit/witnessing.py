"""What a witness says to a checkpoint: the `add-checkpoint` call of c2sp.org/tlog-witness, without HTTP.

    old <size of the tree that this witness cosigned last>
    <proof of consistency from there in base64, a line each>

    <the checkpoint>

`judge` only judges. Whoever calls it holds a lock on what it knows of this log from reading `last` to storing the
granted head, and signs after that is on disk: a head that was cosigned and forgotten lets the log fork.
"""

from collections.abc import Iterable

from msgspec import Struct

from hansa.audit.checkpoint import Checkpoint, checked, parse_digest, parse_number, parse_text
from hansa.audit.note import Line, Note, VerifierKey, decode_text, to_base64
from hansa.audit.note import parse as parse_note
from hansa.audit.tree import EMPTY_HEAD, Head, check_consistency
from hansa.errors import ProtocolViolation

GRANTED, MALFORMED, NOT_SIGNED, UNKNOWN, CONFLICT, INCONSISTENT = 200, 400, 403, 404, 409, 422
MOST_HASHES = 63


class Asked(Struct, frozen=True):
    """The body of `add-checkpoint`."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old}", *map(to_base64, self.proof), "", ""]
        return "\n".join(lines).encode() + bytes(self.note)


class Granted(Struct, frozen=True):
    """This may be cosigned once its head is stored."""

    checkpoint: Checkpoint


class Answer(Struct, frozen=True):
    """A status of HTTP and the body beside it. That of 409 is the size this witness cosigned last."""

    status: int
    body: bytes


def answer(lines: Iterable[Line]) -> Answer:
    """The cosignatures of what was granted."""
    return Answer(GRANTED, "".join(map(str, lines)).encode())


def parse(body: bytes) -> Asked:
    head, split, note = decode_text(body).partition("\n\n")
    first, *proof = head.split("\n", MOST_HASHES + 1)
    if not split or not first.startswith("old ") or len(proof) > MOST_HASHES:
        raise ProtocolViolation("the body is not an old size, at most 63 hashes, an empty line and a checkpoint")
    old = parse_number(first.removeprefix("old "))
    return Asked(old, tuple(map(parse_digest, proof)), parse_note(note.encode()))


def judge(last: Head | None, body: bytes, log: VerifierKey) -> Granted | Answer:
    """Whether a witness that cosigned `last` of this log, or nothing yet, may cosign what it is asked to.

    The origin is the name of `log`. The order of the answers is that of the specification.
    """
    try:
        asked = parse(body)
        checkpoint = parse_text(asked.note.text)
    except ProtocolViolation as violation:
        return _refusal(MALFORMED, violation)
    if checkpoint.origin != log.name:
        return _refusal(UNKNOWN, "this witness knows no log of that origin")
    try:
        checked(asked.note, log)
    except ProtocolViolation as violation:
        return _refusal(NOT_SIGNED, violation)
    return _against(last or EMPTY_HEAD, asked, checkpoint) or Granted(checkpoint)


def _against(known: Head, asked: Asked, checkpoint: Checkpoint) -> Answer | None:
    """What is wrong with a signed checkpoint, given what was cosigned before."""
    if asked.old > checkpoint.head.size:
        return _refusal(MALFORMED, "the old size is larger than the checkpoint's")
    if asked.old != known.size:
        return Answer(CONFLICT, f"{known.size}\n".encode())
    try:
        _check_follows(known, checkpoint.head, asked.proof)
    except ProtocolViolation as violation:
        return _refusal(INCONSISTENT, violation)
    return None


def _check_follows(known: Head, head: Head, proof: tuple[bytes, ...]) -> None:
    if known.size:
        check_consistency(known, head, proof)
    elif proof:
        raise ProtocolViolation("from the empty tree there is nothing to prove")
    elif not head.size and head != EMPTY_HEAD:
        raise ProtocolViolation("the root of the empty tree is the hash of nothing")


def _refusal(status: int, why: object) -> Answer:
    return Answer(status, f"{why}\n".encode())
