"""What a hub or a member may say instead of the truth.

A hub's lie is sent besides the true request, before it unless `after`: whoever refuses the lie answers the truth, so a
lie never merely ends the job. A lie that opens a letter or signs for others uses the keys of colluders, if it has any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hansa.crypto import shamir
from hansa.crypto.keys import HybridKey, digest
from hansa.messages import decode, encode
from hansa.protocols.base import Message
from hansa.protocols.key_setup import Floors, Manifest, Offers, Ready, Reveal, Reveals, _transcript
from hansa.protocols.masks import others
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Locked, Masked, Shares, Unmask, _root, lock_digest

Absent = tuple[str, int, Callable[[int], int]]  # stage, steps before the lie's, how many are silent then


class Told(Struct, frozen=True):
    """One lie to one site. `sort` and `round` of the letter are the true ones unless they are given."""

    message: Any
    sort: str = ""
    round: int = 0


@dataclass(frozen=True)
class HubLie:
    request: type[Message]
    tell: Callable[[Any, dict[str, Any], int], dict[str, list[Told]]]
    sites: int = 3
    steps: int = 1
    absent: tuple[Absent, ...] = ()
    after: bool = False


@dataclass(frozen=True)
class MemberLie:
    request: type[Message]
    tell: Callable[[Any, Any, Any, int], tuple[Any, Any, list[bytes]]]
    sites: int = 3
    steps: int = 1
    absent: tuple[Absent, ...] = ()


@dataclass
class Armed:
    """A lie in wait for its round."""

    lie: Any
    pick: int
    step: int

    @property
    def after(self) -> bool:
        return self.lie.after

    def due(self, what: Any, state: Any) -> bool:
        """At the hub: of these requests, in this step. At a member: of this request, to this state."""
        if isinstance(what, dict):
            first = next(iter(what.values()), None)  # None where nobody is left to be asked
            return isinstance(first, self.lie.request) and state >= self.step
        at = what.step if isinstance(what, Contribute) else getattr(state, "step", self.step)
        return isinstance(what, self.lie.request) and at >= self.step

    def tell(self, party: Any, *what: Any) -> Any:
        return self.lie.tell(party, *what, self.pick)


def one(requests: Mapping[str, Any], pick: int) -> str:
    return sorted(requests)[pick % len(requests)]


def to_one(change: Callable[[Any, Any, str, int], Any]) -> Callable[[Any, dict[str, Any], int], dict[str, list[Told]]]:
    """The hub tells one site another request."""

    def tell(hub: Any, requests: dict[str, Any], pick: int) -> dict[str, list[Told]]:
        site = one(requests, pick)
        changed = change(hub, requests[site], site, pick // 7)
        return {} if changed is None else {site: [changed if isinstance(changed, Told) else Told(changed)]}

    return tell


def past(hub: Any, sort: type[Message], site: str) -> list[Any]:
    """Earlier requests of this sort to this site, oldest first."""
    return [asked[site] for _number, asked in hub.past if site in asked and isinstance(asked[site], sort)]


# ---- the hub, in setup ----


def lower_floors(_hub: Any, request: Manifest, _site: str, pick: int) -> Manifest:
    floors = request.floors
    lower = (
        Floors(floors.corrupt, floors.threshold - 1, floors.survivors),
        Floors(floors.corrupt, floors.threshold, floors.survivors - 1),
        Floors(floors.corrupt, 1, 2),
    )
    return replace(request, floors=lower[pick % 3])


def earlier_attempt(hub: Any, _request: Offers, site: str, pick: int) -> Told | None:
    manifests = past(hub, Manifest, site)
    return Told(manifests[pick % len(manifests)], "open", 1000) if manifests else None


def substituted_offer(hub: Any, request: Offers, site: str, pick: int) -> Offers:
    manifest = past(hub, Manifest, site)[-1]
    places = [place for place, name in enumerate(manifest.roster) if name != site]
    place = places[pick % len(places)]
    offer = replace(request.offers[place], public=HybridKey(bytes(range(96))).public)
    key = next(iter(hub.colluders.values()), None)
    if key is not None and pick % 2:
        signed = offer.signed(manifest.digest, manifest.roster[place])
        offer = replace(offer, signature=key.sign("setup/offer", signed))
    return Offers((*request.offers[:place], offer, *request.offers[place + 1 :]))


def two_bundles(hub: Any, request: Offers, site: str, _pick: int) -> Offers | None:
    """A colluder offers this site another key than the rest, rightly signed."""
    manifest = past(hub, Manifest, site)[-1]
    for name, key in hub.colluders.items():
        if name in manifest.roster and name != site:
            place = manifest.roster.index(name)
            offer = replace(request.offers[place], public=HybridKey(bytes(range(1, 97))).public)
            offer = replace(offer, signature=key.sign("setup/offer", offer.signed(manifest.digest, name)))
            return Offers((*request.offers[:place], offer, *request.offers[place + 1 :]))
    return None


def altered_reveal(_hub: Any, request: Reveals, _site: str, pick: int) -> Reveals:
    place = pick % (len(request.reveals) - 1)
    first, *rest = request.reveals[place].ciphertexts
    changes = ({"rho": bytes(32)}, {"ciphertexts": (bytes(reversed(first)), *rest)})
    reveal = replace(request.reveals[place], **changes[pick // 7 % 2])
    return Reveals((*request.reveals[:place], reveal, *request.reveals[place + 1 :]))


# ---- the hub, when it asks for contributions ----


def other_receipt(_hub: Any, request: Contribute, _site: str, pick: int) -> Contribute | None:
    if request.receipt is None:
        return None
    receipt = request.receipt
    changed = (
        replace(receipt, sid=bytes(32)),
        replace(receipt, locked=bytes(32)),
        replace(receipt, total=receipt.total + bytes(8)),
        None,
    )
    return replace(request, receipt=changed[pick % 4])


def other_total(_hub: Any, request: Contribute, _site: str, _pick: int) -> Contribute | None:
    receipt = request.receipt
    return None if receipt is None else replace(request, receipt=replace(receipt, total=bytes(len(receipt.total))))


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


def without_itself(_hub: Any, request: Contribute, site: str, _pick: int) -> Contribute:
    return replace(request, cohort=tuple(others(request.cohort, site)))


def old_request(hub: Any, request: Any, site: str, pick: int) -> Told | None:
    """A request of an earlier round, as it was, under a number of its own."""
    earlier = [asked[site] for _number, asked in hub.past if site in asked]
    return Told(earlier[pick % len(earlier)], "round", 2000) if earlier else None


# ---- the hub, when it locks ----


def sealed_for(hub: Any, cohort: tuple[str, ...], site: str, survivors: list[str]) -> tuple[bytes, ...]:
    """The letters to `site`, out of the contributions that the hub holds."""
    contributions = contributed(hub)
    return tuple(contributions[peer].sealed[others(cohort, peer).index(site)] for peer in others(survivors, site))


def contributed(hub: Any) -> dict[str, Contributed]:
    return {site: decode(body, Contributed) for site, body in hub.store.replies.items()}


def lock_of(hub: Any, request: Lock, site: str, survivors: list[str]) -> Lock:
    headers = {header.site: header for header in request.headers}
    cohort = past(hub, Contribute, site)[-1].cohort
    return Lock(tuple(headers[name] for name in survivors), sealed_for(hub, cohort, site, survivors))


def two_sets(hub: Any, requests: dict[str, Any], pick: int) -> dict[str, list[Told]]:
    """Some survivors are shown a set without one of the others; whoever signs it is asked to unmask it."""
    names = sorted(requests)
    left_out = names[pick % len(names)]
    rest = others(names, left_out)
    shown = [site for place, site in enumerate(rest) if pick // 7 % 2 ** len(rest) >> place & 1] or rest[:1]
    told = {site: lock_of(hub, requests[site], site, rest) for site in shown}
    hub.lie = Armed(HubLie(Unmask, unmask_both(told)), pick, 0)
    return {site: [Told(lock)] for site, lock in told.items()}


def unmask_both(told: dict[str, Lock]) -> Callable[[Any, dict[str, Any], int], dict[str, list[Told]]]:
    def tell(hub: Any, _requests: dict[str, Any], _pick: int) -> dict[str, list[Told]]:
        headers = next(iter(told.values())).headers
        locked = lock_digest(headers[0].sid, headers)
        signers = {header.site for header in headers}
        signatures = {site: key.sign("sum/lock", locked) for site, key in hub.colluders.items() if site in signers}
        for site in told:
            if site in hub.store.replies:
                signatures[site] = decode(hub.store.replies[site], Locked).signature
        return {site: [Told(Unmask(dict(sorted(signatures.items()))))] for site in told}

    return tell


def set_below_floor(hub: Any, request: Lock, site: str, _pick: int) -> Lock:
    names = [header.site for header in request.headers]
    return lock_of(hub, request, site, sorted([site, others(names, site)[0]]))


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
    key = next(iter(hub.colluders.values()), None)
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
    manifest = past(hub, Manifest, site)[-1]
    return Unmask(dict(sorted(request.signatures.items())[: manifest.floors.threshold - 1]))


def forged_signatures(_hub: Any, request: Unmask, _site: str, pick: int) -> Unmask:
    names = sorted(request.signatures)
    forged = dict(request.signatures)
    forged[names[pick % len(names)]] = request.signatures[names[(pick + 1) % len(names)]]
    return Unmask(forged)


def signatures_over_another_set(hub: Any, request: Unmask, site: str, pick: int) -> Unmask | None:
    """Rightly signed in an earlier sum."""
    old = past(hub, Unmask, site)
    return Unmask(old[pick % len(old)].signatures) if old else None


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
DROPPED_NOW: tuple[Absent, ...] = (("AwaitContributions", 0, lambda sites: 1),)
AT_THRESHOLD: tuple[Absent, ...] = (("AwaitShares", 0, lambda sites: sites - Floors.of(sites, -1, 3).threshold),)

HUB_LIES: dict[str, HubLie] = {
    "lower floors": HubLie(Manifest, to_one(lower_floors)),
    "another plan": HubLie(Manifest, to_one(lambda _h, request, _s, _p: replace(request, plan=bytes(32)))),
    "setup opened again": HubLie(Manifest, to_one(again), after=True),
    "an earlier attempt": HubLie(Offers, to_one(earlier_attempt)),
    "substituted offer": HubLie(Offers, to_one(substituted_offer)),
    "two bundles": HubLie(Offers, to_one(two_bundles), sites=4),
    "altered reveal": HubLie(Reveals, to_one(altered_reveal)),
    "other public state": HubLie(
        Contribute, to_one(lambda _h, request, _s, _p: replace(request, public=request.public + b"!"))
    ),
    "other receipt": HubLie(Contribute, to_one(other_receipt), steps=2),
    "other total": HubLie(Contribute, to_one(other_total), steps=2),
    "lower step": HubLie(Contribute, to_one(lower_step), steps=2),
    "higher step": HubLie(Contribute, to_one(lambda _h, request, _s, _p: replace(request, step=request.step + 1))),
    "cohort below the floor": HubLie(Contribute, to_one(below_floor)),
    "other cohort": HubLie(Contribute, to_one(other_cohort), sites=4),
    "cohort brings back a site": HubLie(Contribute, to_one(brings_back), 4, 2, DROPPED_BEFORE),
    "cohort without the site": HubLie(Contribute, to_one(without_itself), sites=4),
    "old request": HubLie(Contribute, to_one(old_request)),
    "other request in the same round": HubLie(Contribute, to_one(other_in_same_round), after=True),
    "the same request again": HubLie(Contribute, to_one(again), after=True),
    "two letters under one number": HubLie(Contribute, to_one(raw_other)),
    "two survivor sets": HubLie(Lock, two_sets, sites=4),
    "set below the floor": HubLie(Lock, to_one(set_below_floor)),
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
}


# ---- a member ----


def resigned(site: Any, reply: Contributed, following: Any, **changes: Any) -> tuple[Any, Any, list[bytes]]:
    """The contribution with another header, rightly signed, which the liar takes for its own from then on."""
    header = replace(reply.header, **changes)
    header = replace(header, signature=site.key.sign("sum/header", header.signed()))
    assert isinstance(following, Masked)
    return replace(reply, header=header), replace(following, header=header), []


def wrong_tag(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    tags = list(reply.header.tags)
    tags[pick % len(tags)] = bytes(16)
    return resigned(site, reply, following, tags=tuple(tags))


def junk_letter(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    sealed = list(reply.sealed)
    sealed[pick % len(sealed)] = bytes(len(sealed[0]))
    reply = replace(reply, sealed=tuple(sealed))
    return resigned(site, reply, following, sealed=digest("sum/sealed", *sealed))


def other_size(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    masked = reply.masked + bytes(8) if pick % 2 else reply.masked[:-8]
    return resigned(site, replace(reply, masked=masked), following, root=_root(masked))


def other_vector(_site: Any, reply: Contributed, following: Any, _pick: int) -> Any:
    return replace(reply, masked=bytes(len(reply.masked))), following, []


def in_shares(change: Callable[[bytes], bytes], edges: bool = False) -> Callable[..., Any]:
    def tell(_site: Any, reply: Shares, following: Any, pick: int) -> Any:
        if edges and reply.edges:
            row = list(reply.edges[0])
            row[pick % len(row)] = change(row[pick % len(row)])
            return replace(reply, edges=(tuple(row), *reply.edges[1:])), following, []
        own = list(reply.own)
        own[pick % len(own)] = change(own[pick % len(own)])
        return replace(reply, own=tuple(own)), following, []

    return tell


def false_share(share: bytes) -> bytes:
    return shamir.encode((shamir.decode(share) + 1) % shamir.PRIME)


def out_of_range(_share: bytes) -> bytes:
    return shamir.PRIME.to_bytes(32, "little")


def other_bytes_again(_site: Any, reply: Shares, following: Any, _pick: int) -> Any:
    other = replace(reply, own=tuple(false_share(share) for share in reply.own))
    return reply, following, [encode(other)]


def junk_reply(_site: Any, _reply: Any, following: Any, _pick: int) -> Any:
    return b"\xc1 nothing", following, []


def other_rho(site: Any, reply: Reveal, following: Any, _pick: int) -> Any:
    other = replace(reply, rho=bytes(32))
    signed = other.signed(_transcript(following.manifest, following.offers), site.name)
    other = replace(other, signature=site.key.sign("setup/reveal", signed))
    return other, replace(following, reveal=other), []


MEMBER_LIES: dict[str, MemberLie] = {
    "other randomness than committed": MemberLie(Offers, other_rho),
    "another session": MemberLie(Reveals, lambda _s, _r, following, _p: (Ready(bytes(32)), following, [])),
    "wrong tag": MemberLie(Contribute, wrong_tag),
    "junk letter": MemberLie(Contribute, junk_letter),
    "header of another sum": MemberLie(Contribute, lambda s, r, f, _p: resigned(s, r, f, sid=bytes(32))),
    "vector of another size": MemberLie(Contribute, other_size),
    "another vector than signed": MemberLie(Contribute, other_vector),
    "false commitment": MemberLie(Contribute, lambda s, r, f, _p: resigned(s, r, f, commitment=bytes(32))),
    "junk contribution": MemberLie(Contribute, junk_reply),
    "false lock signature": MemberLie(Lock, lambda _s, _r, following, _p: (Locked(bytes(64)), following, [])),
    "junk instead of a lock": MemberLie(Lock, junk_reply, sites=4),
    "share out of range": MemberLie(Unmask, in_shares(out_of_range)),
    "share too short": MemberLie(Unmask, in_shares(lambda share: share[:-1])),
    "false share": MemberLie(Unmask, in_shares(false_share)),
    "false share at the threshold": MemberLie(Unmask, in_shares(false_share), absent=AT_THRESHOLD),
    "false share of an edge": MemberLie(Unmask, in_shares(false_share, edges=True), 4, 1, DROPPED_NOW),
    "one share missing": MemberLie(
        Unmask, lambda _s, reply, following, _p: (replace(reply, own=reply.own[:-1]), following, [])
    ),
    "other bytes for an answered round": MemberLie(Unmask, other_bytes_again),
}
