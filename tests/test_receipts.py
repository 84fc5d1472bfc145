"""Receipts: what an institution keeps of its entry, and 100 000 that say something else."""

import random

import pytest
from msgspec.structs import replace

from hansa.audit import proof
from hansa.audit.note import Note
from hansa.audit.policy import Policy
from hansa.audit.proof import Receipt
from hansa.errors import ProtocolViolation
from tests.byte_changes import changed
from tests.grown import TIME, Grown, all_of_them, cosigned_by, numbered

GROWN = Grown(numbered(100))
HEAD = GROWN.head()
POLICY = all_of_them()
NOTE = cosigned_by(HEAD)


def receipt(index: int, size: int | None = None, checkpoint: Note = NOTE) -> Receipt:
    return Receipt(GROWN.entries[index], index, GROWN.inclusion(index, size), checkpoint)


def test_a_receipt_of_every_entry_holds_and_is_read_back() -> None:
    for index in range(100):
        kept = receipt(index)
        assert proof.parse(bytes(kept)) == kept
    assert proof.check(receipt(99), POLICY).checkpoint.head == HEAD
    assert set(proof.check(receipt(0), POLICY).times.values()) == {TIME}


def test_a_receipt_in_a_tree_of_one_has_no_path() -> None:
    only = Grown([b"the first"])
    kept = Receipt(b"the first", 0, only.inclusion(0), cosigned_by(only.head()))
    assert b"index 0\n\nhub.example" in bytes(kept)
    assert proof.check(proof.parse(bytes(kept)), POLICY).checkpoint.head.size == 1


def test_a_receipt_looks_as_the_specification_has_it() -> None:
    lines = bytes(receipt(5)).decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra ZW50cnkgNQ==", "index 5"]
    assert lines[10:12] == ["", "hub.example/log"]


def test_a_receipt_of_another_entry_place_tree_or_of_too_few_witnesses_does_not_hold() -> None:
    good = receipt(5)
    wrong = [
        replace(good, entry=b"entry 6"),
        replace(good, entry=b""),
        replace(good, entry=bytes(2**16)),
        replace(good, index=6),
        replace(good, index=100),
        replace(good, path=good.path[1:]),
        replace(good, path=()),
        receipt(5, 99),
        replace(good, checkpoint=cosigned_by(HEAD, ["north", "south"])),
        replace(good, checkpoint=cosigned_by(GROWN.head(99))),
        replace(good, checkpoint=Note(NOTE.text, NOTE.lines[1:])),
    ]
    for one in wrong:
        with pytest.raises(ProtocolViolation):
            proof.check(one, POLICY)


@pytest.mark.parametrize("entry", [b"", bytes(2**16)])
def test_an_entry_that_no_bundle_could_hold_is_refused_though_the_tree_has_it(entry: bytes) -> None:
    only = Grown([entry])
    with pytest.raises(ProtocolViolation, match="empty or too long"):
        proof.check(Receipt(entry, 0, (), cosigned_by(only.head())), POLICY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("proof@v1", "proof@v2"),
        ("c2sp.org", "\nc2sp.org"),
        ("extra ZW50cnkgNQ==\n", ""),
        ("extra ", "extra"),
        ("extra ", "extra  "),
        ("ZW50cnkgNQ==", "ZW50cnkgNQ"),
        ("ZW50cnkgNQ==", "ZW50cnkgNR=="),
        ("index 5\n", ""),
        ("index 5", "index 05"),
        ("index 5", "index +5"),
        ("index 5", "index 5\n" + "\n".join(["A" * 43 + "="] * 64)),
        ("index 5", "index 5\nAAAA"),
        ("\n\nhub", "\nhub"),
        ("\n\nhub", "\n\n\nhub"),
        ("\n", "\r\n"),
    ],
)
def test_what_is_no_receipt_is_refused(old: str, new: str) -> None:
    text = bytes(receipt(5)).decode()
    assert old in text
    with pytest.raises(ProtocolViolation):
        proof.check(proof.parse(text.replace(old, new).encode()), POLICY)


def without_order(kept: Receipt) -> Receipt:
    """The receipt but for the order of its signatures, which says nothing."""
    return replace(kept, checkpoint=Note(kept.checkpoint.text, tuple(sorted(kept.checkpoint.lines, key=str))))


def test_of_100_000_changed_receipts_none_holds() -> None:
    """One witness and one key: with more, a change to a signature that isn't needed leaves a receipt good."""
    draw = random.Random(6)
    one = all_of_them(1)
    policy = Policy(one.logs, one.witnesses[:1], (), one.witnesses[0].name)
    kept = []
    for size in (1, 2, 3, 7, 33, 64, 99, 100):
        whole = cosigned_by(GROWN.head(size), ["north"])
        checkpoint = Note(whole.text, whole.lines[:2])
        kept += [receipt(index, size, checkpoint) for index in {0, size // 2, size - 1}]
    for good in kept:
        proof.check(good, policy)
    originals, same = list(map(bytes, kept)), list(map(without_order, kept))
    held = refused = 0
    while refused < 100_000 and not held:
        try:
            parsed = proof.parse(changed(draw.choice(originals), draw, originals))
            proof.check(parsed, policy)
            held += without_order(parsed) not in same
        except ProtocolViolation:
            refused += 1
    assert held == 0
