"""What a letter may say. The header's kind names the type of its payload; anything else is refused at the door.

| kind        | way         | payload     | means                                                    |
|-------------|-------------|-------------|----------------------------------------------------------|
| hello       | site → hub  | Hello       | this site is up, with these tables                       |
| sign-plan   | hub → site  | SignPlan    | a person of yours asks this: do you put your name to it? |
| plan-signed | site → hub  | Signed      | yes                                                      |
| ask-consent | hub → site  | AskConsent  | a member asks this: do you take part?                    |
| consent     | site → hub  | Signed      | yes                                                      |
| refusal     | site → hub  | Refusal     | no, or no further, in one sentence                       |
| waits       | site → hub  | Waits       | a person here decides, until then                        |
| open        | hub → site  | Open        | setup begins (again): drop what an earlier attempt left  |
| round       | hub → site  | Round       | a protocol's request                                     |
| reply       | site → hub  | Reply       | the answer to it                                         |
| ask-release | hub → site  | Round       | this is the answer: may its recipients have it?          |
| wanted      | both        | Wanted      | put these chunks where I can take them                   |
| here        | both        | Here        | they are there now, in boxes locked under this key       |
| end         | hub → site  | End         | erase seeds and states                                   |
| ack         | both        | Ack         | the letter with this run and sequence is in my inbox     |
| acks        | both        | Acks        | these letters are in my inbox                            |
| welcome     | hub → site  | Welcome     | I am up, and of this version                             |
| entries     | site → hub  | Entries     | what I did, for the log                                  |
| budgets     | site → hub  | Budgets     | so much of my tables' privacy budgets is left            |
| released    | hub → site  | Released    | the job that you were in has this answer                 |
| checkpoint  | hub → site  | Shown       | so large is the log now: cosign it, and have receipts    |
| cosigned    | site → hub  | Cosigned    | I do, or why I don't                                     |

From `acks` on they came with version 2; who has not been heard to speak it gets single acks, and no welcome. Talk of
chunks changed with it: no kind of Hansa 0.1 needed any. Checkpoints and what is said to them are neither kept nor
acked: the hub asks again.
"""

import re
from typing import Annotated

from msgspec import Meta, Struct

from hansa.jobs.base import Schema
from hansa.messages import Digest, RunId, Signature
from hansa.privacy.noise import Unit

# No control characters: a sentence is shown to people, and PostgreSQL keeps no zero byte in a text.
Sentence = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,500}\Z")]
SoftwareVersion = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,40}\Z")]
STANDING = "0" * 32  # the run of letters that belong to no job
MOST_ACKS = 256
MOST_ENTRIES = 64  # in one letter


class Payload(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Hello(Payload, frozen=True):
    version: SoftwareVersion
    tables: tuple[Schema, ...]


class SignPlan(Payload, frozen=True):
    plan: bytes


class AskConsent(Payload, frozen=True):
    plan: bytes
    proposal: Signature  # the proposer's, over the plan's digest


class Signed(Payload, frozen=True):
    plan: Digest
    signature: Signature


class Refusal(Payload, frozen=True):
    reason: Sentence


class Waits(Payload, frozen=True):
    until: Annotated[int, Meta(ge=0, le=2**40)]  # seconds since 1970; then it is a no


class Open(Payload, frozen=True):
    number: int
    message: bytes  # a Manifest


class Round(Payload, frozen=True):
    """`beside`: the total that the message's receipt names, if it is small; else its chunks are fetched."""

    number: int
    message: bytes
    beside: bytes = b""


class Reply(Payload, frozen=True):
    """`beside`: the masked vector that the message names, if it is small; else its chunks are fetched."""

    number: int
    message: bytes
    beside: bytes = b""


class Wanted(Payload, frozen=True):
    """Chunks of the letter's run. Neither kept nor acked, as `here`: whoever misses chunks asks again."""

    digests: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=8)]


class Here(Payload, frozen=True):
    """Each chunk lies in the mailbox in a box whose key and name are derived from `key` and the chunk's digest."""

    key: Digest
    digests: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=8)]


class End(Payload, frozen=True):
    status: Sentence


class Ack(Payload, frozen=True):
    letter: Digest


class Acked(Payload, frozen=True):
    run: RunId
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    letter: Digest


class Acks(Payload, frozen=True):
    letters: Annotated[tuple[Acked, ...], Meta(min_length=1, max_length=MOST_ACKS)]


class Welcome(Payload, frozen=True):
    """`apart`: why this hub and this site can't work together, or empty."""

    version: SoftwareVersion
    apart: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,500}\Z")] = ""


class Submitted(Payload, frozen=True):
    """An entry's leaf data, and its payload if it commits to one (`audit.log.Payload`, encoded)."""

    data: Annotated[bytes, Meta(max_length=65_535)]
    payload: Annotated[bytes, Meta(max_length=2**20 + 64)] = b""


class Entries(Payload, frozen=True):
    """Of one member, in their order."""

    entries: Annotated[tuple[Submitted, ...], Meta(min_length=1, max_length=MOST_ENTRIES)]


class Standing(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of a table's privacy budget, in nano-ρ. `epsilon` and `delta` as its policy writes them, `unit` whose rows are
    counted."""

    table: Annotated[str, Meta(min_length=1, max_length=64)]
    total: Annotated[int, Meta(ge=0, le=2**53)]
    spent: Annotated[int, Meta(ge=0, le=2**53)]
    reserved: Annotated[int, Meta(ge=0, le=2**53)]
    epsilon: Annotated[str, Meta(max_length=40)]
    delta: Annotated[str, Meta(max_length=40)]
    unit: Unit
    id_column: Annotated[str, Meta(max_length=200)]

    @property
    def left(self) -> int:
        return max(self.total - self.spent - self.reserved, 0)


class Budgets(Payload, frozen=True):
    tables: Annotated[tuple[Standing, ...], Meta(max_length=1000)]


class Released(Payload, frozen=True):
    answer: Digest  # SHA-256 of its JSON


class Place(Payload, frozen=True):
    """Where an entry of the site's own is in the tree of the checkpoint beside it."""

    index: Annotated[int, Meta(ge=0, le=2**53)]
    path: Annotated[tuple[Digest, ...], Meta(max_length=63)]


class Shown(Payload, frozen=True):
    """`body` is that of `add-checkpoint` (C2SP tlog-witness); `places` those of the site's own entries from `first` on;
    `final` the newest checkpoint that enough members cosigned."""

    body: Annotated[bytes, Meta(max_length=2**14)]
    first: Annotated[int, Meta(ge=0, le=2**53)] = 0
    places: Annotated[tuple[Place, ...], Meta(max_length=MOST_ENTRIES)] = ()
    final: Annotated[bytes, Meta(max_length=2**22)] = b""


class Cosigned(Payload, frozen=True):
    """The answer of a witness about the checkpoint of this `size`; `receipted`: of how many of its own entries, counted
    from the first, it has a receipt. `seen`: the checkpoint that it cosigned last, if it does not cosign this one."""

    size: Annotated[int, Meta(ge=0, le=2**53)]
    status: Annotated[int, Meta(ge=200, le=599)]
    body: Annotated[bytes, Meta(max_length=2**14)]
    receipted: Annotated[int, Meta(ge=0, le=2**53)] = 0
    seen: Annotated[bytes, Meta(max_length=2**14)] = b""


PAYLOADS: dict[str, type[Payload]] = {
    "hello": Hello,
    "sign-plan": SignPlan,
    "plan-signed": Signed,
    "ask-consent": AskConsent,
    "consent": Signed,
    "refusal": Refusal,
    "waits": Waits,
    "open": Open,
    "round": Round,
    "reply": Reply,
    "ask-release": Round,
    "end": End,
    "wanted": Wanted,
    "here": Here,
    "ack": Ack,
    "acks": Acks,
    "welcome": Welcome,
    "entries": Entries,
    "released": Released,
    "budgets": Budgets,
    "checkpoint": Shown,
    "cosigned": Cosigned,
}
# The version of the letters that a kind came with, or in which it was last changed.
_SECOND = frozenset(
    {
        *("waits", "budgets", "acks", "welcome", "wanted", "here"),
        *("entries", "ask-release", "released", "checkpoint", "cosigned"),
    }
)
SINCE = dict.fromkeys(PAYLOADS, 1) | dict.fromkeys(_SECOND, 2)
_BOTH = {"wanted", "here", "ack", "acks"}
TO_SITE = frozenset(
    _BOTH | {"sign-plan", "ask-consent", "open", "round", "ask-release", "end", "welcome", "released", "checkpoint"}
)
TO_HUB = frozenset(
    _BOTH | {"hello", "plan-signed", "consent", "refusal", "waits", "budgets", "reply", "entries", "cosigned"}
)
BESIDE_BYTES = 2**18  # a vector up to this size travels in the letter


def sentence(text: str) -> str:
    """One line of at most 500 characters, for people."""
    flat = " ".join(text.split())
    return (flat[:497] + "…" if len(flat) > 498 else flat) or "no reason given"


def speaks(version: str) -> int:
    """The newest version of letters that Hansa `version` knows."""
    return 1 if _minor(version) in ((0, 0), (0, 1)) else 2


def apart(ours: str, theirs: str) -> str:
    """Why parties of these versions can't work together, in a sentence; empty if they are one minor version apart."""
    mine, other = _minor(ours), _minor(theirs)
    if mine is not None and other is not None and mine[0] == other[0] and abs(mine[1] - other[1]) <= 1:
        return ""
    return f"Hansa {ours} and {theirs} don't work together: upgrade the older one, one minor version at a time"


def _minor(version: str) -> tuple[int, int] | None:
    found = re.match(r"([0-9]{1,6})\.([0-9]{1,6})\.", version)
    return (int(found[1]), int(found[2])) if found else None
