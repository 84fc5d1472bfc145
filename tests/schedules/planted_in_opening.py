"""Planted bugs: locking, unmasking, opening."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from hansa.crypto import shamir
from hansa.crypto.keys import digest, verify
from hansa.errors import ProtocolViolation
from hansa.protocols import masks, secure_sum
from hansa.protocols import survivors as checks
from hansa.protocols.base import RingBits
from hansa.protocols.secure_sum import AwaitContributions, AwaitShares, LockedSet, Masked, Shares
from tests.schedules import parties
from tests.schedules.events import DeadlineFires, Heal, Partition, Schedule, Until
from tests.schedules.planting import Patch, answers_with, believed, except_for, let_pass, planted

SILENT = (Until("AwaitContributions"), Partition("a"), Partition("b"), DeadlineFires(), Heal())
SILENT_AT_LAST = (Until("AwaitShares"), Partition("a"), DeadlineFires(), Heal())

# ---- locking ----


def _survivors(patch: Patch, *rules: Callable[[Any, Any, Any], bool]) -> None:
    """Survivors are checked by these rules alone."""

    def check(names: Any, session: Any, cohort: Any) -> None:
        if not all(rule(names, session, cohort) for rule in rules):
            raise ProtocolViolation("the survivors do not hold")

    patch.setattr(secure_sum, "check_survivors", check)


def _sorted(names: Any, _session: Any, cohort: Any) -> bool:
    return list(names) == sorted(set(names)) and set(names) <= set(cohort)


def _enough(names: Any, session: Any, _cohort: Any) -> bool:
    return bool(len(names) >= session.floors.survivors)


def _kept(names: Any, session: Any, _cohort: Any) -> bool:
    return all(len(secure_sum.edges(session, set(names), site)) >= session.floors.kept for site in names)


@planted("a survivor set below the floor is locked", lie="set below the floor")
def floor_not_checked(patch: Patch) -> None:
    _survivors(patch, _sorted)


@planted("a survivor with too few neighbours is locked", lie="survivor without neighbours")
def kept_not_checked(patch: Patch) -> None:
    _survivors(patch, _sorted, _enough)


@planted("survivors may stand twice and in any order", lie="survivor twice")
def survivors_not_unique(patch: Patch) -> None:
    _survivors(patch, _enough)


@planted("survivors may stand in any order", lie="unsorted survivors")
def survivors_not_sorted(patch: Patch) -> None:
    _survivors(patch, _enough, _kept)


@planted("tags are not compared", lie="wrong tag")
def tags_not_checked(patch: Patch) -> None:
    patch.setattr(secure_sum, "check_tags", believed)


@planted("a member compares the tags of its own edges only", lie="wrong tag")
def tags_of_own_edges(patch: Patch) -> None:
    true = secure_sum.check_tags

    def own(inner: Patch, state: Masked) -> None:
        def check(headers: Any, session: Any, cohort: Any) -> None:
            for header in headers:
                if state.paired.site in session.neighbours(header.site):
                    true([header, state.header], session, cohort)

        inner.setattr(secure_sum, "check_tags", check)

    answers_with(patch, Masked, own)


@planted("headers are not checked against their signatures", lie="forged header")
def headers_not_verified(patch: Patch) -> None:
    patch.setattr(checks, "verify", except_for("sum/header"))


@planted("a header of another sum is locked", lie="old header")
def old_header_locked(patch: Patch) -> None:
    def check(header: Any, session: Any, _sid: bytes, _cohort: Any) -> None:
        verify(session.key(header.site), "sum/header", header.signed(), header.signature)

    patch.setattr(secure_sum, "check_header", check)
    patch.setattr(secure_sum, "check_tags", believed)


@planted("a site locks a set without itself", lie="survivors without the site")
def locks_without_itself(patch: Patch) -> None:
    true = Masked.answer

    def answer(self: Masked, request: Any, own: Any) -> Any:
        if self.header in request.headers or not request.headers:
            return true(self, request, own)
        survivors = tuple(header.site for header in request.headers)
        locked = secure_sum.lock_digest(self.before.sid, survivors, secure_sum.headers_digest(request.headers))
        state = LockedSet(self.paired, self.step, replace(self.before, locked=locked), survivors, {})
        return state, secure_sum.Locked(own.key.sign("sum/lock", locked))

    patch.setattr(Masked, "answer", answer)


@planted("the hub keeps survivors with too few neighbours", played=Schedule(0, 7, 1, SILENT, large=True))
def lonely_not_left_out(patch: Patch) -> None:
    patch.setattr(secure_sum, "with_neighbours", lambda _session, sites: sorted(sites))


# ---- unmasking ----


def _lower(patch: Patch, threshold: Callable[[int], int]) -> None:
    """A locked set is opened for fewer signatures."""
    true = LockedSet.answer

    def answer(self: LockedSet, request: Any, own: Any) -> Any:
        session = self.paired.session
        lower = replace(session, floors=replace(session.floors, threshold=threshold(session.floors.threshold)))
        following, shares = true(replace(self, paired=replace(self.paired, session=lower)), request, own)
        return replace(following, paired=replace(following.paired, session=session)), shares

    patch.setattr(LockedSet, "answer", answer)


@planted("a threshold of one signature less unmasks", lie="fewer signatures")
def signatures_off_by_one(patch: Patch) -> None:
    _lower(patch, lambda threshold: threshold - 1)


@planted("lock signatures are not checked", lie="forged signatures")
def lock_signatures_not_verified(patch: Patch) -> None:
    patch.setattr(checks, "verify", except_for("sum/lock"))


@planted("lock signatures are not checked, and there are two sets", lie="two survivor sets")
def two_sets_unmasked(patch: Patch) -> None:
    patch.setattr(checks, "verify", except_for("sum/lock"))
    _lower(patch, lambda _threshold: 0)


@planted("signatures need no quorum", lie="two survivor sets")
def without_quorum(patch: Patch) -> None:
    _lower(patch, lambda _threshold: 0)


@planted("a survivor's signature counts though it is no member", lie="signatures off the committee")
def signed_by_anybody(patch: Patch) -> None:
    answers_with(
        patch, LockedSet, lambda inner, _self: inner.setattr(checks, "members", lambda _session, names: list(names))
    )


@planted("a member releases both sorts of shares")
def both_sorts(patch: Patch) -> None:
    true = LockedSet.answer

    def answer(self: LockedSet, request: Any, own: Any) -> Any:
        following, shares = true(self, request, own)
        more = b"".join(self.shares[site][shamir.ELEMENT_BYTES :] for site in self.survivors)
        return following, Shares(shares.own, shares.edges + more)

    patch.setattr(LockedSet, "answer", answer)


@planted("shares of edges to the wrong site are released")
def edges_off_by_one(patch: Patch) -> None:
    true = LockedSet._share

    def share(self: LockedSet, site: str, place: int) -> bytes:
        return true(self, site, 1 + place % (len(self.shares[site]) // shamir.ELEMENT_BYTES - 1))

    patch.setattr(LockedSet, "_share", share)


@planted("shares are opened at indices one too low")
def share_index_off_by_one(patch: Patch) -> None:
    true = masks.open_all
    patch.setattr(masks, "open_all", lambda indices, rows, threshold: true([at + 1 for at in indices], rows, threshold))


@planted("a member's Shamir index is its place in the roster")
def index_in_the_roster(patch: Patch) -> None:
    true = secure_sum.open_masks

    def opened(session: Any, sid: bytes, cohort: Any, headers: Any, replies: Any) -> Any:
        other = replace(session)
        vars(other)["committee"] = {site: session.places[site] + 1 for site in session.committee}
        return true(other, sid, cohort, headers, replies)

    patch.setattr(secure_sum, "open_masks", opened)


@planted("Lagrange's weights have a wrong sign")
def lagrange_wrong(patch: Patch) -> None:
    true = shamir.weights
    patch.setattr(shamir, "weights", lambda indices: tuple(-weight % shamir.PRIME for weight in true(indices)))


@planted("the secret that is opened is not checked against its commitment", lie="false share at the threshold")
def commitment_not_checked(patch: Patch) -> None:
    patch.setattr(secure_sum, "self_commitment", lambda own, sid: digest("sum/self commitment", sid))


@planted("the edges of the dropped are not checked against their tags", lie="false share of an edge")
def opened_edges_not_checked(patch: Patch) -> None:
    true = masks.open_all

    def first_only(indices: Any, columns: Any, threshold: int) -> Any:
        return true(indices[:threshold], columns[:threshold], threshold)

    patch.setattr(masks, "open_all", first_only)
    patch.setattr(secure_sum, "edge_tag", lambda edge, sid: bytes(16))


@planted("who did not open the last total is asked for the next", played=Schedule(0, 4, 2, SILENT_AT_LAST))
def quiet_go_on(patch: Patch) -> None:
    true = AwaitShares.close

    def close(self: AwaitShares, replies: Any) -> Any:
        done = true(self, replies)
        return replace(done, output=replace(done.output, active=done.output.before.survivors))

    patch.setattr(AwaitShares, "close", close)


# ---- what lies beside ----


@planted("contributions are not checked against what was signed", lie="another vector than signed")
def root_not_checked(patch: Patch) -> None:
    let_pass(patch, AwaitContributions, "check", "is not the one it signed")


@planted("a vector may have any number of chunks", lie="vector of another number of chunks")
def chunks_not_counted(patch: Patch) -> None:
    let_pass(patch, AwaitContributions, "check", "is of another site or size")


@planted("chunks are not checked against their digests", lie="another vector than named")
def digests_not_checked(patch: Patch) -> None:
    patch.setattr(parties, "arrived", lambda _state, _letter: True)


@planted("a chunk may have any size", lie="vector of another size")
def sizes_not_checked(patch: Patch) -> None:
    true = masks.total

    def total(parts: Iterable[bytes], hides: Any, number: int, size: int, ring: RingBits) -> bytes:
        return true((part[:size].ljust(size, b"\0") for part in parts), hides, number, size, ring)

    patch.setattr(parties, "fit", lambda _state, _chunks: True)
    patch.setattr(masks, "total", total)
