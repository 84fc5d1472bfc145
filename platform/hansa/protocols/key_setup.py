"""Key setup: once per job, each site agrees with its neighbours and the committee on secrets unknown to the hub.

    hub → site   Manifest     plan, ring, roster, floors               (the site recomputes the floors)
    site → hub   Offer        fresh hybrid public key, commitment H(ρ), signature over it and the manifest
    hub → site   Offers       everybody's, in roster order             T = digest of exactly these bytes
    site → hub   Reveal       ρ, signature over T
    hub → site   Reveals      everybody's                            go on if all signed this T; beacon = H(plan, all ρ)
    site → hub   Encapsulated ML-KEM ciphertexts to its later peers, signature over the Merkle root of their digests
    hub → site   Delivered    the ciphertexts to this site, each with its sender's signature and path
    site → hub   Ready        the session's id

The beacon picks graph and committee (`graph.py`); nobody knows it before all keys are signed, and whoever reveals last
can only force a restart. A site's peers are its neighbours and the committee; for a member of it, everybody. Up to 50
sites all are peers of all.

Follows Bonawitz et al. (CCS 2017) with pairwise keys signed by identities of the charter, so an active hub can't
substitute a key unnoticed: a site that sees other offers signs another T, and every site wants everybody's signature
on its own. Graph and committee after Bell et al. (CCS 2020) and Ma et al., *Flamingo* (S&P 2023). Pair secrets are
hybrid, X25519 and ML-KEM-768 through HKDF salted with T. Ciphertexts are signed, so who breaks X25519 later or now
gains nothing by putting its own in their place.

Adversary: active hub with up to `corrupt` sites, chosen before the beacon. A site that stays silent only makes the hub
start again without it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from hansa.crypto import merkle
from hansa.crypto.keys import (
    HYBRID_SEED_BYTES,
    MLKEM_CIPHERTEXT_BYTES,
    HybridKey,
    check_hybrid,
    derive,
    digest,
    encapsulate,
    verify,
)
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.messages import Digest, Signature, SiteId, encode
from hansa.protocols import graph
from hansa.protocols.base import Ask, Done, HubState, Message, Own, RingBits, SiteState
from hansa.protocols.thresholds import Floors, tolerated_of

MAX_ATTEMPTS = 8  # beacons that a hub may try in one job: it sees each before anybody else, and could pick
_OFFER, _REVEAL, _ENCAPSULATED = "setup/offer", "setup/reveal", "setup/encapsulated"
Ciphertext = Annotated[bytes, Meta(min_length=MLKEM_CIPHERTEXT_BYTES, max_length=MLKEM_CIPHERTEXT_BYTES)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
HybridPublic = Annotated[bytes, Meta(min_length=1216, max_length=1216)]


class Manifest(Message, frozen=True, tag="manifest"):
    plan: Digest
    attempt: Annotated[int, Meta(ge=0, le=MAX_ATTEMPTS - 1)]
    ring: RingBits
    roster: tuple[SiteId, ...]
    floors: Floors

    @property
    def digest(self) -> bytes:
        return digest("setup/manifest", encode(self))


class Offer(Message, frozen=True, tag="offer"):
    public: HybridPublic
    commitment: Digest
    signature: Signature

    def signed(self, manifest: bytes, site: SiteId) -> bytes:
        return manifest + site.encode() + b"\0" + self.public + self.commitment


class Offers(Message, frozen=True, tag="offers"):
    offers: tuple[Offer, ...]  # in roster order


class Reveal(Message, frozen=True, tag="reveal"):
    rho: Key32
    signature: Signature

    def signed(self, transcript: bytes, site: SiteId) -> bytes:
        return transcript + site.encode() + b"\0" + self.rho


class Reveals(Message, frozen=True, tag="reveals"):
    reveals: tuple[Reveal, ...]  # in roster order


class Encapsulated(Message, frozen=True, tag="encapsulated"):
    ciphertexts: tuple[Ciphertext, ...]  # to each later peer, in roster order
    signature: Signature


class Sent(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One ciphertext on its way, with what shows who made it, and for whom."""

    ciphertext: Ciphertext
    path: tuple[Digest, ...]
    signature: Signature

    def __repr__(self) -> str:
        return "Sent(…)"


class Delivered(Message, frozen=True, tag="delivered"):
    sent: tuple[Sent, ...]  # by each earlier peer, in roster order


class Ready(Message, frozen=True, tag="ready"):
    session: Digest


class Session(Struct, frozen=True, array_like=True, dict=True):
    """What everybody knows after setup: the hub keeps it, and each site inside its state."""

    id: Digest  # of the manifest, all offers and the beacon
    beacon: Digest
    roster: tuple[SiteId, ...]
    keys: tuple[bytes, ...]  # Ed25519, in roster order
    floors: Floors
    ring: RingBits

    @cached_property
    def places(self) -> dict[SiteId, int]:
        return {site: place for place, site in enumerate(self.roster)}

    @cached_property
    def committee(self) -> dict[SiteId, int]:
        """The members' Shamir indices, from 1 in roster order."""
        chosen = graph.committee(self.beacon, len(self.roster), self.floors.committee)
        return {self.roster[place]: index for index, place in enumerate(chosen, start=1)}

    def key(self, site: SiteId) -> bytes:
        return self.keys[self.places[site]]

    def neighbours(self, site: SiteId) -> tuple[SiteId, ...]:
        """In roster order."""
        if site not in self._rows:
            drawn = graph.neighbours(self.beacon, len(self.roster), self.floors.degree)
            self._rows[site] = tuple(self.roster[place] for place in drawn[self.places[site]])
        return self._rows[site]

    @cached_property
    def _rows(self) -> dict[SiteId, tuple[SiteId, ...]]:
        """Neighbours by site, as they are asked for: a member of the committee asks for everybody's, many times."""
        return {}

    def peers(self, site: SiteId) -> list[SiteId]:
        """Whom `site` shares a secret with, in roster order."""
        return [self.roster[place] for place in self._peers(site)]

    def later(self, site: SiteId) -> list[SiteId]:
        """The peers that `site` encapsulates to."""
        own = self.places[site]
        return [self.roster[place] for place in self._peers(site) if place > own]

    def _peers(self, site: SiteId) -> tuple[int, ...]:
        floors = self.floors
        drawn = graph.peers(self.beacon, len(self.roster), floors.degree, floors.committee)
        return drawn[self.places[site]]


def _transcript(manifest: Manifest, offers: Offers) -> bytes:
    return digest("setup/transcript", encode(manifest), encode(offers))


def _session(manifest: Manifest, transcript: bytes, reveals: Reveals, keys: Mapping[SiteId, bytes]) -> Session:
    beacon = digest("setup/beacon", manifest.plan, *(reveal.rho for reveal in reveals.reveals))
    identity = digest("setup/session", transcript, beacon)
    in_order = tuple(keys[site] for site in manifest.roster)
    return Session(identity, beacon, manifest.roster, in_order, manifest.floors, manifest.ring)


def _check_offers(manifest: Manifest, offers: Offers, keys: Mapping[SiteId, bytes]) -> None:
    if len(offers.offers) != len(manifest.roster):
        raise ProtocolViolation("the offers are not one per site of the roster")
    if len({offer.public for offer in offers.offers}) != len(offers.offers):
        raise ProtocolViolation("two sites offer the same key")
    asked = manifest.digest
    for site, offer in zip(manifest.roster, offers.offers, strict=True):
        verify(keys[site], _OFFER, offer.signed(asked, site), offer.signature)


def _check_reveals(manifest: Manifest, offers: Offers, reveals: Reveals, keys: Mapping[SiteId, bytes]) -> None:
    if len(reveals.reveals) != len(manifest.roster):
        raise ProtocolViolation("the reveals are not one per site of the roster")
    transcript = _transcript(manifest, offers)
    for site, offer, reveal in zip(manifest.roster, offers.offers, reveals.reveals, strict=True):
        _check_reveal(site, offer, reveal, transcript, keys[site])


def _check_reveal(site: SiteId, offer: Offer, reveal: Reveal, transcript: bytes, key: bytes) -> None:
    verify(key, _REVEAL, reveal.signed(transcript, site), reveal.signature)
    if digest("setup/rho", reveal.rho) != offer.commitment:
        raise ProtocolViolation(f"'{site}' reveals other randomness than it committed to")


def _leaves(ciphertexts: Sequence[bytes]) -> list[bytes]:
    return [merkle.leaf(ciphertext) for ciphertext in ciphertexts]


def _signed_root(session: Session, site: SiteId, root: bytes) -> bytes:
    return session.id + site.encode() + b"\0" + root


# ---- at a site ----


class Invited(SiteState, frozen=True, tag="invited"):
    """Consented to the plan. `keys` are the charter's, of every participant; `seed` is this job's, never reused."""

    accepts: ClassVar[type[Message]] = Manifest
    site: SiteId
    plan: Digest
    attempt: int  # the lowest that is acceptable
    corrupt: int
    minimum: int
    keys: dict[SiteId, bytes]
    seed: Key32
    ring: RingBits = 64  # the kind's

    def answer(self, request: Manifest, own: Own) -> tuple["Offered", Offer]:
        if request.plan != self.plan:
            raise ProtocolViolation("the manifest is of another plan than the one consented to")
        if request.attempt < self.attempt:
            raise ProtocolViolation("the manifest repeats an earlier attempt")
        if list(request.roster) != sorted(set(request.roster)) or not set(request.roster) <= set(self.keys):
            raise ProtocolViolation("the roster is not a sorted part of the participants")
        if self.site not in request.roster:
            raise ProtocolViolation("the roster leaves out the site that is asked")
        if request.ring != self.ring:
            raise ProtocolViolation("the ring is not that of the plan's kind")
        try:
            corrupt = tolerated_of(len(self.keys), self.corrupt)
            floors = Floors.of(len(request.roster), corrupt, self.minimum)
        except NotEnoughSites as error:
            raise ProtocolViolation("the roster is too small for any floor to be met") from error
        if request.floors != floors:
            raise ProtocolViolation("threshold and floor are not those of the charter")
        seed = derive(self.seed, "setup/attempt", request.attempt.to_bytes(4, "big"))
        offer = Offer(_hybrid(seed).public, digest("setup/rho", _rho(seed)), bytes(64))
        signature = own.key.sign(_OFFER, offer.signed(request.digest, self.site))
        keys = {site: self.keys[site] for site in request.roster}
        offer = Offer(offer.public, offer.commitment, signature)
        return Offered(self.site, request, keys, seed, offer), offer


def _hybrid(seed: bytes) -> HybridKey:
    return HybridKey(derive(seed, "setup/hybrid", size=HYBRID_SEED_BYTES))


def _rho(seed: bytes) -> bytes:
    return derive(seed, "setup/rho")


class Offered(SiteState, frozen=True, tag="offered"):
    accepts: ClassVar[type[Message]] = Offers
    site: SiteId
    manifest: Manifest
    keys: dict[SiteId, bytes]
    seed: Key32
    offer: Offer

    def answer(self, request: Offers, own: Own) -> tuple["Revealed", Reveal]:
        _check_offers(self.manifest, request, self.keys)
        if request.offers[self.manifest.roster.index(self.site)] != self.offer:
            raise ProtocolViolation("the offers hold another offer of ours than the one we made")
        rho = _rho(self.seed)
        signed = Reveal(rho, bytes(64)).signed(_transcript(self.manifest, request), self.site)
        reveal = Reveal(rho, own.key.sign(_REVEAL, signed))
        return Revealed(self.site, self.manifest, self.keys, self.seed, request, reveal), reveal


class Revealed(SiteState, frozen=True, tag="revealed"):
    accepts: ClassVar[type[Message]] = Reveals
    site: SiteId
    manifest: Manifest
    keys: dict[SiteId, bytes]
    seed: Key32
    offers: Offers
    reveal: Reveal

    def answer(self, request: Reveals, own: Own) -> tuple["Encapsulating", Encapsulated]:
        _check_reveals(self.manifest, self.offers, request, self.keys)
        if request.reveals[self.manifest.roster.index(self.site)] != self.reveal:
            raise ProtocolViolation("the reveals hold another reveal of ours than the one we made")
        transcript = _transcript(self.manifest, self.offers)
        session = _session(self.manifest, transcript, request, self.keys)
        public = {peer: self.offers.offers[session.places[peer]].public for peer in session.peers(self.site)}
        pairs, ciphertexts, hybrid = {}, [], _hybrid(self.seed)
        for peer in session.later(self.site):
            secret, ciphertext = encapsulate(public[peer])
            ciphertexts.append(ciphertext)
            secret = hybrid.agree(public[peer]) + secret
            pairs[peer] = _pair(secret, self.site, peer, ciphertext, transcript)
        signed = _signed_root(session, self.site, merkle.root(_leaves(ciphertexts)))
        reply = Encapsulated(tuple(ciphertexts), own.key.sign(_ENCAPSULATED, signed))
        earlier = {peer: key for peer, key in public.items() if peer not in pairs}
        return Encapsulating(self.site, session, transcript, self.seed, pairs, earlier), reply


def _pair(secret: bytes, low: SiteId, high: SiteId, ciphertext: bytes, transcript: bytes) -> bytes:
    return derive(secret, "setup/pair", low.encode(), high.encode(), ciphertext, salt=transcript)


class Encapsulating(SiteState, frozen=True, tag="encapsulating"):
    accepts: ClassVar[type[Message]] = Delivered
    site: SiteId
    session: Session
    transcript: Digest
    seed: Key32
    pairs: dict[SiteId, bytes]  # with the later peers
    earlier: dict[SiteId, HybridPublic]

    def answer(self, request: Delivered, own: Own) -> tuple["Paired", Ready]:
        del own
        if len(request.sent) != len(self.earlier):
            raise ProtocolViolation("the ciphertexts are not one from each earlier peer")
        pairs, hybrid = dict(self.pairs), _hybrid(self.seed)
        for (peer, public), sent in zip(self.earlier.items(), request.sent, strict=True):
            later = self.session.later(peer)
            leaf, index = merkle.leaf(sent.ciphertext), later.index(self.site)
            root = merkle.root_from_path(leaf, index, len(later), sent.path)
            verify(self.session.key(peer), _ENCAPSULATED, _signed_root(self.session, peer, root), sent.signature)
            secret = hybrid.agree(public) + hybrid.decapsulate(sent.ciphertext)
            pairs[peer] = _pair(secret, peer, self.site, sent.ciphertext, self.transcript)
        seed = derive(self.seed, "setup/next", self.session.id)
        return Paired(self.site, self.session, pairs, seed), Ready(self.session.id)


class Paired(Struct, frozen=True, tag="paired"):
    """The outcome at a site: one secret per peer, and the seed of its own chance in the sums that follow."""

    site: SiteId
    session: Session
    pairs: dict[SiteId, bytes]
    seed: Key32

    def __repr__(self) -> str:
        return "Paired(hidden)"


# ---- at the hub ----


def begin(
    plan: Digest, attempt: int, keys: Mapping[SiteId, bytes], corrupt: int, minimum: int, ring: RingBits = 64
) -> Ask:
    """Opens setup with the sites in `keys` (id → Ed25519 key of the charter)."""
    roster = tuple(sorted(keys))
    manifest = Manifest(plan, attempt, ring, roster, Floors.of(len(roster), corrupt, minimum))
    return Ask(AwaitOffers(manifest, dict(keys)), dict.fromkeys(roster, manifest), len(roster))


class AwaitOffers(HubState, frozen=True, tag="await-offers"):
    accepts: ClassVar[type[Message]] = Offer
    manifest: Manifest
    keys: dict[SiteId, bytes]

    def check(self, site: SiteId, reply: Offer) -> None:
        verify(self.keys[site], _OFFER, reply.signed(self.manifest.digest, site), reply.signature)
        check_hybrid(reply.public)

    def close(self, replies: Mapping[SiteId, Offer]) -> Ask:
        offers = Offers(tuple(replies[site] for site in self.manifest.roster))
        _check_offers(self.manifest, offers, self.keys)
        roster = self.manifest.roster
        return Ask(AwaitReveals(self.manifest, self.keys, offers), dict.fromkeys(roster, offers), len(roster))


class AwaitReveals(HubState, frozen=True, tag="await-reveals"):
    accepts: ClassVar[type[Message]] = Reveal
    manifest: Manifest
    keys: dict[SiteId, bytes]
    offers: Offers

    def check(self, site: SiteId, reply: Reveal) -> None:
        offer = self.offers.offers[self.manifest.roster.index(site)]
        _check_reveal(site, offer, reply, _transcript(self.manifest, self.offers), self.keys[site])

    def close(self, replies: Mapping[SiteId, Reveal]) -> Ask:
        reveals = Reveals(tuple(replies[site] for site in self.manifest.roster))
        _check_reveals(self.manifest, self.offers, reveals, self.keys)
        session = _session(self.manifest, _transcript(self.manifest, self.offers), reveals, self.keys)
        roster = self.manifest.roster
        return Ask(AwaitEncapsulated(session), dict.fromkeys(roster, reveals), len(roster))


class AwaitEncapsulated(HubState, frozen=True, tag="await-encapsulated"):
    accepts: ClassVar[type[Message]] = Encapsulated
    session: Session

    def check(self, site: SiteId, reply: Encapsulated) -> None:
        if len(reply.ciphertexts) != len(self.session.later(site)):
            raise ProtocolViolation(f"'{site}' does not reach every later peer exactly once")
        signed = _signed_root(self.session, site, merkle.root(_leaves(reply.ciphertexts)))
        verify(self.session.key(site), _ENCAPSULATED, signed, reply.signature)

    def close(self, replies: Mapping[SiteId, Encapsulated]) -> Ask:
        sent: dict[SiteId, list[Sent]] = {site: [] for site in self.session.roster}
        for site in self.session.roster:
            reply = replies[site]
            self.check(site, reply)
            paths = merkle.paths(_leaves(reply.ciphertexts))
            for peer, ciphertext, path in zip(self.session.later(site), reply.ciphertexts, paths, strict=True):
                sent[peer].append(Sent(ciphertext, path, reply.signature))
        requests = {site: Delivered(tuple(row)) for site, row in sent.items()}
        return Ask(AwaitReady(self.session), requests, len(requests))


class AwaitReady(HubState, frozen=True, tag="await-ready"):
    accepts: ClassVar[type[Message]] = Ready
    session: Session

    def check(self, site: SiteId, reply: Ready) -> None:
        if reply.session != self.session.id:
            raise ProtocolViolation(f"'{site}' ends setup with another session")

    def close(self, replies: Mapping[SiteId, Ready]) -> Done[Session]:
        for site, reply in replies.items():
            self.check(site, reply)
        return Done(self.session)
