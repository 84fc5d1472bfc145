"""Key setup: everybody ends with the same session and each pair with one secret, or somebody finds the lie."""

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from hansa.crypto import merkle
from hansa.crypto.keys import HYBRID_PUBLIC_BYTES, HybridKey, SigningKey, encapsulate
from hansa.errors import ProtocolViolation
from hansa.messages import encode
from hansa.protocols import key_setup
from hansa.protocols.base import Ask, Message
from hansa.protocols.key_setup import Delivered, Encapsulated, Invited, Manifest, Offer, Offers, Reveal, Reveals
from hansa.protocols.secure_sum import Waiting
from hansa.protocols.thresholds import Floors, tolerated_of
from tests.protocol_runs import (
    PLAN,
    SETUP,
    Hooks,
    Parties,
    agreed,
    close,
    names,
    others,
    plain,
    powers,
    refuses,
    silent,
)

FOUR = names(4)


def invited(parties: Parties, **changes: Any) -> Manifest:
    """A manifest for everybody, with something changed."""
    ask = key_setup.begin(PLAN, 0, parties.public, parties.corrupt, parties.minimum, parties.ring)
    manifest: Any = ask.requests["a"]
    changed: Manifest = replace(manifest, **changes)
    return changed


def offers_of(parties: Parties) -> tuple[Ask, dict[str, Offer]]:
    ask = key_setup.begin(PLAN, 0, parties.public, parties.corrupt, parties.minimum)
    return ask, parties.ask(ask)


def revealed_by(parties: Parties) -> tuple[Ask, dict[str, Reveal], bytes]:
    """Setup up to the reveals, with the transcript that all signed."""
    ask, replies = offers_of(parties)
    ask = close(ask, replies)
    transcript = key_setup._transcript(invited(parties), ask.requests["a"])
    return ask, parties.ask(ask), transcript


def encapsulated_by(parties: Parties) -> tuple[Ask, dict[str, Encapsulated]]:
    ask, replies, _ = revealed_by(parties)
    ask = close(ask, replies)
    return ask, parties.ask(ask)


def swapped(offers: Offers, place: int, offer: Offer) -> Offers:
    return Offers((*offers.offers[:place], offer, *offers.offers[place + 1 :]))


def resigned(parties: Parties, site: str, reveal: Reveal, transcript: bytes, **changes: Any) -> Reveal:
    changed = replace(reveal, **changes)
    return replace(changed, signature=parties.keys[site].sign("setup/reveal", changed.signed(transcript, site)))


def reencapsulated(parties: Parties, ask: Ask, site: str, *ciphertexts: bytes) -> Encapsulated:
    """Other ciphertexts, as `site`, corrupt, would sign them."""
    session = ask.state.session  # type: ignore[attr-defined]
    root = merkle.root(map(merkle.leaf, ciphertexts))
    signed = session.id + site.encode() + b"\0" + root
    return Encapsulated(ciphertexts, parties.keys[site].sign("setup/encapsulated", signed))


# Outcome


def pairs_of(parties: Parties) -> dict[str, dict[str, bytes]]:
    return {site: parties.states[site].paired.pairs for site in parties.sites}  # type: ignore[attr-defined]


def test_every_pair_has_one_secret_and_no_two_pairs_the_same() -> None:
    parties, _ = agreed(5)
    pairs = pairs_of(parties)
    assert all(pairs[one][two] == pairs[two][one] for one, two in itertools.combinations(parties.sites, 2))
    assert len({secret for mine in pairs.values() for secret in mine.values()}) == 10


def test_in_a_sparse_graph_every_site_has_one_secret_with_each_neighbour_and_member_and_with_nobody_else() -> None:
    parties, session = agreed(210, 21)
    pairs, members = pairs_of(parties), set(session.committee)
    for site in parties.sites:
        due = set(parties.sites) if site in members else members | set(session.neighbours(site))
        assert set(pairs[site]) == due - {site}
        assert all(pairs[peer][site] == secret for peer, secret in pairs[site].items())
    edges = sum(len(mine) for mine in pairs.values()) // 2
    assert len({secret for mine in pairs.values() for secret in mine.values()}) == edges
    assert edges < 210 * 209 // 2


@pytest.mark.parametrize("count", [4, 60])
def test_everybody_ends_with_the_session_that_the_hub_has(count: int) -> None:
    parties, session = agreed(count)
    states = [parties.states[site] for site in parties.sites]
    assert all(isinstance(state, Waiting) and state.paired.session == session for state in states)
    assert session.roster == parties.sites
    assert session.keys == tuple(parties.public[site] for site in parties.sites)


def test_two_attempts_of_setup_share_no_key_no_randomness_and_no_beacon() -> None:
    parties = Parties(FOUR)
    _, first = offers_of(parties)
    parties.invite(1)
    second = parties.ask(key_setup.begin(PLAN, 1, parties.public, -1, 3))
    assert not {offer.public for offer in first.values()} & {offer.public for offer in second.values()}
    assert not {offer.commitment for offer in first.values()} & {offer.commitment for offer in second.values()}
    _, all_present = agreed(4)
    again = Parties(FOUR)
    later = again.setup(Hooks(silent(Reveals, "d")))
    assert later.beacon != all_present.beacon


@pytest.mark.parametrize("site", FOUR)
@pytest.mark.parametrize("round_", SETUP)
def test_any_one_of_four_may_vanish_in_any_round_of_setup(round_: type[Message], site: str) -> None:
    parties = Parties(FOUR)
    session = parties.setup(Hooks(silent(round_, site)))
    left = others(FOUR, site)
    assert session.roster == left
    assert parties.total(session).vector().tolist() == plain(parties.vectors, left)


def test_runs_with_one_seed_agree_on_what_chance_of_the_library_does_not_touch() -> None:
    one, two = (Parties(FOUR, "seed") for _ in range(2))
    assert [encode(offer) for offer in offers_of(one)[1].values()] == [
        encode(offer) for offer in offers_of(two)[1].values()
    ]
    assert isinstance(one.states["a"], key_setup.Offered)
    assert all(isinstance(state, Invited) for state in Parties(FOUR).states.values())
    assert powers(FOUR)["d"][0] == 27


# The manifest


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


def test_a_manifest_of_another_ring_is_refused() -> None:
    parties = Parties(FOUR)
    refuses(parties, "a", invited(parties, ring=32), "ring")
    refuses(Parties(FOUR, ring=32), "a", invited(parties), "ring")
    refuses(parties, "a", invited(parties, ring=16), "Manifest")


@pytest.mark.parametrize(
    "change",
    [
        {"corrupt": 0},
        {"threshold": 2},
        {"survivors": 2},
        {"threshold": 4},
        {"committee": 3},
        {"degree": 2},
        {"kept": 1},
    ],
)
def test_floors_that_are_not_the_charters_are_refused(change: dict[str, int]) -> None:
    parties = Parties(FOUR)
    floors = replace(Floors.of(4, -1, 3), **change)
    refuses(parties, "a", invited(parties, floors=floors), "threshold and floor")


def test_a_hub_that_leaves_honest_sites_out_of_setup_lowers_no_share_of_those_that_may_collude() -> None:
    parties = Parties("abcdefg")
    roster = tuple("abcde")
    for share in (-1, 1):  # as if the five were all that the plan names
        refuses(parties, "a", invited(parties, roster=roster, floors=Floors.of(5, share, 3)), "threshold and floor")
    of_the_plan = Floors.of(5, tolerated_of(7, -1), 3)
    assert of_the_plan.corrupt == 2
    assert parties.deliver("a", invited(parties, roster=roster, floors=of_the_plan))


# Offers


def test_a_key_that_the_hub_substitutes_with_or_without_a_signature_is_found() -> None:
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


# Reveals


def test_a_reveal_that_does_not_match_its_commitment_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    lie = resigned(parties, "b", replies["b"], transcript, rho=bytes(32))
    with pytest.raises(ProtocolViolation, match="other randomness"):
        close(ask, {**replies, "b": lie})
    reveals = Reveals(tuple(lie if site == "b" else replies[site] for site in FOUR))
    refuses(parties, "c", reveals, "other randomness")


def test_reveals_that_the_hub_altered_are_refused() -> None:
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    reveals = close(ask, replies).requests["c"].reveals
    refuses(parties, "c", Reveals(reveals[:3]), "one per site")
    refuses(parties, "c", Reveals((replace(reveals[0], rho=bytes(32)), *reveals[1:])), "signature")
    refuses(parties, "c", Reveals((reveals[1], reveals[0], *reveals[2:])), "signature")
    own = resigned(parties, "c", reveals[2], transcript, rho=bytes(32))
    refuses(parties, "c", Reveals((*reveals[:2], own, reveals[3])), "other randomness")
    again = replace(reveals[2], signature=resigned(parties, "c", reveals[2], bytes(32)).signature)
    refuses(parties, "c", Reveals((*reveals[:2], again, reveals[3])), "signature")


def test_whoever_reveals_last_changes_the_beacon_by_nothing_but_its_silence() -> None:
    """The beacon follows from what was committed to before anything was revealed: no second value passes."""
    parties = Parties(FOUR)
    ask, replies, transcript = revealed_by(parties)
    for number in range(8):
        lie = resigned(parties, "d", replies["d"], transcript, rho=bytes([number]) * 32)
        with pytest.raises(ProtocolViolation, match="other randomness"):
            close(ask, {**replies, "d": lie})
    assert close(ask, replies).state.session.beacon == agreed(4)[1].beacon


# Ciphertexts


def test_a_site_that_does_not_reach_every_later_site_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies = encapsulated_by(parties)
    b = replies["b"].ciphertexts
    for ciphertexts in (b[:1], (*b, b[0]), ()):
        with pytest.raises(ProtocolViolation, match="every later peer"):
            close(ask, {**replies, "b": reencapsulated(parties, ask, "b", *ciphertexts)})


def test_ciphertexts_that_their_site_did_not_sign_are_found_by_the_hub() -> None:
    parties = Parties(FOUR)
    ask, replies = encapsulated_by(parties)
    b = replies["b"]
    for altered in (replace(b, ciphertexts=b.ciphertexts[::-1]), replace(b, ciphertexts=(bytes(1088),) * 2)):
        with pytest.raises(ProtocolViolation, match="signature"):
            close(ask, {**replies, "b": altered})


def test_a_ciphertext_that_the_hub_altered_moved_or_left_out_is_refused() -> None:
    parties = Parties(FOUR)
    ask, replies = encapsulated_by(parties)
    requests = close(ask, replies).requests
    sent = requests["c"].sent  # from a and b
    foreign = requests["d"].sent[0]  # from a as well, but to d
    hubs = replace(sent[0], ciphertext=encapsulate(HybridKey(bytes(96)).public)[1])
    for lie in (
        (replace(sent[0], ciphertext=bytes(1088)), sent[1]),
        (hubs, sent[1]),
        (foreign, sent[1]),
        (sent[1], sent[0]),
        (replace(sent[0], path=sent[1].path), sent[1]),
        (replace(sent[0], signature=sent[1].signature), sent[1]),
    ):
        refuses(parties, "c", Delivered(lie), "signature|path")
    refuses(parties, "c", Delivered(sent[:1]), "one from each earlier peer")
    refuses(parties, "c", Delivered((*sent, sent[0])), "one from each earlier peer")


def test_a_site_that_ends_setup_with_another_session_is_found() -> None:
    parties = Parties(FOUR)
    ask, replies = encapsulated_by(parties)
    ask = close(ask, replies)
    ready = parties.ask(ask)
    with pytest.raises(ProtocolViolation, match="another session"):
        close(ask, {**ready, "d": key_setup.Ready(bytes(32))})
