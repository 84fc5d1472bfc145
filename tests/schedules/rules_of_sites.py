"""What must hold of sums, at the sites."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle
from hansa.crypto.keys import digest, open_box
from hansa.messages import encode
from hansa.protocols import masks
from hansa.protocols.base import Own
from hansa.protocols.key_setup import Session
from hansa.protocols.secure_sum import Contribute, Lock, Masked, Unmask
from tests.schedules.boxes import Answered
from tests.schedules.evidence import SHARE, Evidence, at_zero, joined, near, slices
from tests.schedules.network import key_of, vector

TAG = 16


def lock_of(sid: bytes, survivors: Any, headers: bytes) -> bytes:
    return digest("sum/locked", sid, encode(tuple(survivors)), headers)


class SiteRules(Evidence):
    # ---- contributing ----

    def contributions(self) -> Iterator[str]:
        requests: dict[bytes, set[bytes]] = defaultdict(set)
        for site in self.honest:
            step, before, locked = 0, None, None
            for note in self.said[site]:
                if isinstance(note.request, Contribute):
                    requests[note.reply.header.sid].add(encode(note.request))
                    if note.request.step != step:
                        yield f"{site} contributed to step {note.request.step} when step {step} was due"
                    yield from self._receipt(note, before, locked)
                    yield from self._cohort(note)
                    before, locked = note, None
                    step += site not in note.before.paired.session.committee
                elif isinstance(note.request, Lock):
                    locked = note
                step += isinstance(note.request, Unmask)
        for asked in requests.values():
            if len(asked) > 1:
                yield "two requests for a contribution have one sid"

    def _receipt(self, note: Answered, before: Answered | None, locked: Answered | None) -> Iterator[str]:
        site, shown, session = note.site, note.request.receipt, note.before.paired.session
        if before is None or shown is None:
            if before is not None or shown is not None:
                yield f"{site} contributed with a receipt of no sum, or with none of the sum before"
            return
        if (shown.sid, len(shown.chunks)) != (before.reply.header.sid, len(before.beside)):
            yield f"{site} contributed after a receipt of another sum"
        if tuple(map(merkle.leaf, note.shown)) != shown.chunks:
            yield f"{site} contributed after a total that its receipt does not name"
        yield from self._set(site, "was shown a receipt of", shown.survivors, session, before.request.cohort)
        if site not in shown.survivors:
            yield f"{site} contributed after a total that it is not in"
        if locked is None:
            lock = lock_of(shown.sid, shown.survivors, shown.headers)
            yield from self._signatures(site, "contributed after", shown.signatures, session, shown.survivors, lock)
        else:
            headers = locked.request.headers
            known = tuple(header.site for header in headers), digest("sum/headers", *(encode(each) for each in headers))
            if (shown.survivors, shown.headers) != known:
                yield f"{site} contributed after a receipt of another survivor set than it locked"

    def _set(
        self, site: str, did: str, names: Collection[str], session: Session, cohort: Collection[str]
    ) -> Iterator[str]:
        if list(names) != sorted(set(names)) or not set(names) <= set(cohort):
            yield f"{site} {did} survivors that are no sorted part of the cohort"
        if len(set(names)) < self.floors(session).survivors:
            yield f"{site} {did} a survivor set below the floor"
        if self.lonely(session, set(names)):
            yield f"{site} {did} a survivor with too few neighbours"

    def _signatures(
        self, site: str, did: str, signatures: dict[str, bytes], session: Session, survivors: Any, locked: bytes
    ) -> Iterator[str]:
        signed = [
            name
            for name, signature in signatures.items()
            if name in survivors and name in session.committee and self.holds(name, "sum/lock", locked, signature)
        ]
        if len(signed) < self.floors(session).threshold or len(signed) < len(signatures):
            yield f"{site} {did} {len(signed)} members' signatures that hold of {len(signatures)}"

    def _cohort(self, note: Answered) -> Iterator[str]:
        site, request, session = note.site, note.request, note.before.paired.session
        left = request.receipt.survivors if request.receipt else session.roster
        names = list(request.cohort)
        if names != sorted(set(names)) or not set(names) <= set(left):
            yield f"{site} contributed in a cohort that brings back a site, or is no sorted set"
        if len(names) < self.floors(session).survivors or site not in names:
            yield f"{site} contributed in a cohort below the floor or without it"
        if len(near(session, names, site)) < self.floors(session).kept:
            yield f"{site} contributed in a cohort with too few of its neighbours"

    def fresh_masks(self) -> Iterator[str]:
        """No mask serves twice, and what a site would answer to another request has no secret in common."""
        seen: set[int] = set()
        notes = [note for site in self.honest for note in self.answered(site, Contribute)]
        for note in notes:
            mask = (joined(note.beside) - vector(note.site, note.request.step)).tolist()
            if seen & set(mask) or len(set(mask)) < len(mask):
                yield f"{note.site} used a mask twice"
            seen |= set(mask)
        if notes:
            yield from self._asked_otherwise(notes[self.world.schedule.seed % len(notes)])

    def _asked_otherwise(self, note: Answered) -> Iterator[str]:
        request, state = note.request, note.before
        session = state.paired.session
        others = [replace(request, public=request.public + b"?")]
        rest = [name for name in request.cohort if name == note.site or name != request.cohort[-1]]
        fits = len(near(session, rest, note.site)) >= self.floors(session).kept
        if rest != list(request.cohort) and len(rest) >= self.floors(session).survivors and fits:
            others.append(replace(request, cohort=tuple(rest)))
        first = self._secrets(note.site, state, note.after, request, note.reply)
        for other in others:
            own = Own(key_of(note.site), vector(note.site, request.step))
            following, reply = state.answer(other, own)
            if reply.header.sid == note.reply.header.sid:
                yield f"{note.site} has one sid for two requests"
            elif first & self._secrets(note.site, state, following, other, reply):
                yield f"{note.site} has one secret in two sums"

    def _secrets(self, site: str, state: Any, following: Any, request: Contribute, reply: Any) -> set[int]:
        """What the sealed letters of a contribution share out: b and every h."""
        session, sid = state.paired.session, reply.header.sid
        columns = {site: following.kept} if isinstance(following, Masked) else {}
        receivers = [member for member in session.committee if member in request.cohort and member != site]
        for member, sealed in zip(receivers, reply.sealed, strict=True):
            if len(columns) < self.floors(session).threshold:
                columns[member] = open_box(masks.seal_key(state.paired.pairs[member], sid, site, member), sealed, sid)
        if len(columns) < self.floors(session).threshold:
            return set()
        rows = zip(*(slices(column) for column in columns.values()), strict=True)
        indices = [session.committee[member] for member in columns]
        points = (dict(zip(indices, map(_element, row), strict=True)) for row in rows)
        return {at_zero(shares) for shares in points}

    # ---- locking and unmasking ----

    def locks(self) -> Iterator[str]:
        for site in self.honest:
            sids = set()
            for note in self.answered(site, Lock):
                state, headers = note.before, note.request.headers
                session, sid, cohort = state.paired.session, state.before.sid, state.before.cohort
                if sid in sids:
                    yield f"{site} locked two survivor sets for one sum"
                sids.add(sid)
                names = [header.site for header in headers]
                yield from self._set(site, "locked", names, session, cohort)
                if site not in names or site not in session.committee:
                    yield f"{site} locked survivors without itself, or is no member"
                for header in headers:
                    if header.sid != sid:
                        yield f"{site} locked a header of another sum"
                    if not self.holds(header.site, "sum/header", header.signed(), header.signature):
                        yield f"{site} locked a header that {header.site} did not sign"
                yield from self._tags(site, session, cohort, headers)

    def _tags(self, site: str, session: Session, cohort: Any, headers: Any) -> Iterator[str]:
        """Both ends of every edge between survivors have one tag."""
        tags = {}
        for header in headers:
            around = near(session, cohort, header.site)
            if len(header.tags) != TAG * len(around):
                yield f"{site} locked a header of {header.site} without a tag for each neighbour"
                return
            tags.update({(header.site, peer): tag for peer, tag in zip(around, slices(header.tags, TAG), strict=True)})
        for (one, other), tag in tags.items():
            if tags.get((other, one), tag) != tag:
                yield f"{site} locked headers of {one} and {other} with two tags for their edge"

    def releases(self) -> Iterator[str]:
        sets: dict[bytes, set[tuple[str, ...]]] = defaultdict(set)
        for site in self.honest:
            for note in self.answered(site, Unmask):
                state = note.before
                session, lock = state.paired.session, self._locked(note)
                sets[state.before.sid].add(state.survivors)
                signatures = note.request.signatures
                yield from self._signatures(site, "released for", signatures, session, state.survivors, lock)
                yield from self._shares(note)
                yield from self._erased(note)
            for note in self.answered(site, Contribute):
                if site not in note.before.paired.session.committee:
                    yield from self._erased(note)
        for shown in sets.values():
            if len(shown) > 1:
                yield f"honest sites released for {len(shown)} survivor sets of one sum"

    def _locked(self, note: Answered) -> bytes:
        """What the site signed when it locked this sum."""
        sid = note.before.before.sid
        for lock in self.answered(note.site, Lock):
            if lock.before.before.sid == sid:
                headers = lock.request.headers
                encoded = digest("sum/headers", *(encode(header) for header in headers))
                return lock_of(sid, [header.site for header in headers], encoded)
        return b""

    def _shares(self, note: Answered) -> Iterator[str]:
        """Of the survivors their own masks', of their edges to the dropped the edges', and nothing else."""
        state, reply = note.before, note.reply
        session, cohort, survivors = state.paired.session, state.before.cohort, state.survivors
        released = {*slices(reply.own), *slices(reply.edges)}
        due = set()
        for site, row in state.shares.items():
            own, *rest = slices(row)
            due.add(own)
            for peer, edge in zip(near(session, cohort, site), rest, strict=True):
                if peer in survivors and edge in released and own in released:
                    yield f"{note.site} released both sorts of shares of {site}"
                if peer not in survivors:
                    due.add(edge)
        if released != due or len(reply.own + reply.edges) != SHARE * len(due):
            yield f"{note.site} released other shares than the {len(due)} that are due"

    def _erased(self, note: Answered) -> Iterator[str]:
        """What a site holds afterwards opens nothing of the step."""
        kept = encode(note.after)
        old = note.before.paired
        if any(secret in kept for secret in (old.seed, *old.pairs.values())):
            yield f"{note.site} still holds a secret of a step that is over"


def _element(share: bytes) -> int:
    return int.from_bytes(share, "little")
