"""Secure sum among honest sites: right totals whoever vanishes, what the hub sees of it, what is left afterwards.

Above 50 sites: `test_many_sites.py`; long vectors: `test_chunks.py`; attacks: `test_lying_hub.py`,
`test_lying_members.py` and the list of `test_refusals.py`.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.errors import NotEnoughSites
from hansa.messages import encode
from hansa.protocols.base import Message, Own, RingBits
from hansa.protocols.key_setup import Session
from hansa.protocols.masks import edge_secret, element
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Unmask, Waiting
from hansa.protocols.thresholds import Floors
from tests.protocol_runs import SUM, Hooks, Parties, agreed, close, names, others, plain, silent
from tests.real_rows import Chance

quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)
FOUR = names(4)


# Totals, and who may vanish


@pytest.mark.parametrize("ring", [64, 32])
@pytest.mark.parametrize("count", range(3, 10))
def test_the_total_is_the_sum_of_everybody(count: int, ring: RingBits) -> None:
    parties, session = agreed(count, ring=ring)
    summed = parties.total(session)
    assert summed.vector().tolist() == plain(parties.vectors, parties.sites)
    assert summed.vector().dtype == element(ring)
    assert summed.survivors == summed.active == parties.sites


@pytest.mark.parametrize("site", FOUR)
@pytest.mark.parametrize("round_", SUM)
def test_any_one_of_four_may_vanish_in_any_round_of_a_sum(round_: type[Message], site: str) -> None:
    parties, session = agreed(4)
    summed = parties.total(session, hooks=Hooks(silent(round_, site)))
    left = others(FOUR, site)
    assert summed.survivors == (left if round_ is Contribute else FOUR)
    assert summed.active == left
    assert summed.vector().tolist() == plain(parties.vectors, summed.survivors)
    again = parties.total(session, 1, summed)
    assert again.survivors == left
    assert again.vector().tolist() == plain(parties.vectors, left)


@pytest.mark.parametrize("pair", list(itertools.combinations(names(7), 2)))
def test_any_two_of_seven_may_vanish_before_they_contribute(pair: tuple[str, str]) -> None:
    parties, session = agreed(7)
    summed = parties.total(session, hooks=Hooks(silent(Contribute, *pair)))
    assert summed.vector().tolist() == plain(parties.vectors, others(parties.sites, *pair))


@quick
@given(st.data())
def test_whoever_vanishes_the_total_is_over_the_survivors_or_there_is_none(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 9))
    parties, session = agreed(count, ring=data.draw(st.sampled_from([64, 32])))
    places = data.draw(st.lists(st.sampled_from([None, None, None, *SUM]), min_size=count, max_size=count))
    leaves = dict(zip(parties.sites, places, strict=True))
    there = dict.fromkeys(SUM, 0)
    for at, round_ in enumerate(SUM):
        there[round_] = sum(leaves[site] not in SUM[: at + 1] for site in parties.sites)
    floors = session.floors
    enough = there[Contribute] >= floors.survivors and min(there[Lock], there[Unmask]) >= floors.threshold
    hooks = Hooks(lambda asked, site: leaves[site] is asked)
    if not enough:
        with pytest.raises(NotEnoughSites):
            parties.total(session, hooks=hooks)
        return
    summed = parties.total(session, hooks=hooks)
    assert list(summed.survivors) == [site for site in parties.sites if leaves[site] is not Contribute]
    assert list(summed.active) == [site for site in parties.sites if leaves[site] is None]
    assert summed.vector().tolist() == plain(parties.vectors, summed.survivors)


@quick
@given(st.data())
@pytest.mark.parametrize("ring", [64, 32])
def test_totals_wrap_around_the_ring(ring: RingBits, data: st.DataObject) -> None:
    parties, session = agreed(3, ring=ring)
    edge = st.sampled_from([0, 1, 2 ** (ring - 1), 2 ** (ring - 1) - 1, 2**ring - 1])
    elements = st.one_of(st.integers(0, 2**ring - 1), edge)
    length = data.draw(st.integers(1, 6))
    for site in parties.sites:
        drawn = data.draw(st.lists(elements, min_size=length, max_size=length))
        parties.vectors[site] = np.array(drawn, dtype=element(ring))
    assert parties.total(session).vector().tolist() == plain(parties.vectors, parties.sites)


@pytest.mark.parametrize(("sites", "bearable"), [(3, 0), (4, 1), (5, 1), (6, 2), (7, 2), (10, 3)])
def test_three_sites_bear_no_drop_out_four_bear_one_seven_bear_two(sites: int, bearable: int) -> None:
    floors = Floors.of(sites, -1, 3)
    assert sites - floors.survivors == bearable
    parties, session = agreed(sites)
    with pytest.raises(NotEnoughSites):
        parties.total(session, hooks=Hooks(silent(Contribute, *parties.sites[: bearable + 1])))


@pytest.mark.parametrize(("sites", "corrupt", "minimum"), [(2, -1, 3), (3, 2, 3), (4, 4, 3), (5, -1, 6), (1, 0, 0)])
def test_a_roster_for_which_no_floor_can_be_met_does_not_begin(sites: int, corrupt: int, minimum: int) -> None:
    with pytest.raises(NotEnoughSites):
        Parties(names(sites), corrupt=corrupt, minimum=minimum).setup()


def test_the_hub_begins_no_sum_below_the_floor() -> None:
    parties, session = agreed(4)
    with pytest.raises(NotEnoughSites):
        parties.begin(session, cohort=("a", "b"))


def test_many_sums_follow_one_setup_while_sites_leave() -> None:
    parties, session = agreed(7)
    before, leaves = None, {1: "c", 3: "f"}
    for step in range(5):
        hooks = Hooks(silent(Contribute, leaves[step])) if step in leaves else Hooks()
        before = parties.total(session, step, before, hooks)
        assert before.vector().tolist() == plain(parties.vectors, before.survivors)
    assert before is not None
    assert before.survivors == ("a", "b", "d", "e", "g")


@pytest.mark.parametrize(("ring", "given"), [(64, np.uint32), (32, np.uint64), (64, np.int64), (64, np.float64)])
def test_numbers_of_another_ring_are_our_own_mistake(ring: RingBits, given: type) -> None:
    parties, session = agreed(4, ring=ring)
    request, state = parties.begin(session).requests["a"], parties.states["a"]
    with pytest.raises(ValueError, match="ring"):
        state.answer(request, Own(parties.keys["a"], np.zeros(3, given)))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="needs the site's numbers"):
        state.answer(request, Own(parties.keys["a"]))  # type: ignore[attr-defined]


# What the hub sees


@pytest.mark.parametrize("ring", [64, 32])
def test_what_the_hub_sees_of_a_vector_is_not_the_vector(ring: RingBits) -> None:
    parties, session = agreed(4, ring=ring)
    _, replies = parties.contributed(session)
    for site, reply in replies.items():
        assert not np.any(parties.masked(reply) == parties.vectors[site])


def test_a_vector_is_masked_in_place() -> None:
    parties, session = agreed(4)
    own = Own(parties.keys["a"], parties.vectors["a"].copy())
    _, reply = parties.states["a"].answer(parties.begin(session).requests["a"], own)  # type: ignore[attr-defined]
    assert parties.put(own.vector) == reply.chunks  # type: ignore[arg-type]
    assert not np.any(own.vector == parties.vectors["a"])


def masks(parties: Parties, replies: Mapping[str, Contributed]) -> dict[str, bytes]:
    return {site: (parties.masked(reply) - parties.vectors[site]).tobytes() for site, reply in replies.items()}


def test_masks_are_never_the_same_in_two_steps() -> None:
    parties, session = agreed(4)
    parties.vectors = {site: np.arange(32, dtype=np.uint64) for site in parties.sites}
    seen: list[bytes] = []
    before = None
    for step in range(3):
        ask = parties.begin(session, step, before and before.receipt)
        replies = parties.ask(ask)
        seen += masks(parties, replies).values()
        before = parties.run(close(ask, replies))
    words = [mask[at : at + 8] for mask in seen for at in range(0, len(mask), 8)]
    assert len(set(words)) == len(words) == 3 * 4 * 32


@pytest.mark.parametrize("change", [{"public": b"other"}, {"cohort": ("a", "b", "c")}])
def test_the_same_sites_asked_otherwise_have_other_masks(change: dict[str, Any]) -> None:
    parties, session = agreed(4)
    request = parties.begin(session).requests["a"]
    other = replace(request, **change)
    twin = parties.copy()
    one = parties.deliver("a", request)
    two = twin.deliver("a", other)
    assert not np.any(parties.masked(one) == twin.masked(two))
    assert one.header.sid != two.header.sid


@pytest.mark.parametrize("round_", SUM)
def test_nothing_that_the_hub_holds_or_saw_contains_a_plain_number(round_: type[Message]) -> None:
    parties, chance = Parties(FOUR), Chance("numbers")
    parties.vectors = {site: np.frombuffer(chance(8 * 40), dtype="<u8").astype(np.uint64) for site in FOUR}
    session = parties.setup()
    summed = parties.total(session, hooks=Hooks(silent(round_, "c")))
    parties.total(session, 1, summed)
    seen = b"\0".join(parties.seen)
    for vector in parties.vectors.values():
        for number in vector.tolist():
            assert number.to_bytes(8, "little") not in seen
            assert number.to_bytes(8, "big") not in seen
    assert summed.content in seen  # the search would find it


@pytest.mark.parametrize("count", [4, 60])
def test_no_secret_of_a_site_is_in_what_the_hub_saw_but_the_shares_that_it_released(count: int) -> None:
    parties, session = agreed(count)
    paired = {site: parties.states[site].paired for site in parties.sites}  # type: ignore[attr-defined]
    gone = parties.sites[1]
    pairs = {pair for site in parties.sites for pair in paired[site].pairs.values()}
    parties.total(session, hooks=Hooks(silent(Contribute, gone)))
    seen = b"".join(parties.seen)
    seeds = [paired[site].seed for site in parties.sites]
    found = [secret for secret in (*sorted(pairs)[:200], *seeds, *parties.seeds.values()) if secret in seen]
    assert not found
    assert parties.public[gone] in seen  # the search would find it


def test_states_and_messages_do_not_print_what_they_hold() -> None:
    parties = Parties(FOUR)
    printed: list[object] = []

    def note(site: str, message: Message) -> Message:
        printed.extend([message, parties.states[site], Own(parties.keys[site], parties.vectors[site])])
        return message

    session = parties.setup(Hooks(request=note, reply=note))
    printed.append(parties.states["a"].paired)  # type: ignore[attr-defined]
    ask = parties.begin(session)
    for _ in SUM:
        printed.append(ask.state)
        ask = parties.next(ask, Hooks(request=note, reply=note))
    printed.append(ask.output)  # type: ignore[attr-defined]
    assert len({type(value) for value in printed}) > 20
    assert all(len(repr(value)) < 40 for value in printed)


# What is left of a step


def old_secrets(parties: Parties, session: Session) -> dict[str, list[bytes]]:
    """Per site, everything that would open its contribution to the first step."""
    sid = parties.begin(session).requests[parties.sites[0]].sid(session)  # type: ignore[attr-defined]
    found = {}
    for site in parties.sites:
        state = parties.states[site]
        assert isinstance(state, Waiting)
        edges = [edge_secret(pair, sid, site, peer) for peer, pair in state.paired.pairs.items()]
        found[site] = [*state.paired.pairs.values(), state.paired.seed, state._field("self", sid), *edges]
    return found


@pytest.mark.parametrize("gone", ["", "b"])
def test_after_unmasking_a_site_holds_nothing_that_opens_the_step(gone: str) -> None:
    parties, session = agreed(4)
    secrets = old_secrets(parties, session)
    before = {site: parties.states[site] for site in FOUR}
    parties.total(session, hooks=Hooks(silent(Contribute, gone)))
    for site in others(FOUR, gone):
        state, stored = parties.states[site], encode(parties.states[site])
        assert isinstance(state, Waiting)
        assert all(secret in encode(before[site]) for secret in secrets[site][:4])  # the search would find them
        assert not [secret for secret in itertools.chain(*secrets.values()) if secret in stored]
        assert list(state.paired.pairs) == list(others(FOUR, site, gone))


def test_a_site_off_the_committee_holds_nothing_that_opens_the_step_once_it_has_contributed() -> None:
    parties, session = agreed(60)
    secrets = old_secrets(parties, session)
    parties.ask(parties.begin(session))
    for site in set(parties.sites) - set(session.committee):
        stored = encode(parties.states[site])
        assert not [secret for secret in secrets[site] if secret in stored]


@pytest.mark.parametrize("count", [4, 60])
def test_both_ends_of_an_edge_go_forward_alike(count: int) -> None:
    parties, session = agreed(count)
    gone = next(site for site in parties.sites[1:] if count == 4 or site not in session.committee)
    parties.total(session, hooks=Hooks(silent(Contribute, gone)))
    left = others(parties.sites, gone)
    pairs = {site: parties.states[site].paired.pairs for site in left}  # type: ignore[attr-defined]
    assert all(pairs[one][two] == pairs[two][one] for one, two in itertools.combinations(left, 2))
    edges = {pairs[one][two] for one, two in itertools.combinations(left, 2)}
    assert len(edges) == len(left) * (len(left) - 1) // 2


def test_the_secret_of_an_edge_in_one_sum_is_worth_nothing_in_another_or_on_another_edge() -> None:
    pair, sums = bytes(range(32)), [bytes([number]) * 32 for number in range(4)]
    edges = {(sid, *ends): edge_secret(pair, sid, *ends) for sid in sums for ends in itertools.combinations(FOUR, 2)}
    assert len(set(edges.values())) == len(edges) == 4 * 6
    assert all(edge_secret(pair, sid, two, one) == secret for (sid, one, two), secret in edges.items())
