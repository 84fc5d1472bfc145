"""What must hold of setup."""

from collections import defaultdict
from collections.abc import Iterator

from hansa.crypto.keys import digest
from hansa.messages import encode
from hansa.protocols.key_setup import Delivered, Manifest, Offers, Reveals, Session
from tests.schedules.boxes import Answered
from tests.schedules.evidence import Evidence, floors
from tests.schedules.parties import PLAN


class SetupRules(Evidence):
    def setups(self) -> Iterator[str]:
        for site in self.honest:
            last = -1
            for note in self.answered(site, Manifest):
                manifest = note.request
                if manifest.attempt <= last:
                    yield f"{site} answered attempt {manifest.attempt} of setup after {last}"
                last = manifest.attempt
                if manifest.floors != floors(len(manifest.roster), len(self.world.names), self.world.schedule.large):
                    yield f"{site} takes part under floors that are not the charter's"
                if (manifest.plan, manifest.ring) != (PLAN, 64):
                    yield f"{site} takes part in another plan"
            for note in self.answered(site, Offers):
                yield from self._offers(note)
            for note in self.answered(site, Reveals):
                yield from self._reveals(note)
            for note in self.answered(site, Delivered):
                yield from self._delivered(note)

    def _offers(self, note: Answered) -> Iterator[str]:
        manifest = note.before.manifest
        publics = {offer.public for offer in note.request.offers}
        if len(publics) != len(manifest.roster) or len(note.request.offers) != len(manifest.roster):
            yield f"{note.site} accepted offers that are not one key a site"
        for site, offer in zip(manifest.roster, note.request.offers, strict=False):
            made = [reply.reply for reply in self.answered(site, Manifest) if reply.request == manifest]
            if site in self.honest and offer not in made:
                yield f"{note.site} accepted an offer that {site} did not make"
            if not self.holds(site, "setup/offer", offer.signed(manifest.digest, site), offer.signature):
                yield f"{note.site} accepted an unsigned offer of {site}"

    def _reveals(self, note: Answered) -> Iterator[str]:
        manifest, offers = note.before.manifest, note.before.offers
        transcript = digest("setup/transcript", encode(manifest), encode(offers))
        for site, offer, reveal in zip(manifest.roster, offers.offers, note.request.reveals, strict=True):
            if not self.holds(site, "setup/reveal", reveal.signed(transcript, site), reveal.signature):
                yield f"{note.site} accepted a reveal of {site} that is not signed for its transcript"
            if digest("setup/rho", reveal.rho) != offer.commitment:
                yield f"{note.site} accepted other randomness of {site} than it committed to"

    def _delivered(self, note: Answered) -> Iterator[str]:
        """Whatever an honest peer is said to have sent, it sent, to this site, in this session."""
        session, site = note.before.session, note.site
        earlier = [peer for peer in session.peers(site) if peer < site]
        if len(note.request.sent) != len(earlier):
            yield f"{site} accepted ciphertexts that are not one from each earlier peer"
        for peer, sent in zip(earlier, note.request.sent, strict=False):
            if peer in self.honest and sent.ciphertext not in self._made(peer, site, session):
                yield f"{site} accepted a ciphertext of {peer} that {peer} did not make for it"

    def _made(self, peer: str, site: str, session: Session) -> list[bytes]:
        return [
            note.reply.ciphertexts[session.later(peer).index(site)]
            for note in self.answered(peer, Reveals)
            if note.after.session.id == session.id
        ]

    def sessions(self) -> Iterator[str]:
        """The beacon holds everybody's chance, and picks one graph and one committee of the sizes that are due."""
        found: dict[bytes, Session] = {}
        for site in self.honest:
            for note in self.answered(site, Reveals):
                session, manifest = note.after.session, note.before.manifest
                rhos = [reveal.rho for reveal in note.request.reveals]
                if session.beacon != digest("setup/beacon", PLAN, *rhos):
                    yield f"{site} has a beacon that is not everybody's"
                if (session.roster, session.floors) != (manifest.roster, manifest.floors):
                    yield f"{site} has a session of another roster than it was asked for"
                if encode(found.setdefault(session.id, session)) != encode(session):
                    yield f"{site} has another session than the others under one id"
        for session in found.values():
            yield from self._picked(session)

    def _picked(self, session: Session) -> Iterator[str]:
        row, roster = self.floors(session), session.roster
        if len(session.committee) != row.committee or not set(session.committee) <= set(roster):
            yield f"a committee of {len(session.committee)} where {row.committee} are due"
        if list(session.committee.items()) != list(zip(sorted(session.committee), range(1, 99), strict=False)):
            yield "a committee's indices do not count from one in roster order"
        for site in roster:
            around = session.neighbours(site)
            if len(set(around)) != row.degree or site in around:
                yield f"{site} has {len(set(around))} neighbours where {row.degree} are due"
            if any(site not in session.neighbours(other) for other in around):
                yield f"{site} is not the neighbour of each of its neighbours"

    def pair_secrets(self) -> Iterator[str]:
        """In one session both ends of a pair have one secret, and no two pairs the same."""
        ends: dict[tuple[bytes, frozenset[str]], set[bytes]] = defaultdict(set)
        for site in self.honest:
            for note in self.answered(site, Delivered):
                paired, session = note.after.paired, note.after.paired.session
                due = (
                    set(session.roster)
                    if site in session.committee
                    else {*session.neighbours(site), *session.committee}
                )
                if set(paired.pairs) != due - {site}:
                    yield f"{site} shares secrets with others than its neighbours and the committee"
                for peer, secret in paired.pairs.items():
                    if peer in self.honest:
                        ends[session.id, frozenset((site, peer))].add(secret)
        for (_session, pair), secrets in ends.items():
            if len(secrets) > 1:
                yield f"{sorted(pair)} have two secrets in one session"
        every = [secret for secrets in ends.values() for secret in secrets]
        if len(set(every)) < len(every):
            yield "two pairs have one secret"
