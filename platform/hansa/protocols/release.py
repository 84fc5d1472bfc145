"""Release: who contributed looks at the answer, and agrees, before its recipients have it.

    hub → site   Releasing   the receipt of the last total, the answer; the total z beside
    site → hub   Agreed      signature over the plan and the answer

A site computes the answer from the total itself and holds it to the plan's rules of disclosure, to its own policy, and
to what was released over the same table before. One that says no ends the job. Nothing of this hides a total from the
hub, which has opened it by then: in `masked` it sees what a site sees here.

    signature = Ed25519(consent key, "hansa/v1/plan/release" ‖ 0x00 ‖ H("release", plan, SHA-256(answer)))

`keys` are consent keys, as of proposals and consents: a release binds the member, not a session.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar

from msgspec import Meta

from hansa.crypto.keys import SigningKey, digest, verify
from hansa.messages import Digest, Signature, SiteId
from hansa.protocols.base import Ask, Done, HubState, Message
from hansa.protocols.survivors import Receipt

_PURPOSE = "plan/release"
MOST_BYTES = 2**20  # of an answer


class Releasing(Message, frozen=True, tag="releasing"):
    receipt: Receipt
    answer: Annotated[bytes, Meta(max_length=MOST_BYTES)]  # JSON


class Agreed(Message, frozen=True, tag="agreed"):
    signature: Signature


def agree(key: SigningKey, plan: bytes, answer: bytes) -> Agreed:
    """`plan` is its digest, `answer` the JSON itself."""
    return Agreed(key.sign(_PURPOSE, released(plan, answer)))


def check_agreed(public: bytes, plan: bytes, answer: bytes, signature: bytes) -> None:
    verify(public, _PURPOSE, released(plan, answer), signature)


def released(plan: bytes, answer: bytes) -> bytes:
    """What is signed, and what a person's decision about a release names."""
    return digest("release", plan, sha256(answer).digest())


def begin(
    plan: bytes, answer: bytes, receipt: Receipt, keys: Mapping[SiteId, bytes], active: Sequence[SiteId], quorum: int
) -> Ask:
    """Asks the sites of the last total that answered to its end, as `active`; `quorum` of them must agree."""
    state = AwaitReleases(plan, answer, receipt.survivors, {site: keys[site] for site in active})
    return Ask(state, dict.fromkeys(active, Releasing(receipt, answer)), quorum)


class AwaitReleases(HubState, frozen=True, tag="await-releases"):
    accepts: ClassVar[type[Message]] = Agreed
    plan: Digest
    answer: bytes
    survivors: tuple[SiteId, ...]
    keys: dict[SiteId, bytes]

    def check(self, site: SiteId, reply: Agreed) -> None:
        check_agreed(self.keys[site], self.plan, self.answer, reply.signature)

    def close(self, replies: Mapping[SiteId, Agreed]) -> Done[dict[SiteId, bytes]]:
        return Done({site: replies[site].signature for site in sorted(replies)})
