"""Evidence that a hub told two stories: two checkpoints that it signed, which no log can both have had.

    {"format": "hansa fork 1",
     "charters": [base64, …],      the signed chain, version 1 first
     "notes": [text, text],        the smaller checkpoint first
     "prefix": base64,             where the sizes differ: the root of the larger tree's first entries, as many as the
     "proof": [base64, …]}         smaller one has, and its consistency proof (RFC 6962, section 2.1.2)

Two roots of one size need no proof. Of two sizes, the proof shows what the larger log begins with: not the smaller one.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hansa.errors import ProtocolViolation
from hansa.verify import charters, checkpoints
from hansa.verify.charters import Charter
from hansa.verify.checkpoints import Cosigned
from hansa.verify.notes import unbase64
from hansa.verify.tree import Tree, root_of_prefix

MOST_BYTES = 2**26


class Fork(Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["hansa fork 1"]
    charters: tuple[str, ...]
    notes: tuple[str, str]
    prefix: str
    proof: Annotated[tuple[str, ...], Meta(max_length=128)]


class Proven(Struct, frozen=True):
    """A fork that holds. `cosigned`: who cosigned each story, and when. `own_charter`: the reader's is in the chain."""

    origin: str
    sizes: tuple[int, int]
    roots: tuple[str, str]
    cosigned: tuple[Mapping[str, int], Mapping[str, int]]
    charter: str
    own_charter: bool


def make(small: bytes, large: bytes, tree: Tree | None, chain: Sequence[bytes]) -> bytes:
    """The file. `tree`: of the larger checkpoint, where the sizes differ."""
    size = checkpoints.read(small)[1].size
    prefix, proof = b"", list[bytes]()
    if tree is not None and tree.size != size:
        prefix, proof = tree.root(size), tree.consistency(size)
    fork = Fork(
        "hansa fork 1",
        tuple(base64.b64encode(one).decode() for one in chain),
        (small.decode(), large.decode()),
        base64.b64encode(prefix).decode(),
        tuple(base64.b64encode(one).decode() for one in proof),
    )
    return msgspec.json.format(msgspec.json.encode(fork), indent=1) + b"\n"


def check_notes(notes: tuple[bytes, bytes], signed: Sequence[bytes]) -> tuple[list[Charter], Cosigned, Cosigned]:
    """Both are checkpoints that a log key of this chain signed."""
    chain = charters.chain(signed)
    if not chain:
        raise ProtocolViolation("without the charter nobody knows whose checkpoints these are")
    return chain, _opened(notes[0], chain), _opened(notes[1], chain)


def check_own(chain: Sequence[Charter], own: bytes | None) -> None:
    """The reader's own charter, if given, is one of the chain."""
    if own is not None and charters.load(own).digest not in [charter.digest for charter in chain]:
        raise ProtocolViolation("your own charter is not in the chain of these copies")


def _opened(note: bytes, chain: Sequence[Charter]) -> Cosigned:
    """Under the newest charter whose log key signed it."""
    failure = ProtocolViolation("no charter of the chain gives the log a key")
    for charter in reversed(chain):
        try:
            if charter.log:
                return checkpoints.open_note(note, charter)
        except ProtocolViolation as violation:
            failure = violation
    raise failure


def prove(data: bytes, own: bytes | None = None) -> Proven:
    """What the file proves; ProtocolViolation where it proves nothing."""
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the file is larger than 64 MiB")
    try:
        fork = msgspec.json.decode(data, type=Fork)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolViolation(f"the file is no evidence of a fork: {error}") from error
    signed = [unbase64(one, "a charter") for one in fork.charters]
    notes = fork.notes[0].encode("utf-8", "replace"), fork.notes[1].encode("utf-8", "replace")
    chain, small, large = check_notes(notes, signed)
    one, other = small.checkpoint, large.checkpoint
    if one.origin != other.origin:
        raise ProtocolViolation("the two checkpoints are of two logs")
    begins = other.root
    if one.size != other.size:
        begins = unbase64(fork.prefix, "the root of the beginning")
        proof = [unbase64(part, "the proof") for part in fork.proof]
        root_of_prefix(one.size, begins, other.size, other.root, proof)
    if begins == one.root:
        raise ProtocolViolation("this is no fork: the larger log continues the smaller one")
    check_own(chain, own)
    return Proven(
        one.origin,
        (one.size, other.size),
        (one.root.hex(), other.root.hex()),
        (small.seconds, large.seconds),
        chain[-1].digest.hex(),
        own is not None,
    )
