"""A charter is its members' word: signed by all of them, byte for byte, or it is none."""

from typing import Any

import pytest
from msgspec.structs import replace

from hansa import charter as charters
from hansa.charter import (
    FIRST,
    Charter,
    FirstCharter,
    FirstRules,
    FirstSignedCharter,
    Member,
    Party,
    Rules,
    Signatory,
    SignedCharter,
    draft,
    load,
    rules_from,
    sealed,
    sign,
    threshold,
)
from hansa.crypto.bundles import MemberKeys
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import encode
from tests import cards

SITES = ("a", "b", "c", "d")
KEYS = {site: cards.member_keys(place) for place, site in enumerate(SITES)}
HUB = cards.hub()
PARTIES = {site: cards.member(site, place) for place, site in enumerate(SITES)}
MEMBERS = [PARTIES[site] for site in SITES]
CHARTER = draft("hospitals", HUB, MEMBERS, Rules(), cards.ORIGIN)


def again(members: list[Member], rules: Rules | None = None) -> Charter:
    return draft("hospitals", HUB, members, rules or Rules(), cards.ORIGIN)


def signed(charter: Charter, signers: tuple[str, ...] = SITES) -> bytes:
    return sealed(charter, [sign(charter, site, KEYS[site]) for site in signers])


def followed(members: list[Member], **changed: Any) -> Charter:
    """The version after CHARTER."""
    return replace(draft("hospitals", HUB, members, Rules(), cards.ORIGIN, CHARTER), **changed)


def test_a_charter_that_every_member_signed_is_loaded() -> None:
    assert load(signed(CHARTER)) == CHARTER


def test_members_stand_in_the_order_of_their_names() -> None:
    assert again(MEMBERS[::-1]) == CHARTER


@pytest.mark.parametrize("signers", [(), ("a", "b", "c")])
def test_a_charter_that_a_member_did_not_sign_is_refused(signers: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolViolation):
        load(signed(CHARTER, signers))


def test_signatures_in_another_order_or_twice_are_refused() -> None:
    each = [sign(CHARTER, site, KEYS[site]) for site in SITES]
    for order in (each[::-1], [*each, each[-1]]):
        with pytest.raises(ProtocolViolation, match="in order"):
            load(encode(SignedCharter(CHARTER.encoded, tuple(order))))


def test_both_of_a_members_signatures_must_hold() -> None:
    each = [sign(CHARTER, site, KEYS[site]) for site in SITES]
    for change in ({"signature": each[1].signature}, {"lasting": each[1].lasting}, {"site": "z"}):
        with pytest.raises(ProtocolViolation, match="signed by 3 of its members; 4 must"):
            load(sealed(CHARTER, [replace(each[0], **change), *each[1:]]))


@pytest.mark.parametrize(
    "change",
    [
        {"consortium": "others"},
        {"version": 2},
        {"hub": cards.hub(9)},
        {"origin": "hansa/other/0"},
        {"members": tuple(MEMBERS[:3])},
        {"members": (*MEMBERS[:3], replace(PARTIES["d"], signing=HUB.sealing[:32]))},
        {"members": (*MEMBERS[:3], replace(PARTIES["d"], sealing=HUB.sealing))},
        {"rules": Rules(corrupt=0)},
    ],
)
def test_a_charter_that_was_altered_after_it_was_signed_is_refused(change: dict[str, Any]) -> None:
    altered = replace(CHARTER, **change)
    assert altered.digest != CHARTER.digest
    with pytest.raises(ProtocolViolation):
        load(sealed(altered, [sign(CHARTER, site, KEYS[site]) for site in SITES]))


@pytest.mark.parametrize("place", [0, 20, 60, 2000, -1, -70])
def test_no_byte_of_a_signed_charter_may_change(place: int) -> None:
    altered = bytearray(signed(CHARTER))
    altered[place] ^= 1
    with pytest.raises(ProtocolViolation):
        load(bytes(altered))


def test_a_signature_for_a_plan_is_none_for_a_charter() -> None:
    def misused(keys: MemberKeys, site: str) -> Signatory:
        one = sign(CHARTER, site, keys)
        return replace(one, signature=keys.consent.sign("plan/consent", CHARTER.encoded))

    with pytest.raises(ProtocolViolation):
        load(sealed(CHARTER, [misused(KEYS[site], site) for site in SITES]))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_fewer_than_three_members_are_no_consortium(size: int) -> None:
    with pytest.raises(Refused, match="fewer than three"):
        again(MEMBERS[:size])


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([*MEMBERS, PARTIES["a"]], id="a member twice"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], id="a")], id="two of one name"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], signing=PARTIES["a"].signing)], id="two of one key"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], signing=HUB.signing)], id="the hub's key"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], consent=PARTIES["d"].signing)], id="one for two things"),
        pytest.param([*MEMBERS[:3], replace(PARTIES["d"], witness=HUB.log)], id="the log's key"),
    ],
)
def test_two_members_never_share_a_name_or_a_key(members: list[Member]) -> None:
    with pytest.raises(Refused, match=r"share a key|are named 'a'"):
        again(members)


@pytest.mark.parametrize("name", ["hub", "", "A", "a b", "x" * 33, "a\n", "../a", "a*"])
def test_a_member_has_a_site_name(name: str) -> None:
    with pytest.raises(Refused, match="no site name"):
        again([*MEMBERS, replace(PARTIES["d"], id=name)])


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
        load(signed(odd, tuple(sorted(set(members)))))


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
    assert CHARTER.party("hub") == HUB
    assert CHARTER.signing_keys(("a", "c")) == {"a": KEYS["a"].signing.public, "c": KEYS["c"].signing.public}
    assert CHARTER.word_of("a") == KEYS["a"].consent.public
    for name in ("z", "hub", ""):
        with pytest.raises(Refused, match="not a member"):
            CHARTER.member(name)


def test_a_charters_digest_changes_with_its_version() -> None:
    assert replace(CHARTER, version=2).digest != CHARTER.digest == again(MEMBERS).digest


def test_the_next_version_is_signed_by_the_threshold_of_both() -> None:
    """Of four members one may be corrupt: three sign."""
    assert threshold(CHARTER) == 3
    newer = followed([*MEMBERS[:3], cards.member("e", 4)])
    keys = KEYS | {"e": cards.member_keys(4)}

    def by(*names: str) -> bytes:
        return sealed(newer, [sign(newer, name, keys[name]) for name in names])

    assert load(by("a", "b", "c"), CHARTER) == newer
    for too_few in (by("a", "b", "e"), by("a", "b", "d"), by("a", "b")):
        with pytest.raises(ProtocolViolation, match=r"3 must"):
            load(too_few, CHARTER)


def test_a_member_is_removed_by_the_others() -> None:
    smaller = followed(MEMBERS[:3])
    assert load(signed(smaller, ("a", "b", "c")), CHARTER) == smaller


def test_a_member_that_changes_its_keys_signs_with_the_old_and_the_new() -> None:
    newer = followed([replace(cards.member("a", 20), name="Institution a"), *MEMBERS[1:]])
    once = [sign(newer, "a", cards.member_keys(20)), sign(newer, "b", KEYS["b"]), sign(newer, "c", KEYS["c"])]
    with pytest.raises(ProtocolViolation, match="by 2 members of version 1; 3 must"):
        load(sealed(newer, once), CHARTER)
    assert load(sealed(newer, [*once, sign(newer, "a", KEYS["a"])]), CHARTER) == newer


@pytest.mark.parametrize(
    "change",
    [{"version": 3}, {"previous": bytes(31) + b"x"}, {"consortium": "others"}, {"version": 1, "previous": FIRST}],
)
def test_a_charter_that_does_not_follow_is_refused_however_well_it_is_signed(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolation, match=r"follow|another consortium"):
        load(signed(followed(MEMBERS, **change)), CHARTER)


# A new log


def test_a_version_may_begin_a_new_log_that_is_named_after_it() -> None:
    second = followed(MEMBERS, origin=f"{cards.ORIGIN}/v2")
    assert (CHARTER.log_began, second.log_began) == (1, 2)
    assert charters.next_origin(CHARTER) == second.origin
    assert load(signed(second, ("a", "b", "c")), CHARTER) == second
    third = draft("hospitals", HUB, MEMBERS, Rules(), second.origin, second)
    assert load(signed(third), second).log_began == 2
    fourth = draft("hospitals", HUB, MEMBERS, Rules(), charters.next_origin(third), third)
    assert fourth.origin == f"{cards.ORIGIN}/v4"
    chain = [signed(CHARTER), signed(second), signed(third), signed(fourth)]
    assert charters.load_chain(chain)[-1] == fourth


@pytest.mark.parametrize(
    "origin", ["hansa/other/0", "hansa/other/v2", f"{cards.ORIGIN}/v1", f"{cards.ORIGIN}/v2/v2", f"{cards.ORIGIN}/v02"]
)
def test_no_other_log_begins_by_accident(origin: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"goes on, or '{cards.ORIGIN}/v2' begins"):
        load(signed(followed(MEMBERS, origin=origin)), CHARTER)


def test_there_is_no_way_back_to_a_log_that_is_over() -> None:
    second = followed(MEMBERS, origin=f"{cards.ORIGIN}/v2")
    for origin in (cards.ORIGIN, f"{cards.ORIGIN}/v1"):
        third = draft("hospitals", HUB, MEMBERS, Rules(), origin, second)
        with pytest.raises(ProtocolViolation, match="goes on, or"):
            load(signed(third), second)
    with pytest.raises(Refused, match="a later version is to begin"):
        draft("hospitals", HUB, MEMBERS, Rules(), f"{cards.ORIGIN}/v7", CHARTER)


@pytest.mark.parametrize(
    "change",
    [
        {"rules": Rules(quorum=3)},
        {"members": tuple(MEMBERS[:3])},
        {"hub": cards.hub(9)},
        {"members": (replace(PARTIES["a"], name="Another"), *MEMBERS[1:])},
    ],
)
def test_a_version_that_begins_a_new_log_changes_nothing_else(change: dict[str, Any]) -> None:
    second = replace(followed(MEMBERS, origin=f"{cards.ORIGIN}/v2"), **change)
    with pytest.raises(ProtocolViolation, match="changes nothing else"):
        load(signed(second, ("a", "b", "c")), CHARTER)


@pytest.mark.parametrize("quorum", [1, 2, 5])
def test_a_quorum_that_two_histories_could_reach_is_refused(quorum: int) -> None:
    with pytest.raises(Refused, match="two histories"):
        again(MEMBERS, Rules(quorum=quorum))


def test_a_quorum_may_be_less_than_all_and_is_all_by_default() -> None:
    assert again(MEMBERS, Rules(quorum=3)).quorum == 3
    assert CHARTER.quorum == 4


# Hansa 0.1


def first_format() -> tuple[FirstCharter, bytes]:
    def plain(party: Party) -> Party:
        return Party(party.id, party.signing, party.sealing)

    old = FirstCharter("hospitals", 1, plain(HUB), tuple(plain(member) for member in MEMBERS), FirstRules())
    signatures = tuple(KEYS[site].signing.sign("charter", encode(old)) for site in SITES)
    return old, encode(FirstSignedCharter(encode(old), signatures))


def test_a_charter_of_the_first_format_is_read_with_its_own_digest_and_has_no_witnesses() -> None:
    old, data = first_format()
    charter = load(data)
    assert charter.encoded == encode(old) and not charter.witnessed and not charter.hub.log
    assert charter.word_of("a") == KEYS["a"].signing.public


def test_a_charter_of_the_first_format_may_be_followed_by_one_of_the_second_and_never_the_other_way() -> None:
    _old, data = first_format()
    before = load(data)
    newer = draft("hospitals", HUB, MEMBERS, Rules(), before.origin, before)
    with_old = {site: MemberKeys(cards.seeds(place, 128)) for place, site in enumerate(SITES)}
    by_old = [
        Signatory(site, keys.consent.sign("charter", newer.encoded), bytes(3309)) for site, keys in with_old.items()
    ]
    both = [*by_old, *(sign(newer, site, KEYS[site]) for site in SITES)]
    assert load(sealed(newer, both), before) == newer
    assert load(data) == before
    with pytest.raises(ProtocolViolation, match="older format"):
        charters.check_follows(replace(before, version=3, previous=newer.digest), newer)


def test_a_charter_of_the_first_format_follows_no_other_whoever_signed_it() -> None:
    """Its signatures are by the keys that it names itself, so anybody can make one."""
    old, data = first_format()
    with pytest.raises(ProtocolViolation, match="does not follow"):
        load(data, CHARTER)
    newer = encode(replace(old, version=2))
    signatures = tuple(KEYS[site].signing.sign("charter", newer) for site in SITES)
    with pytest.raises(ProtocolViolation):
        load(encode(FirstSignedCharter(newer, signatures)))


def test_the_second_formats_bytes_can_not_say_that_they_are_of_the_first() -> None:
    with pytest.raises(ProtocolViolation):
        charters.read(encode(replace(CHARTER, format=1)))
