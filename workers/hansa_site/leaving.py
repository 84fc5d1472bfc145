"""What left this site, for its people to see: every letter and every chunk, by job.

write    a letter into the outbox, and its row, in one transaction
chunks   those that the hub wants; noted before any of them lies in the mailbox
speak    adds up the letters that nobody keeps: acks, cosignatures, talk of chunks

A row says of what sort a letter was, how large, and its digest, which is the one that the hub's ack names. What is sent
again is the same bytes. A few of the letters that nobody keeps are counted and never leave: a newer one takes their
place.
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.mail.boxes import Desk
from hansa.mail.letters import Payload, Reply
from hansa.messages import HUB
from hansa_site.journal import Sent, Spoken

CHUNK = "chunk"
BOX_BYTES = 16  # more than the chunk in it: the tag of AES-GCM


class _Tagged(Struct, array_like=True):
    """How every protocol's message begins."""

    tag: str


def write(db: Session, desk: Desk, run: str, kind: str, payload: Payload, now: float) -> int:
    """To the hub, which is the only one that a site writes to; gives the letter's size in bytes."""
    letter = desk.write(db, HUB, run, kind, payload, now)
    holds = msgspec.msgpack.decode(payload.message, type=_Tagged).tag if isinstance(payload, Reply) else ""
    db.add(
        Sent(
            at=now,
            run=run,
            receiver=HUB,
            kind=kind,
            holds=holds,
            size=len(letter),
            digest=sha256(letter).digest(),
        )
    )
    return len(letter)


def chunks(db: Session, run: str, sizes: Mapping[bytes, int], now: float) -> None:
    """Chunks by their digests. Each is noted once, however often it is wanted."""
    noted = select(Sent.digest).where(Sent.run == run, Sent.kind == CHUNK, Sent.digest.in_(list(sizes)))
    for digest in sizes.keys() - set(db.scalars(noted)):
        size = sizes[digest] + BOX_BYTES
        db.add(Sent(at=now, run=run, receiver=HUB, kind=CHUNK, holds="", size=size, digest=digest))


def speak(db: Session, counted: Mapping[tuple[str, str], tuple[int, int]]) -> None:
    for (run, kind), (count, size) in counted.items():
        row = db.get(Spoken, (run, kind), with_for_update=True) or Spoken(run=run, kind=kind, count=0, size=0)
        row.count, row.size = row.count + count, row.size + size
        db.add(row)
