"""What a hub may say in a sum."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle, prg
from hansa.messages import decode
from hansa.protocols import masks
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Locked, Unmask
from hansa.protocols.survivors import edges, headers_digest, lock_digest, members
from tests.schedules.telling import (
    Absent,
    Armed,
    HubLie,
    Lies,
    Told,
    any_key,
    others,
    past,
    session_of,
    to_one,
    to_one_off_committee,
)

LENGTH = 4

# ---- the hub, when it asks for contributions ----


def other_receipt(_hub: Any, request: Contribute, _site: str, pick: int) -> Contribute | None:
    if request.receipt is None:
        return None
    receipt = request.receipt
    changed = (
        replace(receipt, sid=bytes(32)),
        replace(receipt, headers=bytes(32)),
        replace(receipt, chunks=(*receipt.chunks, bytes(32))),
        None,
    )
    return replace(request, receipt=changed[pick % 4])


def other_survivors(hub: Any, request: Contribute, site: str, pick: int) -> Contribute | None:
    """The receipt shows one more or one less than was locked, and names no other total; or leaves the site out."""
    if request.receipt is None:
        return None
    names, asked = request.receipt.survivors, past(hub, Contribute, site)[-1].cohort
    more = [name for name in asked if name not in names]
    shown = [
        tuple(others(names, others(names, site)[pick // 3 % (len(names) - 1)])),
        tuple(others(names, site)),
        tuple(sorted((*names, more[0]))) if more else tuple(reversed(names)),
    ]
    return replace(request, receipt=replace(request.receipt, survivors=shown[pick % 3]))


def receipt_signatures(hub: Any, request: Contribute, _site: str, pick: int) -> Contribute | None:
    """Too few of them; one under another's name; one of no member; a colluder's over other survivors."""
    if request.receipt is None:
        return None
    receipt, session = request.receipt, session_of(hub)
    names, own = sorted(receipt.signatures), dict(receipt.signatures)
    rest = {name: own[name] for name in names[: session.floors.threshold - 1]}
    changed = (
        rest,
        {**own, names[0]: own[names[1]]},
        {**rest, "stranger": own[names[-1]]},
        {name: bytes(64) for name in names},
    )
    return replace(request, receipt=replace(receipt, signatures=changed[pick % 4]))


def receipt_signed_off_committee(hub: Any, request: Contribute, _site: str, _pick: int) -> Contribute | None:
    if request.receipt is None:
        return None
    signed = off_committee(hub, request.receipt.signatures, request.receipt.survivors, request.receipt.locked())
    return replace(request, receipt=replace(request.receipt, signatures=signed)) if signed else None


def off_committee(hub: Any, signatures: Any, survivors: Any, locked: bytes) -> dict[str, bytes] | None:
    """One member fewer than is needed, and a colluder that is none, whose signature holds."""
    session = session_of(hub)
    for name, key in hub.colluders.items():
        if name in survivors and name not in session.committee:
            few = sorted(signatures.items())[: session.floors.threshold - 1]
            return dict(sorted([*few, (name, key.sign("sum/lock", locked))]))
    return None


def other_total(_hub: Any, request: Contribute, _site: str, pick: int) -> Told | None:
    """Another total, with its digests in the receipt."""
    if request.receipt is None:
        return None
    chunks = tuple(bytes([pick % 256]) * masks.chunk_bytes(LENGTH, 64, at) for at in range(masks.chunks_of(LENGTH, 64)))
    receipt = replace(request.receipt, chunks=tuple(map(merkle.leaf, chunks)))
    return Told(replace(request, receipt=receipt), beside=chunks)


def other_beside(hub: Any, request: Contribute, _site: str, pick: int) -> Told | None:
    """Something else lies beside the true receipt."""
    if request.receipt is None:
        return None
    total: bytes = hub.opening.total
    others = (bytes(len(total)), total[:-8], total + bytes(8), total[8:] + total[:8], b"")
    return Told(request, beside=tuple(masks.cut(others[pick % 5], prg.CHUNK_BYTES)))


def lower_step(_hub: Any, request: Contribute, _site: str, _pick: int) -> Contribute | None:
    return replace(request, step=request.step - 1) if request.step else None


def below_floor(_hub: Any, request: Contribute, site: str, pick: int) -> Contribute:
    return replace(request, cohort=tuple(sorted([site, *others(request.cohort, site)[: pick % 2]])))


def other_cohort(_hub: Any, request: Contribute, site: str, pick: int) -> Contribute:
    peers = others(request.cohort, site)
    return replace(request, cohort=tuple(others(request.cohort, peers[pick % len(peers)])))


def brings_back(hub: Any, request: Contribute, site: str, _pick: int) -> Contribute | None:
    cohorts = [asked.cohort for asked in past(hub, Contribute, site)]
    return replace(request, cohort=cohorts[0]) if cohorts and cohorts[0] != request.cohort else None


def lonely(hub: Any, request: Contribute, site: str, _pick: int) -> Contribute | None:
    """Enough sites, and too few of them this one's neighbours."""
    cohort = without_neighbours(hub, request.cohort, site)
    return None if cohort is None else replace(request, cohort=tuple(cohort))


def without_neighbours(hub: Any, cohort: Sequence[str], site: str, spared: str = "") -> list[str] | None:
    session = session_of(hub)
    near = edges(session, cohort, site)
    gone = others(near, spared)[: len(near) - session.floors.kept + 1]
    left = [name for name in cohort if name not in gone]
    return left if gone and len(left) >= session.floors.survivors else None


def without_itself(_hub: Any, request: Contribute, site: str, _pick: int) -> Contribute:
    return replace(request, cohort=tuple(others(request.cohort, site)))


def old_request(hub: Any, request: Any, site: str, pick: int) -> Told | None:
    """A request of an earlier round, as it was, under a number of its own."""
    earlier = [asked[site] for _number, asked in hub.past if site in asked]
    return Told(earlier[pick % len(earlier)], "round", 2000) if earlier else None


# ---- the hub, when it locks ----


def sealed_for(hub: Any, cohort: tuple[str, ...], site: str, survivors: list[str]) -> tuple[bytes, ...]:
    """The letters to `site`, out of the contributions that the hub holds."""
    contributions, at_work = contributed(hub), members(session_of(hub), cohort)
    return tuple(contributions[peer].sealed[others(at_work, peer).index(site)] for peer in others(survivors, site))


def contributed(hub: Any) -> dict[str, Contributed]:
    return {site: decode(body, Contributed) for site, body in hub.store.replies.items()}


def lock_of(hub: Any, request: Lock, site: str, survivors: list[str]) -> Lock:
    headers = {header.site: header for header in request.headers}
    cohort = past(hub, Contribute, site)[-1].cohort
    return Lock(tuple(headers[name] for name in survivors), sealed_for(hub, cohort, site, survivors))


def two_sets(hub: Any, requests: dict[str, Any], pick: int) -> Lies:
    """Some survivors are shown a set without one of the others; whoever signs it is asked to unmask it."""
    names = [header.site for header in next(iter(requests.values())).headers]
    left_out = names[pick % len(names)]
    rest, asked = others(names, left_out), others(sorted(requests), left_out)
    shown = [site for place, site in enumerate(asked) if pick // 7 % 2 ** len(asked) >> place & 1] or asked[:1]
    told = {site: lock_of(hub, requests[site], site, rest) for site in shown}
    hub.lie = Armed(HubLie(Unmask, unmask_both(told)), pick, 0)
    return {site: [Told(lock)] for site, lock in told.items()}


def unmask_both(told: dict[str, Lock]) -> Callable[[Any, dict[str, Any], int], Lies]:
    def tell(hub: Any, _requests: dict[str, Any], _pick: int) -> Lies:
        headers = next(iter(told.values())).headers
        survivors = [header.site for header in headers]
        locked = lock_digest(headers[0].sid, survivors, headers_digest(headers))
        signers = members(session_of(hub), survivors)
        signatures = {site: key.sign("sum/lock", locked) for site, key in hub.colluders.items() if site in signers}
        for site in told:
            if site in hub.store.replies:
                signatures[site] = decode(hub.store.replies[site], Locked).signature
        return {site: [Told(Unmask(dict(sorted(signatures.items()))))] for site in told}

    return tell


def set_below_floor(hub: Any, request: Lock, site: str, _pick: int) -> Lock:
    names = [header.site for header in request.headers]
    return lock_of(hub, request, site, sorted([site, others(names, site)[0]]))


def lonely_survivor(hub: Any, request: Lock, site: str, pick: int) -> Lock | None:
    """Enough survivors, one of them with too few neighbours among the others."""
    names = [header.site for header in request.headers]
    for victim in names[pick % len(names) :] + names[: pick % len(names)]:
        left = without_neighbours(hub, names, victim, site)
        if left is not None:
            return lock_of(hub, request, site, left)
    return None


def survivor_twice(hub: Any, request: Lock, site: str, pick: int) -> Lock:
    """One stands twice, in the place of another who is then dropped and alive."""
    names = [header.site for header in request.headers]
    peers = others(names, site)
    twice, gone = peers[pick % len(peers)], peers[(pick + 1) % len(peers)]
    return lock_of(hub, request, site, sorted(twice if name == gone else name for name in names))


def unsorted(hub: Any, request: Lock, site: str, _pick: int) -> Lock:
    return lock_of(hub, request, site, [header.site for header in reversed(request.headers)])


def leaves_out(hub: Any, request: Lock, site: str, _pick: int) -> Lock:
    names = [header.site for header in request.headers]
    return lock_of(hub, request, site, others(names, site))


def forged_header(hub: Any, request: Lock, site: str, pick: int) -> Lock:
    """The header of another site with another commitment or root, not signed by it."""
    places = [place for place, header in enumerate(request.headers) if header.site != site]
    place = places[pick % len(places)]
    header = request.headers[place]
    forged = replace(header, **{("root", "commitment")[pick % 2]: bytes(32)})
    key = any_key(hub)
    if key is not None and pick % 3:
        forged = replace(forged, signature=key.sign("sum/header", forged.signed()))
    return Lock((*request.headers[:place], forged, *request.headers[place + 1 :]), request.sealed)


def old_header(hub: Any, request: Lock, site: str, pick: int) -> Lock | None:
    """A header of the same site in an earlier sum, which it did sign."""
    old = {header.site: header for lock in past(hub, Lock, site) for header in lock.headers}
    places = [at for at, header in enumerate(request.headers) if header.site != site and header.site in old]
    if not places:
        return None
    place = places[pick % len(places)]
    headers = (*request.headers[:place], old[request.headers[place].site], *request.headers[place + 1 :])
    return Lock(headers, request.sealed)


def swapped_letters(_hub: Any, request: Lock, _site: str, _pick: int) -> Lock:
    return replace(request, sealed=tuple(reversed(request.sealed)))


# ---- the hub, when it unmasks ----


def fewer_signatures(hub: Any, request: Unmask, site: str, _pick: int) -> Unmask:
    return Unmask(dict(sorted(request.signatures.items())[: session_of(hub).floors.threshold - 1]))


def forged_signatures(_hub: Any, request: Unmask, _site: str, pick: int) -> Unmask:
    names = sorted(request.signatures)
    forged = dict(request.signatures)
    forged[names[pick % len(names)]] = request.signatures[names[(pick + 1) % len(names)]]
    return Unmask(forged)


def signatures_over_another_set(hub: Any, request: Unmask, site: str, pick: int) -> Unmask | None:
    """Rightly signed in an earlier sum."""
    old = past(hub, Unmask, site)
    return Unmask(old[pick % len(old)].signatures) if old else None


def unmask_off_committee(hub: Any, request: Unmask, site: str, _pick: int) -> Unmask | None:
    """A signature of a survivor that is no member, in the place of a member's."""
    headers = past(hub, Lock, site)[-1].headers
    survivors = [header.site for header in headers]
    locked = lock_digest(headers[0].sid, survivors, headers_digest(headers))
    signed = off_committee(hub, request.signatures, survivors, locked)
    return Unmask(signed) if signed else None


def foreign_signatures(hub: Any, request: Unmask, _site: str, _pick: int) -> Unmask:
    """Signatures under names that are none of the survivors'."""
    own = dict(sorted(request.signatures.items()))
    last = sorted(own)[-1]
    return Unmask({**{name: own[name] for name in own if name != last}, "stranger": own[last]})


# ---- the hub, at any time ----


def again(_hub: Any, request: Any, _site: str, _pick: int) -> Any:
    return request


def other_in_same_round(_hub: Any, request: Contribute, _site: str, _pick: int) -> Contribute:
    return replace(request, public=request.public + b", otherwise")


def raw_other(_hub: Any, request: Contribute, _site: str, _pick: int) -> Told:
    return Told(replace(request, public=request.public + b", equivocating"), "raw")


DROPPED_BEFORE: tuple[Absent, ...] = (("AwaitContributions", 1, lambda sites: 1),)

SUM_LIES: dict[str, HubLie] = {
    "other public state": HubLie(
        Contribute, to_one(lambda _h, request, _s, _p: replace(request, public=request.public + b"!"))
    ),
    "other receipt": HubLie(Contribute, to_one(other_receipt), steps=2),
    "receipt with other survivors": HubLie(Contribute, to_one_off_committee(other_survivors), steps=2),
    "receipt with other signatures": HubLie(Contribute, to_one_off_committee(receipt_signatures), steps=2),
    "receipt signed off the committee": HubLie(
        Contribute, to_one_off_committee(receipt_signed_off_committee), steps=2, large=True
    ),
    "other total": HubLie(Contribute, to_one(other_total), steps=2),
    "other total beside the receipt": HubLie(Contribute, to_one(other_beside), steps=2),
    "lower step": HubLie(Contribute, to_one(lower_step), steps=2),
    "higher step": HubLie(Contribute, to_one(lambda _h, request, _s, _p: replace(request, step=request.step + 1))),
    "cohort below the floor": HubLie(Contribute, to_one(below_floor)),
    "cohort without neighbours": HubLie(Contribute, to_one(lonely), large=True),
    "other cohort": HubLie(Contribute, to_one(other_cohort), sites=4),
    "cohort brings back a site": HubLie(Contribute, to_one_off_committee(brings_back), 4, 2, DROPPED_BEFORE),
    "cohort without the site": HubLie(Contribute, to_one(without_itself), sites=4),
    "old request": HubLie(Contribute, to_one(old_request)),
    "other request in the same round": HubLie(Contribute, to_one(other_in_same_round), after=True),
    "the same request again": HubLie(Contribute, to_one(again), after=True),
    "two letters under one number": HubLie(Contribute, to_one(raw_other)),
    "two survivor sets": HubLie(Lock, two_sets, sites=4),
    "set below the floor": HubLie(Lock, to_one(set_below_floor)),
    "survivor without neighbours": HubLie(Lock, to_one(lonely_survivor), large=True),
    "survivor twice": HubLie(Lock, to_one(survivor_twice)),
    "unsorted survivors": HubLie(Lock, to_one(unsorted)),
    "survivors without the site": HubLie(Lock, to_one(leaves_out), sites=4),
    "forged header": HubLie(Lock, to_one(forged_header)),
    "old header": HubLie(Lock, to_one(old_header), steps=2),
    "swapped letters": HubLie(Lock, to_one(swapped_letters)),
    "fewer signatures": HubLie(Unmask, to_one(fewer_signatures)),
    "forged signatures": HubLie(Unmask, to_one(forged_signatures)),
    "signatures over another set": HubLie(Unmask, to_one(signatures_over_another_set), steps=2),
    "foreign signatures": HubLie(Unmask, to_one(foreign_signatures)),
    "signatures off the committee": HubLie(Unmask, to_one(unmask_off_committee), large=True),
}
