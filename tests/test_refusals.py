"""What `secure-sum` says is refused, by its number.

 1  a site listed as both alive and dropped          test_1_no_site_is_both_survivor_and_dropped
                                                     test_1_a_survivor_named_twice_is_refused
 2  two survivor sets for one sum                    test_2_two_survivor_sets_are_never_both_unmasked
                                                     test_2_a_committee_however_it_is_split_unmasks_one_set
 3  a redelivered request that gets other bytes      test_3_the_same_request_again_gets_the_same_bytes
                                                     test_3_a_state_answers_one_request_with_one_contribution
 4  a substituted key in setup                       test_4_a_key_that_the_hub_substitutes_is_found
                                                     test_4_a_ciphertext_that_the_hub_substitutes_is_found
 5  different public state to one site               test_5_another_public_state_for_one_site_ends_the_sum
                                                     test_5_a_site_that_hides_another_public_state_has_other_tags
 6  a plan that could overflow                       test_6_a_step_that_could_overflow_is_refused
 7  a number added to one coordinate of the total    test_replay: test_a_number_added_to_any_one_coordinate_…_is_found
 8  two sites, or too few honest ones                test_8_two_sites_or_too_few_honest_ones_begin_nothing
                                                     test_8_no_survivor_set_with_too_few_honest_sites_is_locked
 9  masks equal between two steps                    test_9_masks_of_two_steps_have_nothing_in_common
10  all but κ − 1 neighbours of a survivor dropped   test_10_a_survivor_without_enough_neighbours_is_refused
                                                     test_10_a_cohort_that_leaves_a_site_too_few_neighbours_is_refused
11  a retry with a cohort that differs by one site   test_11_a_step_is_not_tried_again_with_one_site_fewer
12  a share out of range, index 0, an index twice    test_12_a_share_that_is_no_field_element_is_refused
                                                     test_12_an_index_of_zero_or_twice_is_refused
13  a step or an attempt going back                  test_13_a_step_that_goes_back_or_leaves_one_out_is_refused
                                                     test_13_an_attempt_at_setup_that_goes_back_is_refused
14  a stale deadline closing a later round           test_14_a_stale_deadline_closes_no_later_round

More attacks on the protocol's states: `test_key_setup.py`, `test_lying_hub.py`, `test_lying_members.py`; on whole
parties with their databases: `test_lying_letters.py`.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from sqlalchemy.orm import Session as Database

from hansa.crypto import shamir
from hansa.crypto.keys import HybridKey, SigningKey, encapsulate
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import rounds
from hansa.hub.models import Job
from hansa.jobs.base import Reals, Step, check_step, reals
from hansa.mail.letters import Reply, Round
from hansa.messages import HUB, encode
from hansa.protocols import key_setup, masks
from hansa.protocols.base import RingBits
from hansa.protocols.key_setup import Delivered, Manifest, Offers, Session
from hansa.protocols.secure_sum import Contribute, Lock, Unmask
from hansa.protocols.survivors import edges, headers_digest, lock_digest
from hansa.protocols.thresholds import Floors
from tests.protocol_runs import (
    PLAN,
    Hooks,
    Parties,
    agreed,
    close,
    lock_requests,
    names,
    others,
    plain,
    refuses,
    silent,
)
from tests.test_lying_letters import VICTIM, force, replies_of, sent_to, settle, state_of, until_round
from tests.world import World

FOUR = names(4)
SPARSE = (210, 21)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def member_and_other(session: Session) -> tuple[str, ...]:
    """A site of the committee, and one that is not on it where there is one."""
    outside = [site for site in session.roster if site not in session.committee]
    return (next(iter(session.committee)), *outside[:1])


# 1


@pytest.mark.parametrize("count", [4, 60])
@pytest.mark.parametrize("gone", [(), (0,), (2,), (3,)])
def test_1_no_site_is_both_survivor_and_dropped(gone: tuple[int, ...], count: int) -> None:
    """Shares of a site's own mask are released, or of its edges to the dropped; for the dropped itself, none."""
    parties, session = agreed(count)
    gone_sites = tuple(parties.sites[place] for place in gone)
    ask = parties.at_unmask(session, *gone_sites)
    for member in ask.requests:
        held = parties.states[member].shares  # type: ignore[attr-defined]
        reply = parties.deliver(member, ask.requests[member])
        released = set(masks.cut(reply.own + reply.edges, shamir.ELEMENT_BYTES))
        for site, shares in held.items():
            own, *of_edges = masks.cut(shares, shamir.ELEMENT_BYTES)
            assert own in released
            for peer, edge in zip(others(parties.sites, site), of_edges, strict=True):
                assert (edge in released) == (peer in gone_sites)
        assert len(released) == len(held) * (1 + len(gone))
        assert not set(gone_sites) & set(held)
        refuses(parties, member, ask.requests[member], "not a Contribute")  # a second time, whoever is dropped now


@pytest.mark.parametrize("count", [4, 60])
def test_1_a_survivor_named_twice_is_refused(count: int) -> None:
    parties, session = agreed(count)
    ask = parties.at_lock(session)
    lock = ask.requests[member := next(iter(session.committee))]
    assert isinstance(lock, Lock)
    refuses(parties, member, replace(lock, headers=(lock.headers[0], *lock.headers)), "each once")
    refuses(parties, member, replace(lock, headers=lock.headers[::-1]), "sorted")


# 2


def unmasked_sets(
    parties: Parties,
    requests: Mapping[tuple[str, ...], Mapping[str, Lock]],
    shown: Mapping[str, tuple[str, ...]],
    corrupt: Sequence[str],
) -> set[tuple[str, ...]]:
    """Which sets at least one honest member opens, where each was `shown` one and the corrupt sign all of them."""
    signatures = {survivors: dict[str, bytes]() for survivors in requests}
    for site, survivors in shown.items():
        signatures[survivors][site] = parties.deliver(site, requests[survivors][site]).signature
    for survivors, asked in requests.items():
        headers = next(iter(asked.values())).headers
        locked = lock_digest(headers[0].sid, survivors, headers_digest(headers))
        for site in corrupt:
            signatures[survivors][site] = parties.keys[site].sign("sum/lock", locked)
    opened = set()
    for site, survivors in shown.items():
        try:
            parties.deliver(site, Unmask(dict(sorted(signatures[survivors].items()))))
            opened.add(survivors)
        except ProtocolViolation:
            continue
    return opened


@pytest.mark.parametrize(("count", "corrupt"), [(4, ("a",)), (4, ("d",)), (5, ("c",)), (7, ("b", "f"))])
def test_2_two_survivor_sets_are_never_both_unmasked(count: int, corrupt: tuple[str, ...]) -> None:
    """The hub shows one set to one part of the honest members and another to the rest; its friends sign both."""
    parties, session = agreed(count)
    _, replies = parties.contributed(session)
    honest = others(parties.sites, *corrupt)
    sets = [parties.sites, others(parties.sites, honest[-1])]
    requests = {survivors: lock_requests(session, parties.sites, replies, survivors) for survivors in sets}
    several = 0
    for split in itertools.product(sets, repeat=len(honest)):
        shown = dict(zip(honest, split, strict=True))
        if all(site in survivors for site, survivors in shown.items()):
            opened = unmasked_sets(parties.copy(), requests, shown, corrupt)
            assert len(opened) <= 1
            several += bool(opened)
    assert several  # somebody opens something: the attack is not refused for another reason


def test_2_a_committee_however_it_is_split_unmasks_one_set() -> None:
    """Of 32 members as many are corrupt as the bound allows; the sets differ by a site that is not on it."""
    parties, session = agreed(60)
    _, replies = parties.contributed(session)
    committee, floors = list(session.committee), session.floors
    worst = 2 * floors.threshold - floors.committee - 1
    corrupt, honest = committee[:worst], committee[worst:]
    sets = [parties.sites, others(parties.sites, member_and_other(session)[1])]
    requests = {survivors: lock_requests(session, parties.sites, replies, survivors) for survivors in sets}
    found = []
    for at in range(len(honest) + 1):
        shown = {site: sets[place >= at] for place, site in enumerate(honest)}
        found.append(unmasked_sets(parties.copy(), requests, shown, corrupt))
    assert all(len(opened) <= 1 for opened in found)
    assert {next(iter(opened)) for opened in found if opened} == set(sets)


# 3


@pytest.mark.parametrize("number", [3, 5])
def test_3_the_same_request_again_gets_the_same_bytes(world: World, number: int) -> None:
    """A contribution, and the ciphertexts of setup's third round, for which the library draws chance of its own."""
    run = world.propose()
    until_round(world, run, number + 1)
    asked = [payload for payload in sent_to(world, VICTIM, run) if isinstance(payload, Round)]
    again = next(payload for payload in asked if payload.number == number)
    settle(world, VICTIM)
    before = state_of(world, VICTIM, run)
    force(world, VICTIM, run, "round", again)
    told = [reply for reply in replies_of(world, VICTIM, run) if isinstance(reply, Reply)]
    same = [(reply.message, reply.beside) for reply in told if reply.number == again.number]
    assert len(same) == 2
    assert same[0] == same[1]
    assert state_of(world, VICTIM, run) == before


@pytest.mark.parametrize("count", [4, 60])
def test_3_a_state_answers_one_request_with_one_contribution(count: int) -> None:
    """Asked again from the state before, as after a crash, a site makes the same bytes; from the state after, none."""
    parties, session = agreed(count)
    for site in member_and_other(session):
        request, twin = parties.begin(session).requests[site], parties.copy()
        reply = parties.deliver(site, request)
        assert encode(reply) == encode(twin.deliver(site, request))
        assert np.array_equal(parties.masked(reply), twin.masked(reply))
        refuses(parties, site, request, "not a Lock|step goes back")


# 4


@pytest.mark.parametrize("signer", ["nobody", "the hub", "another site"])
def test_4_a_key_that_the_hub_substitutes_is_found(signer: str) -> None:
    parties = Parties(FOUR)
    offers = parties.next(key_setup.begin(PLAN, 0, parties.public, -1, 3)).requests["a"].offers
    forged = replace(offers[1], public=HybridKey(bytes(96)).public)
    key = {"the hub": SigningKey(bytes(32)), "another site": parties.keys["c"]}.get(signer)
    if key is not None:
        manifest = parties.states["a"].manifest.digest  # type: ignore[attr-defined]
        forged = replace(forged, signature=key.sign("setup/offer", forged.signed(manifest, "b")))
    refuses(parties, "a", Offers((offers[0], forged, *offers[2:])), "signature")


def test_4_a_ciphertext_that_the_hub_substitutes_is_found() -> None:
    """Whoever breaks X25519 would know the pair's secret if its own ML-KEM secret were taken."""
    parties = Parties(FOUR)
    ask: Any = key_setup.begin(PLAN, 0, parties.public, -1, 3)
    for _ in range(3):
        ask = parties.next(ask)
    public = parties.states["b"].earlier["a"]  # type: ignore[attr-defined]
    sent = ask.requests["b"].sent
    refuses(parties, "b", Delivered((replace(sent[0], ciphertext=encapsulate(public)[1]), *sent[1:])), "signature")


# 5


def lie_to(victim: str) -> Callable[[str, Any], Contribute]:
    return lambda site, asked: replace(asked, public=b"other") if site == victim else asked


@pytest.mark.parametrize("count", [4, 60])
def test_5_another_public_state_for_one_site_ends_the_sum(count: int) -> None:
    parties, session = agreed(count)
    ask = parties.begin(session)
    for victim in member_and_other(session):
        twin = parties.copy()
        replies = twin.ask(ask, Hooks(request=lie_to(victim)))
        with pytest.raises(ProtocolViolation, match="another sum"):
            close(ask, replies)
        requests = lock_requests(session, parties.sites, replies, parties.sites)
        for site in session.committee:
            refuses(twin, site, requests[site], "another sum")


@pytest.mark.parametrize("count", [4, 60])
def test_5_a_site_that_hides_another_public_state_has_other_tags(count: int) -> None:
    """A corrupt site signs the sid that the others have, over the masks that it made for another state."""
    parties, session = agreed(count)
    ask = parties.begin(session)
    liar = member_and_other(session)[-1]
    replies = parties.ask(ask, Hooks(request=lie_to(liar)))
    sid = next(reply.header.sid for site, reply in replies.items() if site != liar)
    header = parties.signed(replies[liar].header, sid=sid)
    replies[liar] = replace(replies[liar], header=header)
    requests = lock_requests(session, parties.sites, replies, parties.sites)
    for site in others(list(session.committee), liar):
        refuses(parties, site, requests[site], "two tags")


# 6


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("sites", [3, 1000])
def test_6_a_step_that_could_overflow_is_refused(sites: int, bits: RingBits) -> None:
    fits = Reals("x", (2,), (2.0 ** (bits - 1) - 1) // sites, 1.0)
    check_step(Step("fits", (fits,)), sites, bits)
    for block in (replace(fits, bound=fits.bound * 1.01), replace(fits, step=0.5), replace(fits, bound=float("inf"))):
        with pytest.raises(Refused):
            check_step(Step("overflows", (fits, replace(block, name="y"))), sites, bits)
    with pytest.raises(Refused, match="could overflow"):
        check_step(Step("overflows", (fits,)), 2 * sites, bits)
    check_step(Step("as fine as it may be", (reals("x", (2,), 3.7e9, sites),)), sites)


# 8


def test_8_two_sites_or_too_few_honest_ones_begin_nothing() -> None:
    for sites, corrupt in ((1, 0), (2, 0), (2, -1), (3, 2), (4, 3), (60, 59)):
        with pytest.raises(NotEnoughSites):
            Parties(names(sites), corrupt=corrupt, minimum=0).setup()
    parties = Parties(FOUR)
    manifest = key_setup.begin(PLAN, 0, parties.public, -1, 3).requests["a"]
    assert isinstance(manifest, Manifest)
    pair = Floors(0, 2, 2, 2, 1, 1)
    with pytest.raises(ProtocolViolation, match="too small"):
        parties.deliver("a", replace(manifest, roster=("a", "b"), floors=pair))


def test_8_no_survivor_set_with_too_few_honest_sites_is_locked() -> None:
    """Two of five may collude: a set of four, two of them honest, is the smallest."""
    parties, session = agreed(5, 2)
    assert session.floors.survivors == 4
    _, replies = parties.contributed(session)
    for survivors in itertools.combinations(parties.sites, 3):
        requests = lock_requests(session, parties.sites, replies, survivors)
        for site in survivors:
            refuses(parties, site, requests[site], "below the floor")
    twin = agreed(5, 2)[0]
    refuses(twin, "a", replace(twin.begin(session).requests["a"], cohort=("a", "b", "c")), "floor")


# 9


@pytest.mark.parametrize("ring", [64, 32])
def test_9_masks_of_two_steps_have_nothing_in_common(ring: RingBits) -> None:
    """The same numbers, the same public state, the same sites: all that differs is the step and the receipt."""
    parties, session = agreed(4, ring=ring)
    parties.vectors = {site: np.arange(512, dtype=masks.element(ring)) for site in parties.sites}
    seen, before = [], None
    for step in range(3):
        ask = parties.begin(session, step, before and before.receipt)
        replies = parties.ask(ask)
        seen += [parties.masked(reply) - parties.vectors[site] for site, reply in replies.items()]
        before = parties.run(close(ask, replies))
        assert before.vector().tolist() == plain(parties.vectors, FOUR)
    for one, two in itertools.combinations(seen, 2):
        assert np.count_nonzero(one == two) <= (ring == 32)  # by chance 512 · 66 / 2^32 in all
        assert len(set((one - two).tolist())) > 500  # nor do they differ by a constant


# 10


def test_10_a_survivor_without_enough_neighbours_is_refused() -> None:
    """The hub declares just so many neighbours dropped that κ − 1 are left; everything else about it holds."""
    parties, session = agreed(*SPARSE)
    _, replies = parties.contributed(session)
    spare = session.floors.degree - session.floors.kept
    for victim in member_and_other(session):
        around = session.neighbours(victim)
        exposed, safe = (others(parties.sites, *around[:count]) for count in (spare + 1, spare))
        assert len(edges(session, set(exposed), victim)) == session.floors.kept - 1
        asked = lock_requests(session, parties.sites, replies, exposed)
        for site in list(asked)[:2]:
            refuses(parties, site, asked[site], "too few neighbours")
        asked = lock_requests(session, parties.sites, replies, safe)
        twin = parties.copy()
        assert twin.deliver(next(iter(asked)), next(iter(asked.values()))).signature


def test_10_a_cohort_that_leaves_a_site_too_few_neighbours_is_refused() -> None:
    parties, session = agreed(*SPARSE)
    spare = session.floors.degree - session.floors.kept
    for victim in member_and_other(session):
        request = parties.begin(session).requests[victim]
        around = session.neighbours(victim)
        fewer = replace(request, cohort=others(parties.sites, *around[: spare + 1]))
        refuses(parties, victim, fewer, "too few neighbours")
        enough = replace(request, cohort=others(parties.sites, *around[:spare]))
        assert parties.copy().deliver(victim, enough).header.site == victim


# 11


@pytest.mark.parametrize("count", [4, 60])
def test_11_a_step_is_not_tried_again_with_one_site_fewer(count: int) -> None:
    """The difference of the two totals would be the numbers of the site that is left out."""
    parties, session = agreed(count)
    for site in member_and_other(session):
        request, target = parties.begin(session).requests[site], parties.sites[-1 if site != parties.sites[-1] else -2]
        fewer = others(parties.sites, target)
        refuses(parties, site, replace(request, attempt=1), "Contribute")
        first = parties.deliver(site, request)
        for again in (
            replace(request, cohort=fewer),
            replace(request, cohort=fewer, step=1),
            replace(request, cohort=fewer, attempt=1),
        ):
            refuses(parties, site, again, "not a Lock|step goes back|receipt|Contribute")
        twin = agreed(count)[0]  # not even a site that was set back to an old copy of itself: no mask is the same
        second = twin.deliver(site, replace(request, cohort=fewer))
        assert not np.any(parties.masked(first) == twin.masked(second))


# 12


@pytest.mark.parametrize("count", [4, 60])
@pytest.mark.parametrize("value", [shamir.PRIME, shamir.PRIME + 1, 2**255, 2**256 - 1])
def test_12_a_share_that_is_no_field_element_is_refused(value: int, count: int) -> None:
    parties, session = agreed(count)
    ask = parties.at_unmask(session)
    replies = parties.ask(ask)
    for site in (list(replies)[1], list(replies)[-1]):
        own = replies[site].own[:64] + value.to_bytes(32, "little") + replies[site].own[96:]
        with pytest.raises(ProtocolViolation, match="canonical"):
            close(ask, {**replies, site: replace(replies[site], own=own)})


def test_12_an_index_of_zero_or_twice_is_refused() -> None:
    """An index comes from the committee, which counts from one; what opens shares holds to that by itself."""
    parties, session = agreed(60)
    assert list(session.committee.values()) == list(range(1, len(session.committee) + 1))
    threshold = session.floors.threshold
    columns = [bytes([number]) * 32 for number in range(threshold + 1)]
    for indices in (
        [0, *range(1, threshold + 1)],
        [*range(1, threshold + 1), threshold],
        [-1, *range(1, threshold + 1)],
    ):
        with pytest.raises(ProtocolViolation, match="index of a share"):
            masks.open_all(indices, columns, threshold)
    assert parties.sites == session.roster


# 13


@pytest.mark.parametrize("count", [4, 60])
@pytest.mark.parametrize("step", [0, 1, 3, 9])
def test_13_a_step_that_goes_back_or_leaves_one_out_is_refused(step: int, count: int) -> None:
    parties, session = agreed(count)
    first = parties.begin(session)
    summed = parties.total(session, 1, parties.total(session, 0))
    for site in member_and_other(session):
        asked = parties.begin(session, step, summed.receipt).requests[site]
        assert isinstance(asked, Contribute)
        refuses(parties, site, asked, "step goes back")
        refuses(parties, site, first.requests[site], "step goes back")
    assert parties.total(session, 2, summed).vector().tolist() == plain(parties.vectors, parties.sites)


def test_13_an_attempt_at_setup_that_goes_back_is_refused() -> None:
    parties = Parties(FOUR)
    parties.setup(Hooks(silent(Offers, "d")))
    parties.invite(2)
    for attempt in (0, 1):
        manifest = key_setup.begin(PLAN, attempt, parties.public, -1, 3).requests["a"]
        refuses(parties, "a", manifest, "earlier attempt")


# 14


def test_14_a_stale_deadline_closes_no_later_round(world: World) -> None:
    run = world.propose()
    until_round(world, run, 3)
    stale = world.job(run).deadline
    assert stale is not None
    world.now += 5
    until_round(world, run, 5)
    job = world.job(run)
    assert job.deadline is not None
    assert job.deadline > stale
    with Database(world.engines[HUB]) as db, db.begin():
        row = db.get_one(Job, run)
        rounds.close_at_deadline(db, world.desks[HUB], row, stale)
        assert (row.round, row.state) == (job.round, job.state)
    assert world.finish(run).status == "done"
