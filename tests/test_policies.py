"""Policies of trust: which are read, and which sets of witnesses are enough."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.audit import policy
from hansa.audit.checkpoint import Checkpoint
from hansa.audit.note import Note, Signer
from hansa.audit.policy import Policy, accepted, for_members, reaches, satisfied, seen
from hansa.errors import ProtocolViolation
from tests.grown import ED25519, LOG, MEMBERS, MLDSA44, TIME, WITNESSES, Grown, all_of_them, cosigned_by, numbered

HEAD = Grown(numbered(9)).head()
X1, X2, X3 = (ED25519[name].key for name in MEMBERS)
Y1, Y2, Y3 = (MLDSA44[name].key for name in MEMBERS)
OF_THE_SPECIFICATION = f"""log {LOG.key}
witness X1 {X1}
witness X2 {X2}
witness X3 {X3}
witness Y1 {Y1}
witness Y2 {Y2}
witness Y3 {Y3}
group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_policy_of_the_specification_asks_for_two_of_three_and_one_of_three() -> None:
    parsed = policy.parse(OF_THE_SPECIFICATION.encode())
    assert str(parsed) == OF_THE_SPECIFICATION
    names = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
    for count in range(7):
        for some in combinations(names, count):
            enough = sum(name[0] == "X" for name in some) >= 2 and any(name[0] == "Y" for name in some)
            assert reaches(parsed, set(some)) is enough


@pytest.mark.parametrize("least", [1, 2, 3])
def test_a_policy_for_members_is_read_back_and_counts_members_and_not_keys(least: int) -> None:
    made = all_of_them(least)
    assert policy.parse(str(made).encode()) == made
    for count in range(4):
        for some in combinations(MEMBERS, count):
            assert satisfied(made, cosigned_by(HEAD, some)) is (count >= least)
    whole = cosigned_by(HEAD, MEMBERS[:2])
    half = Note(whole.text, whole.lines[:-1])  # the second of them with one of its two keys
    assert satisfied(made, half) is (least == 1)


def test_what_is_seen_is_the_head_and_the_time_of_each_key() -> None:
    found = accepted(all_of_them(2), cosigned_by(HEAD, ["north", "west"]))
    assert found.checkpoint.head == HEAD
    assert found.times == dict.fromkeys(["north/ed25519", "north/ml-dsa-44", "west/ed25519", "west/ml-dsa-44"], TIME)
    with pytest.raises(ProtocolViolation, match="too few"):
        accepted(all_of_them(3), cosigned_by(HEAD, ["north", "west"]))


def test_a_bad_cosignature_rejects_the_note_even_where_enough_others_hold() -> None:
    good, other = cosigned_by(HEAD), cosigned_by(Grown(numbered(8)).head())
    assert satisfied(all_of_them(2), good)
    with pytest.raises(ProtocolViolation, match="does not hold"):
        satisfied(all_of_them(2), Note(good.text, (*good.lines[:-1], other.lines[-1])))


def test_no_quorum_makes_up_for_the_signature_of_the_log() -> None:
    whole = cosigned_by(HEAD)
    with pytest.raises(ProtocolViolation, match="trusted"):
        seen(all_of_them(), Note(whole.text, whole.lines[1:]))
    with pytest.raises(ProtocolViolation, match="trusted"):
        seen(all_of_them(), LOG.sign(Checkpoint("elsewhere.example", HEAD).text))
    elsewhere = for_members(Signer("elsewhere.example", bytes(32)).key, WITNESSES, 3)
    with pytest.raises(ProtocolViolation, match="trusted"):
        seen(elsewhere, whole)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("quorum X-and-Y\n", ""),
        ("quorum X-and-Y\n", "quorum none\n"),
        ("quorum X-and-Y\n", "quorum Z\n"),
        ("quorum X-and-Y\n", "quorum X1\nquorum X1\n"),
        ("quorum X-and-Y\n", "quorum X-and-Y"),
        ("quorum X-and-Y\n", "quorum X-and-Y\n\n"),
        ("quorum X-and-Y\n", "quorum  X-and-Y\n"),
        ("quorum X-and-Y\n", "quorum X-and-Y # enough\n"),
        ("log ", "# a comment\nlog "),
        ("log ", "Log "),
        (f"log {LOG.key}\n", ""),
        (f"log {LOG.key}\n", f"log {LOG.key}\nlog {LOG.key}\n"),
        (f"log {LOG.key}\n", f"log {LOG.key} https://hub.example\n"),
        (f"log {LOG.key}", f"log {X1}"),
        (f"X1 {X1}", f"X1 {LOG.key}"),
        (f"X1 {X1}", f"X1 {X2}"),
        ("witness X2", "witness X1"),
        (" X2", " none"),
        ("X-witnesses 2", "X-witnesses 0"),
        ("X-witnesses 2", "X-witnesses 02"),
        ("X-witnesses 2", "X-witnesses 4"),
        ("X-witnesses 2", "X-witnesses -1"),
        ("X-witnesses 2", "X-witnesses most"),
        ("2 X1 X2 X3", "2 X1 X2 X2"),
        ("2 X1 X2 X3", "2 X1 X2 X4"),
        ("2 X1 X2 X3", "2 X1 X2 X-witnesses"),
        ("2 X1 X2 X3", "all"),
        ("any Y1", "any X1"),
        ("group Y-witnesses", "group X-witnesses"),
        ("group Y-witnesses", "group Y1"),
    ],
)
def test_what_is_no_policy_of_ours_is_refused(old: str, new: str) -> None:
    assert old in OF_THE_SPECIFICATION
    with pytest.raises(ProtocolViolation):
        policy.parse(OF_THE_SPECIFICATION.replace(old, new).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"\0", b"quorum\n", b"group\n", b"log\n"])
def test_bytes_that_are_no_policy_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        policy.parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        policy.parse(data)


def test_members_from_which_no_policy_follows_are_our_own_mistake() -> None:
    for members, least in (
        (WITNESSES, 0),
        (WITNESSES, 4),
        ({}, 0),
        ({"a": [X1], "b": [X1]}, 1),
        ({"a": []}, 1),
        ({"a": [LOG.key]}, 1),
    ):
        with pytest.raises(ValueError, match="no policy follows"):
            for_members(LOG.key, members, least)


def test_a_key_of_the_log_is_no_witness_of_it() -> None:
    twice = Policy((LOG.key,), (policy.Witness("it", type(X1)("it", X1.type, LOG.key.public)),), (), "it")
    with pytest.raises(ProtocolViolation, match="one key twice"):
        policy.check(twice)
