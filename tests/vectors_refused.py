"""What must be refused in the runs of `run_vectors`: at each party's state, messages that are lies, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import replace

from hansa.crypto import merkle, shamir
from hansa.crypto.keys import HybridKey, digest, lock_box
from hansa.messages import encode
from hansa.protocols import masks
from hansa.protocols.base import Own
from hansa.protocols.key_setup import Delivered, Encapsulated, Manifest, Offer, Offers, Reveals
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Locked, Shares, Unmask
from hansa.protocols.survivors import SignedHeader, headers_digest, lock_digest

if TYPE_CHECKING:
    from tests.run_vectors import Recorded

# What must be refused: why, a part of what Hansa says to it, and the message or its bytes. `m` is what was accepted.
Lies = Iterator[tuple[str, str, Any]]
ZERO, ELSEWHERE = bytes(32), (merkle.leaf(bytes(40)),)


def put(row: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*row[:place], value, *row[place + 1 :])


def swapped(row: Sequence[Any]) -> tuple[Any, ...]:
    return (row[1], row[0], *row[2:])


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def at_manifest(_run: Recorded, m: Manifest) -> Lies:
    data = encode(m)
    yield "other floors than the charter's", "threshold and floor", replace(m, floors=replace(m.floors, threshold=2))
    yield "another plan", "another plan", replace(m, plan=ZERO)
    yield "another ring", "ring", replace(m, ring=32)
    yield "the roster is not sorted", "sorted part", replace(m, roster=swapped(m.roster))
    yield "a site on the roster that the charter lacks", "sorted part", replace(m, roster=(*m.roster, "z"))
    yield "the roster leaves out the site", "leaves out", replace(m, roster=m.roster[1:])
    yield "a length in three bytes where one does", "one encoding", b"\xdc\x00" + bytes([data[0] & 15]) + data[1:]
    yield "a byte too many", "not a Manifest", data + b"\0"
    yield "a byte too few", "not a Manifest", data[:-1]


def offered(run: Recorded, site: str, public: bytes) -> Any:
    """An offer of another key, well signed."""
    true = replace(run.points["hub", "offer", -1].accepted[site], public=public)
    manifest = run.points[site, "manifest", -1].accepted.digest
    return replace(true, signature=run.keys[site].sign("setup/offer", true.signed(manifest, site)))


def at_offers(run: Recorded, m: Offers) -> Lies:
    a, _, c, _ = m.offers
    swap, another = replace(a, public=c.public[:1184] + a.public[1184:]), HybridKey(bytes(96)).public
    yield "half of a's key is swapped, its signature kept", "signature", Offers(put(m.offers, 0, swap))
    yield "c offers a's key", "same key", Offers(put(m.offers, 2, offered(run, "c", a.public)))
    yield "two offers in each other's place", "signature", Offers(swapped(m.offers))
    yield "an offer is missing", "one per site", Offers(m.offers[:-1])
    yield "b's own, another, well signed", "another offer of ours", Offers(put(m.offers, 1, offered(run, "b", another)))


def at_offer(run: Recorded, m: Offer) -> Lies:
    yield "an X25519 key of low order, well signed", "low order", offered(run, "a", m.public[:1184] + ZERO)


def at_reveals(run: Recorded, m: Reveals) -> Lies:
    manifest, offers = (encode(run.points["a", kind, -1].accepted) for kind in ("manifest", "offers"))
    for why, error, rho, transcript in (
        ("a reveals another ρ, well signed", "other randomness", ZERO, digest("setup/transcript", manifest, offers)),
        ("a signed another transcript", "signature", m.reveals[0].rho, ZERO),
    ):
        changed = replace(m.reveals[0], rho=rho)
        signature = run.keys["a"].sign("setup/reveal", changed.signed(transcript, "a"))
        yield why, error, Reveals(put(m.reveals, 0, replace(changed, signature=signature)))


def at_encapsulated(_run: Recorded, m: Encapsulated) -> Lies:
    yield "ciphertexts in another order than signed", "signature", replace(m, ciphertexts=m.ciphertexts[::-1])
    yield "a ciphertext is missing", "later peer", replace(m, ciphertexts=m.ciphertexts[1:])


def at_delivered(_run: Recorded, m: Delivered) -> Lies:
    first = m.sent[0]
    altered, longer = replace(first, ciphertext=flipped(first.ciphertext)), replace(first, path=(*first.path, ZERO))
    yield "a ciphertext is altered", "signature", Delivered(put(m.sent, 0, altered))
    yield "a path is longer than its tree is high", "longer", Delivered(put(m.sent, 0, longer))
    yield "two ciphertexts in each other's place", "signature", Delivered(swapped(m.sent))
    yield "a ciphertext is missing", "one from each", Delivered(m.sent[1:])


def receipt(m: Contribute, **changes: Any) -> Contribute:
    return replace(m, receipt=replace(m.receipt, **changes))  # type: ignore[type-var]


def at_contribute(run: Recorded, m: Contribute) -> Lies:
    yield "the step before", "step goes back", run.points["a", "contribute", 0].accepted
    yield "a step is left out", "leaves one out", replace(m, step=2)
    yield "a second attempt", "not a Contribute", replace(m, attempt=1)
    yield "no receipt", "receipt", replace(m, receipt=None)
    yield "the receipt of another sum", "receipt", receipt(m, sid=ZERO)
    yield "the receipt of a set that a did not lock", "locked", receipt(m, survivors=m.cohort[:3])
    yield "the receipt of another total than the one beside", "receipt names", receipt(m, chunks=ELSEWHERE)
    yield "the cohort is below the floor", "below the floor", replace(m, cohort=m.cohort[:2])
    yield "the cohort is not sorted", "sorted part", replace(m, cohort=swapped(m.cohort))


def at_receipt(run: Recorded, m: Contribute) -> Lies:
    """Off the committee."""
    site, true = "s025", m.receipt
    assert true
    few, locked = dict(list(true.signatures.items())[:8]), true.locked()
    own = {**few, site: run.keys[site].sign("sum/lock", locked)}
    renamed = dict(zip(true.signatures, swapped(list(true.signatures.values())), strict=True))
    without = tuple(one for one in true.survivors if one != site)
    yield "fewer signatures than the threshold", "fewer signatures", receipt(m, signatures=few)
    yield "filled up with who is not on the committee", "is no member", receipt(m, signatures=own)
    yield "two signatures under each other's name", "signature", receipt(m, signatures=renamed)
    yield "a receipt of another set", "signature", receipt(m, survivors=(*true.survivors, "s050"))
    yield "a receipt of a total that the site is not in", "not in", receipt(m, survivors=without)
    yield "a cohort with a site that dropped out", "left", replace(m, cohort=(*m.cohort, "s050"))


def fooled(run: Recorded, site: str, **changes: Any) -> Contributed:
    """The contribution of a site that was asked something else."""
    state, request, content, _ = run.points[site, "contribute", 1]
    vector = np.frombuffer(content, dtype="<u8").astype(np.uint64)
    reply: Contributed = state.answer(replace(request, **changes), Own(run.keys[site], vector))[1]
    return reply


def at_contributed(run: Recorded, m: Contributed) -> Lies:
    other = receipt(run.points["c", "contribute", 1].accepted, chunks=ELSEWHERE).receipt
    yield "c was shown the receipt of another total", "another sum", fooled(run, "c", receipt=other)
    yield "c was shown another public state", "another sum", fooled(run, "c", public=b"else")
    yield "a chunk of y is not the signed one", "not the one it signed", replace(m, chunks=ELSEWHERE)
    yield "sealed letters in another order", "not those it signed", replace(m, sealed=swapped(m.sealed))
    yield "a header of b's", "another site", replace(m, header=run.points["hub", "contributed", 1].accepted["b"].header)


def at_lock(run: Recorded, m: Lock) -> Lies:
    a, b, c, d = m.headers

    def signed(header: SignedHeader, **changes: Any) -> Lock:
        return replace(m, headers=put(m.headers, m.headers.index(header), run.signed(header, **changes)))

    key = masks.seal_key(run.points["b", "contribute", 0].state.paired.pairs["a"], b.sid, "b", "a")
    short = lock_box(key, bytes(96), b.sid)
    more = [[*msgspec.structs.astuple(header), 0] for header in m.headers]
    yield "a survivor twice", "each once", replace(m, headers=(a, b, c, d, d))
    yield "survivors not sorted", "sorted part", replace(m, headers=(a, c, b, d))
    yield "fewer survivors than the floor", "below the floor", Lock((a, b), m.sealed[:1])
    yield "the survivors leave out a", "leave out", Lock((b, c, d), m.sealed)
    yield "a's own header, another, well signed", "another header of it", signed(a, root=ZERO)
    yield "b's signature does not hold", "signature", replace(m, headers=(a, replace(b, root=ZERO), c, d))
    yield "b's header is of another sid, well signed", "another sum", signed(b, sid=ZERO)
    yield "b's tag is not that of the other end, well signed", "two tags", signed(b, tags=flipped(b.tags))
    yield "b's header lacks a tag, well signed", "one tag per", signed(b, tags=b.tags[16:])
    yield "sealed letters in each other's place", "does not open", replace(m, sealed=swapped(m.sealed))
    yield "a sealed letter is missing", "one per other", replace(m, sealed=m.sealed[1:])
    yield "b's letter holds a share too few", "another number of secrets", replace(m, sealed=put(m.sealed, 0, short))
    yield "headers with a field too many", "not a Lock", encode(("lock", more, m.sealed))


def smaller(run: Recorded) -> Unmask:
    """a, b and c sign the set without d."""
    headers = run.points["a", "lock", 0].accepted.headers[:3]
    locked = lock_digest(headers[0].sid, tuple("abc"), headers_digest(headers))
    return Unmask({site: run.keys[site].sign("sum/lock", locked) for site in "abc"})


def at_locked(run: Recorded, _m: Locked) -> Lies:
    yield "b locks a set without d", "signature", Locked(smaller(run).signatures["b"])


def at_unmask(run: Recorded, m: Unmask) -> Lies:
    true, lock = m.signatures, run.points["a", "lock", 0].accepted
    reverse = msgspec.msgpack.encode(("unmask", dict(reversed(true.items()))))
    yield "signatures over a set in which d, a survivor, is dropped", "signature", smaller(run)
    yield "a second set to lock, in which d is dropped", "not a Unmask", Lock(lock.headers[:3], lock.sealed[:2])
    yield "fewer signatures than the threshold", "fewer signatures", Unmask({site: true[site] for site in "ab"})
    yield "a signature under another's name", "signature", Unmask({**true, "b": true["c"]})
    yield "a map that is not sorted", "one encoding", reverse


def at_unmask_of_four(run: Recorded, m: Unmask) -> Lies:
    signature = run.keys["e"].sign("sum/lock", run.points["a", "unmask", 1].state.before.locked)
    yield "a member signs that dropped out", "did not survive", Unmask({**m.signatures, "e": signature})


def at_shares(run: Recorded, m: Shares) -> Lies:
    """Of four members, where three are enough."""
    above = (int.from_bytes(m.own[:32], "little") + shamir.PRIME).to_bytes(32, "little")
    yield "a false share", "different secrets", replace(m, own=flipped(m.own))
    yield "the shares of another index", "different secrets", run.points["hub", "shares", 0].accepted["b"]
    yield "a share with the prime added: not canonical", "canonical", replace(m, own=above + m.own[32:])
    yield "a share too few", "another number", replace(m, own=m.own[32:])
    yield "a share of an edge of survivors as well", "another number", replace(m, edges=ZERO)


def at_shares_of_three(_run: Recorded, m: Shares) -> Lies:
    yield "a false share of b_i", "committed to", replace(m, own=flipped(m.own))
    yield "a false share of a dropped edge", "tag names", replace(m, edges=flipped(m.edges))


LIES: dict[tuple[str, str, str, int], tuple[Callable[[Recorded, Any], Lies], str | None]] = {
    ("nobody_drops", "a", "manifest", -1): (at_manifest, None),
    ("nobody_drops", "hub", "offer", -1): (at_offer, "a"),
    ("nobody_drops", "b", "offers", -1): (at_offers, None),
    ("nobody_drops", "c", "reveals", -1): (at_reveals, None),
    ("nobody_drops", "hub", "encapsulated", -1): (at_encapsulated, "a"),
    ("nobody_drops", "d", "delivered", -1): (at_delivered, None),
    ("nobody_drops", "a", "contribute", 1): (at_contribute, None),
    ("off_the_committee", "s025", "contribute", 1): (at_receipt, None),
    ("nobody_drops", "hub", "contributed", 1): (at_contributed, "c"),
    ("nobody_drops", "a", "lock", 0): (at_lock, None),
    ("nobody_drops", "hub", "locked", 0): (at_locked, "b"),
    ("nobody_drops", "a", "unmask", 0): (at_unmask, None),
    ("two_drop", "a", "unmask", 1): (at_unmask_of_four, None),
    ("nobody_drops", "hub", "shares", 0): (at_shares, "c"),
    ("two_drop", "hub", "shares", 1): (at_shares_of_three, "c"),
}


def refused(runs: Mapping[str, Recorded]) -> list[dict[str, Any]]:
    """Each party of LIES with what it accepts, and what it must refuse."""
    points = []
    for (name, party, kind, step), (lies, site) in LIES.items():
        run, point = runs[name], runs[name].points[party, kind, step]
        made = [
            {"why": why, "error": error, "message": lie if isinstance(lie, bytes) else encode(lie)}
            for why, error, lie in lies(run, point.accepted[site] if site else point.accepted)
        ]
        where = {"run": name, "step": step, "party": party, "state": encode(point.state)}
        if site:
            own = {"from": site, "accepted": {one: encode(reply) for one, reply in point.accepted.items()}}
        else:
            lent = {"signing_seed": run.signing[party], "vector": point.vector, "beside": point.beside}
            own = {**lent, "accepted": encode(point.accepted)}
        points.append({**where, **own, "refused": made})
    return points
