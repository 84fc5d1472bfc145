"""What a hub may say in setup."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle
from hansa.crypto.keys import HybridKey, encapsulate
from hansa.messages import decode
from hansa.protocols.key_setup import Delivered, Encapsulated, Manifest, Offers, Reveals, Sent, Session, _signed_root
from tests.schedules.telling import Absent, HubLie, Lies, Told, any_key, in_place, past, to_one


def lower_floors(_hub: Any, request: Manifest, _site: str, pick: int) -> Manifest:
    floors = request.floors
    lower = (
        {"threshold": floors.threshold - 1},
        {"survivors": floors.survivors - 1},
        {"threshold": 1, "survivors": 2},
        {"committee": floors.committee - 1},
        {"degree": floors.degree - 2},
        {"kept": floors.kept - 1},
    )
    return replace(request, floors=replace(floors, **lower[pick % 6]))


def earlier_attempt(hub: Any, _request: Offers, site: str, pick: int) -> Told | None:
    manifests = past(hub, Manifest, site)
    return Told(manifests[pick % len(manifests)], "open", 1000) if manifests else None


def substituted_offer(hub: Any, request: Offers, site: str, pick: int) -> Offers:
    manifest = past(hub, Manifest, site)[-1]
    places = [place for place, name in enumerate(manifest.roster) if name != site]
    place = places[pick % len(places)]
    offer = replace(request.offers[place], public=HybridKey(bytes(range(96))).public)
    key = any_key(hub)
    if key is not None and pick % 2:
        signed = offer.signed(manifest.digest, manifest.roster[place])
        offer = replace(offer, signature=key.sign("setup/offer", signed))
    return Offers(in_place(request.offers, place, offer))


def two_bundles(hub: Any, request: Offers, site: str, _pick: int) -> Offers | None:
    """A colluder offers this site another key than the rest, rightly signed."""
    manifest = past(hub, Manifest, site)[-1]
    for name, key in hub.colluders.items():
        if name in manifest.roster and name != site:
            place = manifest.roster.index(name)
            offer = replace(request.offers[place], public=HybridKey(bytes(range(1, 97))).public)
            offer = replace(offer, signature=key.sign("setup/offer", offer.signed(manifest.digest, name)))
            return Offers(in_place(request.offers, place, offer))
    return None


def altered_reveal(_hub: Any, request: Reveals, _site: str, pick: int) -> Reveals:
    place = pick % len(request.reveals)
    other = request.reveals[place - 1].signature
    changed = ({"rho": bytes(32)}, {"signature": bytes(64)}, {"signature": other})[pick // 7 % 3]
    return Reveals(in_place(request.reveals, place, replace(request.reveals[place], **changed)))


# ---- ciphertexts on their way ----


def delivered(change: Callable[[Any, list[Sent], str, int, int], list[Sent] | None]) -> Any:
    """Tells one site, of those that are sent any, something else: `change` gets them, and the place of one."""

    def tell(hub: Any, requests: dict[str, Delivered], pick: int) -> Lies:
        sites = sorted(site for site, request in requests.items() if request.sent)
        site = sites[pick % len(sites)]
        sent = list(requests[site].sent)
        changed = change(hub, sent, site, pick // 7 % len(sent), pick // 49)
        return {} if changed is None else {site: [Told(Delivered(tuple(changed)))]}

    return tell


def sender(hub: Any, site: str, place: int) -> str:
    session: Session = hub.state(hub.store).session
    return [peer for peer in session.peers(site) if peer < site][place]


def own_ciphertext(hub: Any, sent: list[Sent], site: str, place: int, pick: int) -> list[Sent]:
    """One whose secret the hub knows; under the sender's signature, or a colluder's in its name."""
    session = hub.state(hub.store).session
    peer = sender(hub, site, place)
    offers = past(hub, Offers, site)[-1].offers
    _secret, ciphertext = encapsulate(offers[session.places[site]].public)
    sent[place] = replace(sent[place], ciphertext=ciphertext)
    key = any_key(hub)
    if key is not None and pick % 2:
        later = session.later(peer)
        root = merkle.root_from_path(merkle.leaf(ciphertext), later.index(site), len(later), sent[place].path)
        sent[place] = replace(sent[place], signature=key.sign("setup/encapsulated", _signed_root(session, peer, root)))
    return sent


def to_another(hub: Any, sent: list[Sent], site: str, place: int, pick: int) -> list[Sent] | None:
    """What the same sender made for another receiver, with that one's path or this one's."""
    session, peer = hub.state(hub.store).session, sender(hub, site, place)
    later = session.later(peer)
    rest = [index for index, name in enumerate(later) if name != site]
    if not rest:
        return None
    ciphertexts = decode(hub.store.replies[peer], Encapsulated).ciphertexts
    index = rest[pick // 2 % len(rest)]
    sent[place] = replace(sent[place], ciphertext=ciphertexts[index])
    if pick % 2:
        sent[place] = replace(sent[place], path=merkle.path([merkle.leaf(each) for each in ciphertexts], index))
    return sent


def stale(hub: Any, sent: list[Sent], site: str, place: int, pick: int) -> list[Sent] | None:
    """Rightly signed in an earlier attempt."""
    old = [request for request in past(hub, Delivered, site) if len(request.sent) > place]
    if not old:
        return None
    sent[place] = old[pick % len(old)].sent[place]
    return sent


def other_path(_hub: Any, sent: list[Sent], _site: str, place: int, pick: int) -> list[Sent]:
    path = sent[place].path
    paths = [(*path, bytes(32)), path[:-1], tuple(bytes(32) for _ in path), tuple(reversed(path))]
    changed = [other for other in paths if other != path]
    sent[place] = replace(sent[place], path=changed[pick % len(changed)])
    return sent


def other_sender(_hub: Any, sent: list[Sent], _site: str, place: int, pick: int) -> list[Sent]:
    """All that another sender sent this site, or only its signature; or two of them in each other's place."""
    if len(sent) == 1:
        return [replace(sent[0], signature=bytes(64))]
    other = (place + 1) % len(sent)
    if pick % 3 == 0:
        sent[place] = sent[other]
    elif pick % 3 == 1:
        sent[place] = replace(sent[place], signature=sent[other].signature)
    else:
        sent[place], sent[other] = sent[other], sent[place]
    return sent


def one_missing(_hub: Any, sent: list[Sent], _site: str, place: int, pick: int) -> list[Sent]:
    return [*sent, sent[place]] if pick % 2 else sent[:place] + sent[place + 1 :]


RESTARTED: tuple[Absent, ...] = (("AwaitReady", 0, lambda sites: 1),)

SETUP_LIES: dict[str, HubLie] = {
    "lower floors": HubLie(Manifest, to_one(lower_floors)),
    "another plan": HubLie(Manifest, to_one(lambda _h, request, _s, _p: replace(request, plan=bytes(32)))),
    "another ring": HubLie(Manifest, to_one(lambda _h, request, _s, _p: replace(request, ring=32))),
    "setup opened again": HubLie(Manifest, to_one(lambda _h, request, _s, _p: request), after=True),
    "an earlier attempt": HubLie(Offers, to_one(earlier_attempt)),
    "substituted offer": HubLie(Offers, to_one(substituted_offer)),
    "two bundles": HubLie(Offers, to_one(two_bundles), sites=4),
    "altered reveal": HubLie(Reveals, to_one(altered_reveal)),
    "ciphertext of the hub's own": HubLie(Delivered, delivered(own_ciphertext)),
    "ciphertext to another": HubLie(Delivered, delivered(to_another)),
    "ciphertext of an earlier attempt": HubLie(Delivered, delivered(stale), 5, 1, RESTARTED),
    "ciphertext with another path": HubLie(Delivered, delivered(other_path)),
    "ciphertext of another sender": HubLie(Delivered, delivered(other_sender)),
    "ciphertext missing": HubLie(Delivered, delivered(one_missing)),
}
