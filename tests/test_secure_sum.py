"""Key setup and secure sum: right totals whoever vanishes, and what an active hub or a member must not get."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.crypto import shamir
from hansa.crypto.keys import HYBRID_PUBLIC_BYTES, HybridKey, SigningKey
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.messages import decode, encode
from hansa.protocols import key_setup
from hansa.protocols.base import Ask, Message, Own
from hansa.protocols.key_setup import Floors, Invited, Manifest, Offer, Offers, Reveal, Reveals
from hansa.protocols.masks import edge_secret, others
from hansa.protocols.secure_sum import (
    Contribute,
    Contributed,
    Lock,
    Locked,
    Receipt,
    Shares,
    Unmask,
    Waiting,
    lock_digest,
)
from tests.protocol_runs import (
    PLAN,
    SETUP,
    SUM,
    UNTOUCHED,
    Hooks,
    Parties,
    agreed,
    close,
    names,
    plain,
    powers,
    silent,
)
from tests.real_rows import Chance

quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)
FOUR = names(4)


def contributed(parties: Parties, session: key_setup.Session, hooks: Hooks = UNTOUCHED) -> tuple[Ask, dict[str, Any]]:
    """The first round of a sum: the hub's question, and what the sites contributed."""
    ask = parties.begin(session)
    return ask, parties.ask(ask, hooks)


def at_lock(parties: Parties, session: key_setup.Session, *gone: str) -> Ask:
    """A sum up to the request to lock, `gone` having vanished before."""
    ask, replies = contributed(parties, session, Hooks(silent(Contribute, *gone)))
    return close(ask, replies)


def at_unmask(parties: Parties, session: key_setup.Session, *gone: str) -> Ask:
    ask = at_lock(parties, session, *gone)
    return close(ask, parties.ask(ask))


def refuses(parties: Parties, site: str, request: Message, words: str) -> None:
    """`site` refuses, says so in these words, and is as it was."""
    before = encode(parties.states[site])
    with pytest.raises(ProtocolViolation, match=words):
        parties.deliver(site, request)
    assert encode(parties.states[site]) == before


# Totals, and who may vanish


@pytest.mark.parametrize("count", range(3, 10))
def test_the_total_is_the_sum_of_everybody(count: int) -> None:
    parties, session = agreed(count)
    summed = parties.total(session)
    assert summed.vector().tolist() == plain(parties.vectors, parties.sites)
    assert summed.survivors == summed.active == parties.sites


@pytest.mark.parametrize("site", FOUR)
@pytest.mark.parametrize("round_", SUM)
def test_any_one_of_four_may_vanish_in_any_round_of_a_sum(round_: type[Message], site: str) -> None:
    parties, session = agreed(4)
    summed = parties.total(session, hooks=Hooks(silent(round_, site)))
    left = tuple(others(FOUR, site))
    assert summed.survivors == (left if round_ is Contribute else FOUR)
    assert summed.active == left
    assert summed.vector().tolist() == plain(parties.vectors, summed.survivors)
    again = parties.total(session, 1, summed)
    assert again.survivors == left
    assert again.vector().tolist() == plain(parties.vectors, left)


@pytest.mark.parametrize("site", FOUR)
@pytest.mark.parametrize("round_", SETUP)
def test_any_one_of_four_may_vanish_in_any_round_of_setup(round_: type[Message], site: str) -> None:
    parties = Parties(FOUR)
    session = parties.setup(Hooks(silent(round_, site)))
    left = tuple(others(FOUR, site))
    assert session.roster == left
    assert parties.total(session).vector().tolist() == plain(parties.vectors, left)


@pytest.mark.parametrize("pair", list(itertools.combinations(names(7), 2)))
def test_any_two_of_seven_may_vanish_before_they_contribute(pair: tuple[str, str]) -> None:
    parties, session = agreed(7)
    summed = parties.total(session, hooks=Hooks(silent(Contribute, *pair)))
    assert summed.vector().tolist() == plain(parties.vectors, [site for site in parties.sites if site not in pair])


@quick
@given(st.data())
def test_whoever_vanishes_the_total_is_over_the_survivors_or_there_is_none(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 9))
    parties, session = agreed(count)
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
def test_totals_wrap_around_the_ring(data: st.DataObject) -> None:
    parties, session = agreed(3)
    element = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**63 - 1, 2**64 - 1]))
    length = data.draw(st.integers(1, 6))
    for site in parties.sites:
        drawn = data.draw(st.lists(element, min_size=length, max_size=length))
        parties.vectors[site] = np.array(drawn, dtype=np.uint64)
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


def test_two_survivor_sets_never_both_find_a_quorum_whatever_the_floors() -> None:
    possible = 0
    for sites, corrupt, minimum in itertools.product(range(3, 51), (-1, 0, 1, 2, 5, 20), (3, 10)):
        try:
            floors = Floors.of(sites, corrupt, minimum)
        except NotEnoughSites:
            continue
        possible += 1
        assert 2 * floors.threshold > sites + floors.corrupt
        assert floors.survivors >= max(floors.threshold, minimum)
        assert floors.survivors - floors.corrupt >= 2
    assert possible > 300


def test_many_sums_follow_one_setup_while_sites_leave() -> None:
    parties, session = agreed(7)
    before, leaves = None, {1: "c", 3: "f"}
    for step in range(5):
        hooks = Hooks(silent(Contribute, leaves[step])) if step in leaves else Hooks()
        before = parties.total(session, step, before, hooks)
        assert before.vector().tolist() == plain(parties.vectors, before.survivors)
    assert before is not None
    assert before.survivors == ("a", "b", "d", "e", "g")


# What the hub sees


def test_what_the_hub_sees_of_a_vector_is_not_the_vector() -> None:
    parties, session = agreed(4)
    _, replies = contributed(parties, session)
    for site, reply in replies.items():
        masked = np.frombuffer(reply.masked, dtype="<u8")
        assert not np.any(masked == parties.vectors[site])


def masks(parties: Parties, replies: Mapping[str, Contributed]) -> dict[str, bytes]:
    return {
        site: (np.frombuffer(reply.masked, dtype="<u8") - parties.vectors[site]).tobytes()
        for site, reply in replies.items()
    }


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
    assert not np.any(np.frombuffer(one.masked, dtype="<u8") == np.frombuffer(two.masked, dtype="<u8"))
    assert one.header.sid != two.header.sid


def test_a_request_that_comes_again_gets_the_same_bytes() -> None:
    parties, session = agreed(4)
    request, twin = parties.begin(session).requests["a"], parties.copy()
    assert encode(parties.deliver("a", request)) == encode(twin.deliver("a", request))


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
    assert summed.receipt.total in seen  # the search would find it


def test_no_secret_of_a_site_is_in_what_the_hub_saw_but_the_shares_that_it_released() -> None:
    parties, session = agreed(4)
    pairs = [pair for site in FOUR for pair in parties.states[site].paired.pairs.values()]  # type: ignore[attr-defined]
    seeds = [parties.states[site].paired.seed for site in FOUR]  # type: ignore[attr-defined]
    parties.total(session, hooks=Hooks(silent(Contribute, "b")))
    seen = b"".join(parties.seen)
    assert not [secret for secret in (*pairs, *seeds, *parties.seeds.values()) if secret in seen]


def test_states_and_messages_do_not_print_what_they_hold() -> None:
    parties = Parties(FOUR)
    printed: list[object] = []

    def note(site: str, message: Message) -> Message:
        printed.extend([message, parties.states[site], Own(parties.keys[site], parties.vectors[site])])
        return message

    session = parties.setup(Hooks(request=note, reply=note))
    printed.append(parties.states["a"].paired)  # type: ignore[attr-defined]
    parties.total(session, hooks=Hooks(request=note, reply=note))
    assert len({type(value) for value in printed}) > 15
    assert all(len(repr(value)) < 40 for value in printed)


# An active hub or a member in setup


def invited(parties: Parties, **changes: Any) -> Manifest:
    """A manifest for everybody, with something changed."""
    ask = key_setup.begin(PLAN, 0, parties.public, parties.corrupt, parties.minimum)
    return replace(ask.requests["a"], **changes)


@pytest.mark.parametrize(
    ("roster", "words"),
    [
        (("a", "a", "b", "c", "d"), "sorted"),
        (("b", "a", "c", "d"), "sorted"),
        (("a", "b", "c", "z"), "sorted part"),
        (("b", "c", "d"), "leaves out"),
    ],
)
def test_a_roster_with_a_duplicate_an_unsorted_or_a_foreign_site_is_refused(
    roster: tuple[str, ...], words: str
) -> None:
    parties = Parties(FOUR)
    refuses(parties, "a", invited(parties, roster=roster, floors=Floors.of(len(roster), -1, 3)), words)


def test_a_manifest_of_another_plan_is_refused() -> None:
    parties = Parties(FOUR)
    refuses(parties, "a", invited(parties, plan=bytes(32)), "another plan")


def test_a_manifest_of_an_earlier_attempt_is_refused() -> None:
    parties = Parties(FOUR)
    parties.invite(2)
    refuses(parties, "a", invited(parties, attempt=1), "earlier attempt")


@pytest.mark.parametrize("change", [{"corrupt": 0}, {"threshold": 2}, {"survivors": 2}, {"threshold": 4}])
def test_floors_that_are_not_the_charters_are_refused(change: dict[str, int]) -> None:
    parties = Parties(FOUR)
    floors = replace(Floors.of(4, -1, 3), **change)
    refuses(parties, "a", invited(parties, floors=floors), "threshold and floor")


def offers_of(parties: Parties) -> tuple[Ask, dict[str, Offer]]:
    ask = key_setup.begin(PLAN, 0, parties.public, parties.corrupt, parties.minimum)
    return ask, parties.ask(ask)


def swapped(offers: Offers, place: int, offer: Offer) -> Offers:
    return Offers((*offers.offers[:place], offer, *offers.offers[place + 1 :]))


def test_a_key_that_the_hub_substitutes_in_setup_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies = offers_of(parties)
    offers = close(ask, replies).requests["a"]
    hubs = HybridKey(bytes(96)).public
    assert len(hubs) == HYBRID_PUBLIC_BYTES
    refuses(parties, "a", swapped(offers, 1, replace(offers.offers[1], public=hubs)), "signature")
    forged = replace(offers.offers[1], public=hubs)
    manifest = invited(parties).digest
    forged = replace(forged, signature=SigningKey(bytes(32)).sign("setup/offer", forged.signed(manifest, "b")))
    refuses(parties, "a", swapped(offers, 1, forged), "signature")


def test_a_member_that_shows_one_site_another_key_ends_setup_there() -> None:
    """The hub shows `a` a second offer that corrupt `b` signed; `a` then signs another transcript than the rest."""
    parties = Parties(FOUR)
    ask, replies = offers_of(parties)
    second = replace(replies["b"], public=HybridKey(bytes(96)).public)
    signature = parties.keys["b"].sign("setup/offer", second.signed(invited(parties).digest, "b"))
    second = replace(second, signature=signature)
    ask = close(ask, replies)
    revealed = parties.ask(
        ask, Hooks(request=lambda site, offers: swapped(offers, 1, second) if site == "a" else offers)
    )
    with pytest.raises(ProtocolViolation):
        close(ask, revealed)
    reveals = Reveals(tuple(revealed[site] for site in FOUR))
    for site in FOUR:
        refuses(parties, site, reveals, "signature")


def test_a_site_finds_another_offer_in_its_own_name() -> None:
    parties = Parties(FOUR)
    ask, replies = offers_of(parties)
    offers = close(ask, replies).requests["a"]
    twin = Parties(FOUR, "twin")
    twin.keys, twin.public = parties.keys, parties.public
    twin.invite(0)
    earlier = offers_of(twin)[1]["a"]  # of the same key, as in an earlier run
    refuses(parties, "a", swapped(offers, 0, earlier), "another offer of ours")


def test_offers_of_fewer_or_more_sites_than_the_roster_are_refused() -> None:
    parties = Parties(FOUR)
    ask, replies = offers_of(parties)
    offers = close(ask, replies).requests["a"]
    refuses(parties, "a", Offers(offers.offers[:3]), "one per site")
    refuses(parties, "a", Offers((*offers.offers, offers.offers[0])), "one per site")


def test_two_sites_with_one_key_are_refused() -> None:
    parties = Parties(FOUR)
    ask, replies = offers_of(parties)
    stolen = replace(replies["b"], public=replies["a"].public)
    signature = parties.keys["b"].sign("setup/offer", stolen.signed(invited(parties).digest, "b"))
    stolen = replace(stolen, signature=signature)
    with pytest.raises(ProtocolViolation, match="the same key"):
        close(ask, {**replies, "b": stolen})
    offers = close(ask, replies).requests["c"]
    refuses(parties, "c", swapped(offers, 1, stolen), "the same key")


def revealed_by(parties: Parties) -> tuple[Ask, dict[str, Reveal], bytes]:
    """Setup up to the reveals, with the transcript that all signed."""
    ask, replies = offers_of(parties)
    ask = close(ask, replies)
    transcript = key_setup._transcript(invited(parties), ask.requests["a"])  # type: ignore[arg-type]
    return ask, parties.ask(ask), transcript


def resigned(parties: Parties, site: str, reveal: Reveal, transcript: bytes, **changes: Any) -> Reveal:
    changed = replace(reveal, **changes)
    return replace(changed, signature=parties.keys[site].sign("setup/reveal", changed.signed(transcript, site)))


def test_a_reveal_that_does_not_match_its_commitment_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    lie = resigned(parties, "b", replies["b"], transcript, rho=bytes(32))
    with pytest.raises(ProtocolViolation, match="other randomness"):
        close(ask, {**replies, "b": lie})
    reveals = Reveals(tuple(lie if site == "b" else replies[site] for site in FOUR))
    refuses(parties, "c", reveals, "other randomness")


def test_a_site_that_does_not_reach_every_later_site_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    short = resigned(parties, "b", replies["b"], transcript, ciphertexts=replies["b"].ciphertexts[:1])
    with pytest.raises(ProtocolViolation, match="every later site"):
        close(ask, {**replies, "b": short})


def test_reveals_that_the_hub_altered_are_refused() -> None:
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    reveals = close(ask, replies).requests["c"].reveals
    refuses(parties, "c", Reveals(reveals[:3]), "one per site")
    altered = replace(reveals[0], ciphertexts=(bytes(1088), *reveals[0].ciphertexts[1:]))
    refuses(parties, "c", Reveals((altered, *reveals[1:])), "signature")
    own = resigned(parties, "c", reveals[2], transcript, ciphertexts=(bytes(1088),))
    refuses(parties, "c", Reveals((*reveals[:2], own, reveals[3])), "another reveal of ours")


def test_a_site_that_ends_setup_with_another_session_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies, _ = revealed_by(parties)
    ask = close(ask, replies)
    ready = parties.ask(ask)
    with pytest.raises(ProtocolViolation, match="another session"):
        close(ask, {**ready, "d": key_setup.Ready(bytes(32))})


def test_every_pair_has_one_secret_and_no_two_pairs_the_same() -> None:
    parties, _ = agreed(5)
    pairs = {site: parties.states[site].paired.pairs for site in parties.sites}  # type: ignore[attr-defined]
    assert all(pairs[one][two] == pairs[two][one] for one, two in itertools.combinations(parties.sites, 2))
    assert len({secret for mine in pairs.values() for secret in mine.values()}) == 10


def test_two_attempts_of_setup_share_no_key_and_no_randomness() -> None:
    parties = Parties(FOUR)
    _, first = offers_of(parties)
    parties.invite(1)
    ask = key_setup.begin(PLAN, 1, parties.public, -1, 3)
    second = parties.ask(ask)
    assert not {offer.public for offer in first.values()} & {offer.public for offer in second.values()}
    assert not {offer.commitment for offer in first.values()} & {offer.commitment for offer in second.values()}


# An active hub or a member in a sum


def test_a_survivor_named_twice_is_refused() -> None:
    parties, session = agreed(4)
    lock = at_lock(parties, session).requests["a"]
    twice = replace(lock, headers=(lock.headers[0], *lock.headers))
    refuses(parties, "a", twice, "each once")
    refuses(parties, "a", replace(lock, headers=lock.headers[::-1]), "sorted")


@pytest.mark.parametrize("gone", [(), ("a",), ("c",), ("d",)])
def test_no_site_is_both_survivor_and_dropped_in_the_shares_that_a_member_releases(gone: tuple[str, ...]) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session, *gone)
    for member in ask.requests:
        bundles = parties.states[member].bundles  # type: ignore[attr-defined]
        shares = parties.deliver(member, ask.requests[member])
        released = {*shares.own, *itertools.chain.from_iterable(shares.edges)}
        for site, bundle in bundles.items():
            assert bundle.own in released
            for peer, edge in zip(others(FOUR, site), bundle.edges, strict=True):
                assert (edge in released) == (peer in gone)
        assert len(released) == len(bundles) * (1 + len(gone))
        assert not set(gone) & set(bundles)


@pytest.mark.parametrize(("count", "corrupt"), [(4, ("a",)), (4, ("d",)), (5, ("c",)), (7, ("b", "f"))])
def test_two_survivor_sets_for_one_sum_are_never_both_unmasked(count: int, corrupt: tuple[str, ...]) -> None:
    """The hub shows one set to one part of the honest members and another to the rest; its friends sign both."""
    parties, session = agreed(count)
    ask, replies = contributed(parties, session)
    everybody = close(ask, replies)
    honest = [site for site in parties.sites if site not in corrupt]
    sets = [parties.sites, tuple(others(parties.sites, honest[-1]))]
    requests = {survivors: lock_requests(parties.sites, replies, survivors) for survivors in sets}
    for split in itertools.product(sets, repeat=len(honest)):
        if any(site not in survivors for site, survivors in zip(honest, split, strict=True)):
            continue
        twin, opened = parties.copy(), set()
        shown = dict(zip(honest, split, strict=True))
        signatures = {survivors: dict[str, bytes]() for survivors in sets}
        for site, survivors in shown.items():
            signatures[survivors][site] = twin.deliver(site, requests[survivors][site]).signature
        for survivors in sets:
            locked = lock_digest(replies["a"].header.sid, requests[survivors][honest[0]].headers)
            for site in corrupt:
                signatures[survivors][site] = twin.keys[site].sign("sum/lock", locked)
        for site, survivors in shown.items():
            try:
                twin.deliver(site, Unmask(dict(sorted(signatures[survivors].items()))))
                opened.add(survivors)
            except ProtocolViolation:
                continue
        assert len(opened) <= 1
    assert isinstance(everybody, Ask)


def lock_requests(
    cohort: tuple[str, ...], replies: Mapping[str, Contributed], survivors: tuple[str, ...]
) -> dict[str, Lock]:
    """What a hub would send to lock `survivors`, whoever they are."""
    headers = tuple(replies[site].header for site in survivors)
    return {
        site: Lock(
            headers,
            tuple(replies[peer].sealed[others(cohort, peer).index(site)] for peer in others(survivors, site)),
        )
        for site in survivors
    }


def test_a_site_that_locked_one_set_locks_no_second() -> None:
    parties, session = agreed(4)
    _, replies = contributed(parties, session)
    parties.deliver("a", lock_requests(FOUR, replies, FOUR)["a"])
    refuses(parties, "a", lock_requests(FOUR, replies, ("a", "b", "c"))["a"], "not a Unmask")


def test_a_survivor_set_below_the_floor_is_not_locked() -> None:
    parties, session = agreed(4)
    _, replies = contributed(parties, session)
    refuses(parties, "a", lock_requests(FOUR, replies, ("a", "b"))["a"], "below the floor")


def test_the_public_state_shown_to_one_site_alone_ends_the_sum_before_anything_is_unmasked() -> None:
    parties, session = agreed(4)
    ask = parties.begin(session)
    other = Hooks(request=lambda site, asked: replace(asked, public=b"other") if site == "d" else asked)
    replies = parties.ask(ask, other)
    with pytest.raises(ProtocolViolation, match="another sum"):
        close(ask, replies)
    requests = lock_requests(FOUR, replies, FOUR)
    for site in ("a", "b", "c", "d"):
        refuses(parties, site, requests[site], "another sum")


def test_a_member_that_hides_another_public_state_has_other_tags() -> None:
    """Corrupt `d` signs the sid that the others have, over the masks that it made for another state."""
    parties, session = agreed(4)
    ask = parties.begin(session)
    other = Hooks(request=lambda site, asked: replace(asked, public=b"other") if site == "d" else asked)
    replies = parties.ask(ask, other)
    header = parties.signed(replies["d"].header, sid=replies["a"].header.sid)
    requests = lock_requests(FOUR, {**replies, "d": replace(replies["d"], header=header)}, FOUR)
    for site in ("a", "b", "c"):
        refuses(parties, site, requests[site], "two tags")


@pytest.mark.parametrize("step", [0, 1, 3, 9])
def test_a_step_that_goes_back_or_leaves_one_out_is_refused(step: int) -> None:
    parties, session = agreed(4)
    first = parties.begin(session).requests["a"]
    summed = parties.total(session, 0)
    summed = parties.total(session, 1, summed)
    refuses(parties, "a", parties.begin(session, step, summed.receipt).requests["a"], "step goes back")
    refuses(parties, "a", first, "step goes back")
    assert parties.total(session, 2, summed).vector().tolist() == plain(parties.vectors, FOUR)


def test_a_step_is_never_tried_twice() -> None:
    parties, session = agreed(4)
    request = parties.begin(session).requests["a"]
    refuses(parties, "a", replace(request, attempt=1), "Contribute")
    parties.deliver("a", request)
    smaller = replace(request, cohort=("a", "b", "c"))
    refuses(parties, "a", smaller, "not a Lock")


@pytest.mark.parametrize(
    ("cohort", "words"),
    [
        (("a", "b"), "below the floor"),
        (("b", "c", "d"), "leaves out"),
        (("a", "b", "b", "c"), "sorted part"),
        (("b", "a", "c"), "sorted part"),
        (("a", "b", "c", "z"), "sorted part"),
    ],
)
def test_a_cohort_below_the_floor_or_not_of_the_roster_is_refused(cohort: tuple[str, ...], words: str) -> None:
    parties, session = agreed(4)
    refuses(parties, "a", replace(parties.begin(session).requests["a"], cohort=cohort), words)


def test_the_hub_begins_no_sum_below_the_floor() -> None:
    parties, session = agreed(4)
    with pytest.raises(NotEnoughSites):
        parties.begin(session, cohort=("a", "b"))


def test_a_cohort_that_brings_back_a_site_that_left_is_refused() -> None:
    parties, session = agreed(4)
    summed = parties.total(session, hooks=Hooks(silent(Contribute, "d")))
    refuses(parties, "a", parties.begin(session, 1, summed.receipt, FOUR).requests["a"], "left")


@pytest.mark.parametrize(
    "receipt",
    [
        None,
        lambda real: replace(real, sid=bytes(32)),
        lambda real: replace(real, locked=bytes(32)),
        lambda real: replace(real, total=real.total[8:]),
        lambda real: replace(real, total=b""),
    ],
)
def test_a_receipt_of_another_sum_is_refused(receipt: Callable[[Receipt], Receipt] | None) -> None:
    parties, session = agreed(4)
    summed = parties.total(session)
    shown = receipt(summed.receipt) if receipt else None
    refuses(parties, "a", Contribute(1, 0, b"", FOUR, shown), "receipt")


def test_a_first_sum_has_no_receipt() -> None:
    parties, _ = agreed(4)
    receipt = Receipt(bytes(32), bytes(32), bytes(32))
    refuses(parties, "a", Contribute(0, 0, b"", FOUR, receipt), "receipt")


def test_a_hub_that_shows_two_totals_of_one_sum_gets_no_next_one() -> None:
    parties, session = agreed(4)
    summed = parties.total(session)
    ask = parties.begin(session, 1, summed.receipt)
    lie = replace(summed.receipt, total=bytes(len(summed.receipt.total)))
    replies = parties.ask(ask, Hooks(request=lambda site, asked: replace(asked, receipt=lie) if site < "c" else asked))
    requests = lock_requests(FOUR, replies, FOUR)
    for site in FOUR:
        refuses(parties, site, requests[site], "another sum")


def test_a_header_of_another_sum_is_refused() -> None:
    parties, session = agreed(4)
    ask, first = contributed(parties, session)
    summed = parties.run(close(ask, first))
    ask = parties.begin(session, 1, summed.receipt)
    replies = parties.ask(ask)
    old = {**replies, "b": replace(replies["b"], header=first["b"].header)}
    with pytest.raises(ProtocolViolation, match="not those it signed"):
        close(ask, old)
    old["b"] = replace(first["b"], masked=replies["b"].masked)
    with pytest.raises(ProtocolViolation, match="not the one it signed"):
        close(ask, old)
    with pytest.raises(ProtocolViolation, match="another sum"):
        close(ask, {**replies, "b": first["b"]})
    refuses(parties, "a", lock_requests(FOUR, old, FOUR)["a"], "another sum")


def test_a_header_that_its_site_did_not_sign_is_refused() -> None:
    parties, session = agreed(4)
    ask, replies = contributed(parties, session)
    forged = replace(replies["b"], header=replace(replies["b"].header, root=bytes(32)))
    refuses(parties, "a", lock_requests(FOUR, {**replies, "b": forged}, FOUR)["a"], "signature")
    relabelled = replace(replies["b"], header=replace(replies["b"].header, site="c"))
    with pytest.raises(ProtocolViolation):
        close(ask, {**replies, "c": relabelled})


def test_a_lock_that_shows_a_site_another_header_of_its_own_is_refused() -> None:
    parties, session = agreed(4)
    _, replies = contributed(parties, session)
    another = replace(replies["a"], header=parties.signed(replies["a"].header, root=bytes(32)))
    refuses(parties, "a", lock_requests(FOUR, {**replies, "a": another}, FOUR)["a"], "another header of it")
    refuses(parties, "a", lock_requests(FOUR, replies, ("b", "c", "d"))["b"], "leave out")


def test_a_sealed_letter_that_was_altered_is_refused() -> None:
    parties, session = agreed(4)
    ask, replies = contributed(parties, session)
    lock = close(ask, replies).requests["a"]
    for place in range(3):
        sealed = bytearray(lock.sealed[place])
        sealed[len(sealed) // 2] ^= 1
        altered = (*lock.sealed[:place], bytes(sealed), *lock.sealed[place + 1 :])
        refuses(parties, "a", replace(lock, sealed=altered), "does not open")
    refuses(parties, "a", replace(lock, sealed=lock.sealed[1:]), "one per other survivor")
    refuses(parties, "a", replace(lock, sealed=lock.sealed[::-1]), "does not open")
    elsewhere = replies["b"].sealed[1]  # from b, to c
    refuses(parties, "a", replace(lock, sealed=(elsewhere, *lock.sealed[1:])), "does not open")


def altered_contribution(reply: Contributed, part: str) -> Contributed:
    if part == "sealed":
        return replace(reply, sealed=(reply.sealed[1], reply.sealed[0], *reply.sealed[2:]))
    if part == "fewer sealed":
        return replace(reply, sealed=reply.sealed[1:])
    if part == "masked":
        return replace(reply, masked=bytes([reply.masked[0] ^ 1]) + reply.masked[1:])
    if part == "shorter":
        return replace(reply, masked=reply.masked[8:])
    return replace(reply, header=replace(reply.header, tags=reply.header.tags[::-1]))


@pytest.mark.parametrize("part", ["sealed", "fewer sealed", "masked", "shorter", "tags"])
def test_a_contribution_that_is_not_the_signed_one_is_found_by_the_hub(part: str) -> None:
    parties, session = agreed(4)
    ask, replies = contributed(parties, session)
    with pytest.raises(ProtocolViolation):
        close(ask, {**replies, "c": altered_contribution(replies["c"], part)})


def test_fewer_signatures_than_the_threshold_unmask_nothing() -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session)
    signatures = ask.requests["a"].signatures
    for few in range(session.floors.threshold):
        refuses(parties, "a", Unmask(dict(list(signatures.items())[:few])), "fewer signatures")
    assert isinstance(parties.deliver("a", Unmask(dict(list(signatures.items())[:3]))), Shares)


def test_signatures_over_another_set_unmask_nothing() -> None:
    parties, session = agreed(4)
    _, replies = contributed(parties, session)
    twin = parties.copy()
    three, four = lock_requests(FOUR, replies, ("a", "b", "c")), lock_requests(FOUR, replies, FOUR)
    smaller = {site: twin.deliver(site, three[site]).signature for site in ("a", "b", "c")}
    for site in FOUR:
        parties.deliver(site, four[site])
    refuses(parties, "a", Unmask(smaller), "signature")


@pytest.mark.parametrize("stranger", ["d", "z", "hub"])
def test_signatures_of_strangers_unmask_nothing(stranger: str) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session, "d")
    request = ask.requests["a"]
    locked = ask.state.locked  # type: ignore[attr-defined]
    key = parties.keys.get(stranger, SigningKey(bytes(32)))
    signatures = {**dict(list(request.signatures.items())[:2]), stranger: key.sign("sum/lock", locked)}
    refuses(parties, "a", Unmask(dict(sorted(signatures.items()))), "did not survive")
    forged = {**request.signatures, "c": SigningKey(bytes(32)).sign("sum/lock", locked)}
    refuses(parties, "a", Unmask(forged), "signature")


def test_a_signature_for_locking_that_does_not_hold_is_found_by_the_hub() -> None:
    parties, session = agreed(4)
    ask = at_lock(parties, session)
    replies = parties.ask(ask)
    with pytest.raises(ProtocolViolation, match="signature"):
        close(ask, {**replies, "b": Locked(replies["c"].signature)})


def test_a_site_releases_its_shares_once() -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session)
    parties.deliver("a", ask.requests["a"])
    refuses(parties, "a", ask.requests["a"], "not a Contribute")


# Shares


def with_share(shares: Shares, place: int, share: bytes) -> Shares:
    """`place` counts the shares of own masks first, then those of edges."""
    if place < len(shares.own):
        return replace(shares, own=(*shares.own[:place], share, *shares.own[place + 1 :]))
    row, column = divmod(place - len(shares.own), len(shares.own))
    edges = [list(one) for one in shares.edges]
    edges[row][column] = share
    return replace(shares, edges=tuple(map(tuple, edges)))


@pytest.mark.parametrize("value", [shamir.PRIME, shamir.PRIME + 1, 2**255, 2**256 - 1])
def test_a_share_that_is_no_canonical_field_element_is_refused(value: int) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session)
    replies = parties.ask(ask)
    with pytest.raises(ProtocolViolation, match="canonical"):
        close(ask, {**replies, "b": with_share(replies["b"], 2, value.to_bytes(32, "little"))})


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_share_of_another_size_is_refused(size: int) -> None:
    shares = Shares((bytes(size),), ())
    with pytest.raises(ProtocolViolation):
        decode(encode(shares), Shares)


def test_another_number_of_shares_than_was_asked_is_refused() -> None:
    parties, session = agreed(5)
    ask = at_unmask(parties, session, "e")
    replies = parties.ask(ask)
    b = replies["b"]
    for wrong in (
        replace(b, own=b.own[1:]),
        replace(b, edges=()),
        replace(b, edges=(b.edges[0][1:],)),
        replace(b, edges=b.edges * 2),
    ):
        with pytest.raises(ProtocolViolation, match="another number of shares"):
            close(ask, {**replies, "b": wrong})


@pytest.mark.parametrize("liar", FOUR)
@pytest.mark.parametrize("place", range(4))
def test_a_wrong_share_is_found_when_more_than_the_threshold_reply(liar: str, place: int) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session)
    replies = parties.ask(ask)
    wrong = (int.from_bytes(replies[liar].own[place], "little") + 1) % shamir.PRIME
    with pytest.raises(ProtocolViolation, match="different secrets"):
        close(ask, {**replies, liar: with_share(replies[liar], place, shamir.encode(wrong))})


@pytest.mark.parametrize("place", range(3, 6))
def test_a_wrong_share_of_a_dropped_edge_is_found_by_its_tag_even_at_the_threshold(place: int) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session, "d")
    replies = parties.ask(ask)
    assert len(replies) == session.floors.threshold
    with pytest.raises(ProtocolViolation, match="than its tag names"):
        close(ask, {**replies, "b": with_share(replies["b"], place, shamir.encode(5))})


@pytest.mark.parametrize("place", range(3))
def test_a_wrong_share_of_an_own_mask_is_found_by_its_commitment_even_at_the_threshold(place: int) -> None:
    parties, session = agreed(4)
    ask = at_unmask(parties, session, "d")
    replies = parties.ask(ask)
    assert len(replies) == session.floors.threshold
    with pytest.raises(ProtocolViolation, match="than it committed to"):
        close(ask, {**replies, "b": with_share(replies["b"], place, shamir.encode(5))})


# What is left of a step


def old_secrets(parties: Parties, session: key_setup.Session) -> dict[str, list[bytes]]:
    """Per site, everything that would open its contribution to the first step."""
    sid = parties.begin(session).requests["a"].sid(session)
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
        assert list(state.paired.pairs) == [peer for peer in others(FOUR, site) if peer != gone]


def test_both_ends_of_an_edge_go_forward_alike() -> None:
    parties, session = agreed(4)
    parties.total(session)
    pairs = {site: parties.states[site].paired.pairs for site in FOUR}  # type: ignore[attr-defined]
    assert all(pairs[one][two] == pairs[two][one] for one, two in itertools.combinations(FOUR, 2))
    assert len({secret for mine in pairs.values() for secret in mine.values()}) == 6


def test_the_secret_of_an_edge_in_one_sum_is_worth_nothing_in_another_or_on_another_edge() -> None:
    pair, sums = bytes(range(32)), [bytes([number]) * 32 for number in range(4)]
    edges = {(sid, *ends): edge_secret(pair, sid, *ends) for sid in sums for ends in itertools.combinations(FOUR, 2)}
    assert len(set(edges.values())) == len(edges) == 4 * 6
    assert all(edge_secret(pair, sid, two, one) == secret for (sid, one, two), secret in edges.items())


def test_runs_with_one_seed_agree_on_what_chance_of_the_library_does_not_touch() -> None:
    one, two = (Parties(FOUR, "seed") for _ in range(2))
    assert [encode(offer) for offer in offers_of(one)[1].values()] == [
        encode(offer) for offer in offers_of(two)[1].values()
    ]
    assert isinstance(one.states["a"], key_setup.Offered)
    assert all(isinstance(state, Invited) for state in Parties(FOUR).states.values())
    assert powers(FOUR)["d"][0] == 27
