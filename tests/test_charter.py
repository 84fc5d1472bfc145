"""A charter is its members' word: signed by all of them, byte for byte, or it is none."""

from typing import Any

import pytest
from msgspec.structs import replace

from hansa import charter as charters
from hansa.charter import Charter, Party, Rules, SignedCharter, draft, load, rules_from, sign
from hansa.crypto.keys import HybridKey, SigningKey
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import encode

SITES = ("a", "b", "c", "d")
KEYS = {name: SigningKey(bytes([place]) * 32) for place, name in enumerate(("hub", *SITES))}
PARTIES = {
    name: Party(name, key.public, HybridKey(bytes([place]) * 96).public)
    for place, (name, key) in enumerate(KEYS.items())
}
MEMBERS = [PARTIES[site] for site in SITES]
CHARTER = draft("hospitals", PARTIES["hub"], MEMBERS, Rules())


def signed(charter: Charter, signers: tuple[str, ...] = SITES) -> bytes:
    return encode(SignedCharter(encode(charter), tuple(sign(charter, KEYS[site]) for site in signers)))


def test_a_charter_that_every_member_signed_is_loaded() -> None:
    assert load(signed(CHARTER)) == CHARTER


def test_members_stand_in_the_order_of_their_names() -> None:
    assert draft("hospitals", PARTIES["hub"], MEMBERS[::-1], Rules()) == CHARTER


@pytest.mark.parametrize("signers", [(), ("a", "b", "c"), ("a", "b", "c", "d", "d"), ("a", "b", "c", "hub")])
def test_a_charter_that_a_member_did_not_sign_is_refused(signers: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolViolation):
        load(signed(CHARTER, signers))


def test_signatures_in_another_order_are_refused() -> None:
    with pytest.raises(ProtocolViolation):
        load(signed(CHARTER, ("b", "a", "c", "d")))


@pytest.mark.parametrize(
    "change",
    [
        {"consortium": "others"},
        {"version": 2},
        {"hub": PARTIES["a"]},
        {"members": tuple(MEMBERS[:3])},
        {"members": (*MEMBERS[:3], replace(PARTIES["d"], signing=KEYS["hub"].public))},
        {"members": (*MEMBERS[:3], replace(PARTIES["d"], sealing=PARTIES["hub"].sealing))},
        {"rules": Rules(corrupt=0)},
    ],
)
def test_a_charter_that_was_altered_after_it_was_signed_is_refused(change: dict[str, Any]) -> None:
    signatures = tuple(sign(CHARTER, KEYS[site]) for site in SITES)
    altered = replace(CHARTER, **change)
    assert altered.digest != CHARTER.digest
    with pytest.raises(ProtocolViolation):
        load(encode(SignedCharter(encode(altered), signatures)))


@pytest.mark.parametrize("place", [0, 20, 60, 2000, -1, -70])
def test_no_byte_of_a_signed_charter_may_change(place: int) -> None:
    altered = bytearray(signed(CHARTER))
    altered[place] ^= 1
    with pytest.raises(ProtocolViolation):
        load(bytes(altered))


def test_a_signature_for_a_plan_is_none_for_a_charter() -> None:
    signatures = tuple(KEYS[site].sign("plan/consent", encode(CHARTER)) for site in SITES)
    with pytest.raises(ProtocolViolation):
        load(encode(SignedCharter(encode(CHARTER), signatures)))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_fewer_than_three_members_are_no_consortium(size: int) -> None:
    with pytest.raises(Refused, match="fewer than three"):
        draft("hospitals", PARTIES["hub"], MEMBERS[:size], Rules())


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([*MEMBERS, PARTIES["a"]], id="a member twice"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], id="a")], id="two of one name"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], signing=PARTIES["a"].signing)], id="two of one key"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], signing=PARTIES["hub"].signing)], id="the hub's key"),
    ],
)
def test_two_members_never_share_a_name_or_a_key(members: list[Party]) -> None:
    with pytest.raises(Refused, match=r"share a key|are named 'a'"):
        draft("hospitals", PARTIES["hub"], members, Rules())


@pytest.mark.parametrize("name", ["hub", "", "A", "a b", "x" * 33, "a\n", "../a", "a*"])
def test_a_member_has_a_site_name(name: str) -> None:
    with pytest.raises(Refused, match="no site name"):
        draft("hospitals", PARTIES["hub"], [*MEMBERS, replace(PARTIES["d"], id=name)], Rules())


@pytest.mark.parametrize(
    "members",
    [
        pytest.param((), id="nobody"),
        pytest.param(("a", "b"), id="two"),
        pytest.param(("a", "a", "b"), id="one of them twice"),
        pytest.param(("c", "b", "a"), id="not sorted"),
    ],
)
def test_a_charter_that_no_draft_would_make_is_not_loaded_even_if_its_members_signed(members: tuple[str, ...]) -> None:
    odd = replace(CHARTER, members=tuple(PARTIES[name] for name in members))
    with pytest.raises((ProtocolViolation, Refused)):
        load(signed(odd, members))


@pytest.mark.parametrize("change", [{"version": 0}, {"consortium": ""}, {"consortium": "x" * 101}])
def test_a_charter_out_of_its_limits_is_refused_however_well_it_is_signed(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolation):
        load(signed(replace(CHARTER, **change)))


@pytest.mark.parametrize(
    "rules",
    [Rules(minimum_sites=2), Rules(corrupt=-2), Rules(round_seconds=0), Rules(minimum_sites=1001)],
)
def test_rules_out_of_their_range_are_refused_however_well_they_are_signed(rules: Rules) -> None:
    with pytest.raises(ProtocolViolation):
        load(signed(replace(CHARTER, rules=rules)))


@pytest.mark.parametrize(
    "table",
    [
        {"minimum_sites": 2},
        {"minimum_sites": 1001},
        {"minimum_sites": 3.5},
        {"minimum_sites": "3"},
        {"minimum_sites": True},
        {"corrupt": -2},
        {"corrupt": None},
        {"round_seconds": 0},
        {"round_seconds": 7 * 86_400 + 1},
        {"rounds": 3},
    ],
)
def test_rules_that_a_consortium_file_can_not_mean_are_refused_in_one_sentence(table: dict[str, object]) -> None:
    with pytest.raises(Refused, match=r"^\[rules\][^\n]+$"):
        rules_from(table)


def test_rules_that_are_left_out_have_their_defaults() -> None:
    assert rules_from({}) == Rules()
    assert rules_from({"corrupt": 2, "round_seconds": 5}) == Rules(3, 2, 5)


def test_parties_are_found_by_name() -> None:
    assert CHARTER.member("b") == PARTIES["b"]
    assert CHARTER.party("hub") == PARTIES["hub"]
    assert CHARTER.signing_keys(("a", "c")) == {"a": KEYS["a"].public, "c": KEYS["c"].public}
    for name in ("z", "hub", ""):
        with pytest.raises(Refused, match="not a member"):
            CHARTER.member(name)


def test_a_charters_digest_changes_with_its_version() -> None:
    assert (
        replace(CHARTER, version=2).digest
        != CHARTER.digest
        == charters.draft("hospitals", PARTIES["hub"], MEMBERS, Rules()).digest
    )
