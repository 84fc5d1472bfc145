"""Key setup: once per job, every pair of sites agrees on a secret that the hub does not know.

    hub → site   Manifest   plan, roster, threshold, floor           (the site recomputes threshold and floor)
    site → hub   Offer      fresh hybrid public key, commitment H(ρ), signature over it and the manifest
    hub → site   Offers     everybody's, in roster order             T = digest of exactly these bytes
    site → hub   Reveal     ρ, an ML-KEM ciphertext to each later site, signature over T
    hub → site   Reveals    everybody's                              go on only if all signed this T
    site → hub   Ready      H(all reveals)

Follows Bonawitz et al. (CCS 2017) with pairwise keys signed by identities of the charter, so an active hub can't
substitute a key unnoticed: a site that sees other offers signs another T, and every site wants everybody's signature
on its own. Pair secrets are hybrid, X25519 and ML-KEM-768 through HKDF salted with T. The beacon (from all ρ) picks
nothing while graph and committee are everybody, up to 50 sites.

Adversary: active hub with up to `corrupt` sites. A site that stays silent only makes the hub start again without it.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from hansa.crypto.keys import (
    HYBRID_SEED_BYTES,
    MLKEM_CIPHERTEXT_BYTES,
    HybridKey,
    derive,
    digest,
    encapsulate,
    verify,
)
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.messages import Digest, Signature, SiteId, encode
from hansa.protocols.base import Ask, Done, HubState, Message, Own, SiteState

MAX_SITES = 50
_OFFER, _REVEAL = "setup/offer", "setup/reveal"
Ciphertext = Annotated[bytes, Meta(min_length=MLKEM_CIPHERTEXT_BYTES, max_length=MLKEM_CIPHERTEXT_BYTES)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
HybridPublic = Annotated[bytes, Meta(min_length=1216, max_length=1216)]


class Floors(Struct, frozen=True, array_like=True):
    """How many sites a job needs: `secure-sum` table for complete graphs, all of them the committee."""

    corrupt: int  # how many may collude with the hub
    threshold: int  # shares that open a secret, and signatures that lock a survivor set
    survivors: int  # the smallest survivor set

    @classmethod
    def of(cls, sites: int, corrupt: int, minimum: int) -> "Floors":
        """`corrupt` −1 stands for ⌊(n−1)/3⌋. Refuses rosters for which no floor can be met."""
        if sites > MAX_SITES:
            raise Refused(f"a job takes at most {MAX_SITES} sites; {sites} are named")
        tolerated = max(sites - 1, 0) // 3 if corrupt < 0 else corrupt
        threshold = (sites + tolerated) // 2 + 1
        survivors = max(threshold, 3, tolerated + 2, minimum)
        if survivors > sites:
            raise NotEnoughSites(
                f"{sites} sites take part, and {survivors} are needed "
                f"(at least {minimum} by rule, with {tolerated} that might collude)"
            )
        return cls(tolerated, threshold, survivors)


class Manifest(Message, frozen=True, tag="manifest"):
    plan: Digest
    attempt: Annotated[int, Meta(ge=0, le=1000)]
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
    ciphertexts: tuple[Ciphertext, ...]  # to the sites after this one, in roster order
    signature: Signature

    def signed(self, transcript: bytes, site: SiteId) -> bytes:
        return transcript + site.encode() + b"\0" + self.rho + b"".join(self.ciphertexts)


class Reveals(Message, frozen=True, tag="reveals"):
    reveals: tuple[Reveal, ...]


class Ready(Message, frozen=True, tag="ready"):
    session: Digest


class Session(Struct, frozen=True, array_like=True):
    """What everybody knows after setup: the hub keeps it, and each site inside its state."""

    id: Digest  # of the manifest, all offers and all reveals
    roster: tuple[SiteId, ...]
    keys: tuple[bytes, ...]  # Ed25519, in roster order
    floors: Floors

    def key(self, site: SiteId) -> bytes:
        return self.keys[self.roster.index(site)]


def _transcript(manifest: Manifest, offers: Offers) -> bytes:
    return digest("setup/transcript", encode(manifest), encode(offers))


def _session(manifest: Manifest, transcript: bytes, reveals: Reveals, keys: Mapping[SiteId, bytes]) -> Session:
    identity = digest("setup/session", transcript, encode(reveals))
    return Session(identity, manifest.roster, tuple(keys[site] for site in manifest.roster), manifest.floors)


def _check_offers(manifest: Manifest, offers: Offers, keys: Mapping[SiteId, bytes]) -> None:
    if len(offers.offers) != len(manifest.roster):
        raise ProtocolViolation("the offers are not one per site of the roster")
    if len({offer.public for offer in offers.offers}) != len(offers.offers):
        raise ProtocolViolation("two sites offer the same key")
    for site, offer in zip(manifest.roster, offers.offers, strict=True):
        verify(keys[site], _OFFER, offer.signed(manifest.digest, site), offer.signature)


def _check_reveals(manifest: Manifest, offers: Offers, reveals: Reveals, keys: Mapping[SiteId, bytes]) -> None:
    if len(reveals.reveals) != len(manifest.roster):
        raise ProtocolViolation("the reveals are not one per site of the roster")
    transcript = _transcript(manifest, offers)
    last = len(manifest.roster) - 1
    for place, (site, reveal) in enumerate(zip(manifest.roster, reveals.reveals, strict=True)):
        verify(keys[site], _REVEAL, reveal.signed(transcript, site), reveal.signature)
        if digest("setup/rho", reveal.rho) != offers.offers[place].commitment:
            raise ProtocolViolation(f"'{site}' reveals other randomness than it committed to")
        if len(reveal.ciphertexts) != last - place:
            raise ProtocolViolation(f"'{site}' does not reach every later site exactly once")


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

    def answer(self, request: Manifest, own: Own) -> tuple["Offered", Offer]:
        if request.plan != self.plan:
            raise ProtocolViolation("the manifest is of another plan than the one consented to")
        if request.attempt < self.attempt:
            raise ProtocolViolation("the manifest repeats an earlier attempt")
        if list(request.roster) != sorted(set(request.roster)) or not set(request.roster) <= set(self.keys):
            raise ProtocolViolation("the roster is not a sorted part of the participants")
        if self.site not in request.roster:
            raise ProtocolViolation("the roster leaves out the site that is asked")
        if request.floors != Floors.of(len(request.roster), self.corrupt, self.minimum):
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
        place = self.manifest.roster.index(self.site)
        if request.offers[place] != self.offer:
            raise ProtocolViolation("the offers hold another offer of ours than the one we made")
        secrets, ciphertexts = {}, []
        for site, offer in list(zip(self.manifest.roster, request.offers, strict=True))[place + 1 :]:
            secrets[site], ciphertext = encapsulate(offer.public)
            ciphertexts.append(ciphertext)
        reveal = Reveal(_rho(self.seed), tuple(ciphertexts), bytes(64))
        signature = own.key.sign(_REVEAL, reveal.signed(_transcript(self.manifest, request), self.site))
        reveal = Reveal(reveal.rho, reveal.ciphertexts, signature)
        return Revealed(self.site, self.manifest, self.keys, self.seed, request, reveal, secrets), reveal


class Revealed(SiteState, frozen=True, tag="revealed"):
    accepts: ClassVar[type[Message]] = Reveals
    site: SiteId
    manifest: Manifest
    keys: dict[SiteId, bytes]
    seed: Key32
    offers: Offers
    reveal: Reveal
    encapsulated: dict[SiteId, bytes]

    def answer(self, request: Reveals, own: Own) -> tuple["Paired", Ready]:
        del own
        _check_reveals(self.manifest, self.offers, request, self.keys)
        place = self.manifest.roster.index(self.site)
        if request.reveals[place] != self.reveal:
            raise ProtocolViolation("the reveals hold another reveal of ours than the one we made")
        transcript = _transcript(self.manifest, self.offers)
        session = _session(self.manifest, transcript, request, self.keys)
        hybrid = _hybrid(self.seed)
        pairs = {}
        for other, peer in enumerate(self.manifest.roster):
            if other == place:
                continue
            low, high = min(place, other), max(place, other)
            ciphertext = request.reveals[low].ciphertexts[high - low - 1]
            kem = self.encapsulated[peer] if place == low else hybrid.decapsulate(ciphertext)
            secret = hybrid.agree(self.offers.offers[other].public) + kem
            names = self.manifest.roster[low].encode(), self.manifest.roster[high].encode()
            pairs[peer] = derive(secret, "setup/pair", *names, ciphertext, salt=transcript)
        seed = derive(self.seed, "setup/next", session.id)
        return Paired(self.site, session, pairs, seed), Ready(session.id)


class Paired(Struct, frozen=True, tag="paired"):
    """The outcome at a site: one secret per other site, and the seed of its own chance in the sums that follow."""

    site: SiteId
    session: Session
    pairs: dict[SiteId, bytes]
    seed: Key32

    def __repr__(self) -> str:
        return "Paired(hidden)"


# ---- at the hub ----


def begin(plan: Digest, attempt: int, keys: Mapping[SiteId, bytes], corrupt: int, minimum: int) -> Ask:
    """Opens setup with the sites in `keys` (id → Ed25519 key of the charter)."""
    roster = tuple(sorted(keys))
    manifest = Manifest(plan, attempt, roster, Floors.of(len(roster), corrupt, minimum))
    return Ask(AwaitOffers(manifest, dict(keys)), dict.fromkeys(roster, manifest), len(roster))


class AwaitOffers(HubState, frozen=True, tag="await-offers"):
    accepts: ClassVar[type[Message]] = Offer
    manifest: Manifest
    keys: dict[SiteId, bytes]

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

    def close(self, replies: Mapping[SiteId, Reveal]) -> Ask:
        reveals = Reveals(tuple(replies[site] for site in self.manifest.roster))
        _check_reveals(self.manifest, self.offers, reveals, self.keys)
        session = _session(self.manifest, _transcript(self.manifest, self.offers), reveals, self.keys)
        roster = self.manifest.roster
        return Ask(AwaitReady(session), dict.fromkeys(roster, reveals), len(roster))


class AwaitReady(HubState, frozen=True, tag="await-ready"):
    accepts: ClassVar[type[Message]] = Ready
    session: Session

    def close(self, replies: Mapping[SiteId, Ready]) -> Done[Session]:
        for site, ready in replies.items():
            if ready.session != self.session.id:
                raise ProtocolViolation(f"'{site}' ends setup with another session")
        return Done(self.session)
