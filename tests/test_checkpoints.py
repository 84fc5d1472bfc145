"""Checkpoints and cosignatures: the log of Tessera, the examples of the specifications, and 100 000 changed ones."""

import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from msgspec.structs import replace

from hansa.audit import checkpoint, note
from hansa.audit.checkpoint import (
    Checkpoint,
    Ed25519Cosigner,
    MLDSA44Cosigner,
    add_cosignatures,
    check_cosignature,
    checked,
    cosigned,
)
from hansa.audit.note import Line, Note, VerifierKey, parse_vkey, signed_by
from hansa.audit.tiles import parse_bundle, parse_tile
from hansa.audit.tree import EMPTY_HEAD, Head, check_consistency, check_inclusion
from hansa.crypto import merkle
from hansa.errors import ProtocolViolation
from tests.byte_changes import changed
from tests.grown import ED25519, LOG, MEMBERS, MLDSA44, ORIGIN, TIME, WITNESSES, Grown, cosigned_by, numbered, signed

TESSERA = json.loads((Path(__file__).parent / "vectors" / "tessera" / "log.json").read_text())
GROWN = Grown(numbered(40))
HEAD = GROWN.head()
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501


def test_the_log_of_another_implementation_is_read_and_its_sixteen_heads_are_consistent() -> None:
    log = parse_vkey(TESSERA["key"])
    heads = [checked(note.parse(text.encode()), log).head for text in TESSERA["checkpoints"]]
    assert heads[0] == EMPTY_HEAD
    everything = parse_bundle(bytes.fromhex(TESSERA["tile/entries/000.p"]["15"]), 15)
    grown = Grown(everything)
    assert everything[:2] == [b"one", b"two"]
    for size, head in enumerate(heads[1:], 1):
        assert head == grown.head(size)
        leaves = parse_tile(bytes.fromhex(TESSERA["tile/0/000.p"][str(size)]), size)
        entries = parse_bundle(bytes.fromhex(TESSERA["tile/entries/000.p"][str(size)]), size)
        assert [merkle.leaf(entry) for entry in entries] == leaves
        for index, leaf in enumerate(leaves):
            check_inclusion(leaf, index, head, grown.inclusion(index, size))
        for old in range(1, size + 1):
            check_consistency(heads[old], head, grown.consistency(old, size))


def test_the_example_of_the_specification_is_read_and_written_back() -> None:
    parsed = note.parse(EXAMPLE.encode())
    said = checkpoint.parse_text(parsed.text)
    assert (said.origin, said.head.size) == ("example.com/behind-the-sofa", 20852163)
    assert said.text == parsed.text
    assert bytes(parsed) == EXAMPLE.encode()
    assert int.from_bytes(parsed.lines[1].signature[:8], "big") == 1679315147


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub\n1\n",
        "\n1\n{root}\n",
        "hub\n01\n{root}\n",
        "hub\n+1\n{root}\n",
        "hub\n-1\n{root}\n",
        "hub\n1 \n{root}\n",
        "hub\n١\n{root}\n",
        "hub\n9223372036854775808\n{root}\n",
        "hub\n" + "9" * 5000 + "\n{root}\n",
        "hub\n1\n{root}\nextension\n",
        "hub\n1\n{root}\n\n",
        "hub\n1\n{root}",
        "hub\n1\nAAAA\n",
        "hub\n1\n\n",
        "a hub\n1\n{root}\n",
        "h+b\n1\n{root}\n",
        "h" * 256 + "\n1\n{root}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProtocolViolation):
        checkpoint.parse_text(text.replace("{root}", note.to_base64(bytes(32))))


def test_a_checkpoint_is_its_logs_and_no_other() -> None:
    assert checked(note.parse(bytes(signed(HEAD))), LOG.key) == Checkpoint(ORIGIN, HEAD)
    stranger = note.Signer("other.example/log", bytes([3]) * 32)
    elsewhere = LOG.sign(Checkpoint("other.example/log", HEAD).text)
    for wrong in (stranger.sign(Checkpoint(ORIGIN, HEAD).text), signed(HEAD, stranger), elsewhere):
        with pytest.raises(ProtocolViolation):
            checked(wrong, LOG.key)


def test_a_witness_counts_once_and_only_where_all_its_keys_signed() -> None:
    whole = note.parse(bytes(cosigned_by(HEAD)))
    assert len(whole.lines) == 7
    assert cosigned(whole, WITNESSES) == dict.fromkeys(MEMBERS, TIME)
    for line in whole.lines[1:]:
        partly = Note(whole.text, tuple(one for one in whole.lines if one != line))
        missing = next(name for name in MEMBERS if line.name == f"{name}.example")
        assert set(cosigned(partly, WITNESSES)) == set(MEMBERS) - {missing}
        one_key = {name: [key for key in keys if key.id != line.id] for name, keys in WITNESSES.items()}
        assert set(cosigned(partly, one_key)) == set(MEMBERS)


def test_of_two_timestamps_the_earlier_one_counts() -> None:
    said = Checkpoint(ORIGIN, HEAD)
    lines = ED25519["north"].cosign(said, TIME + 9), MLDSA44["north"].cosign(said, TIME)
    assert cosigned(Note(said.text, lines), WITNESSES) == {"north": TIME}


@pytest.mark.parametrize("cosigners", [ED25519, MLDSA44], ids=["Ed25519", "ML-DSA-44"])
def test_a_cosignature_is_for_one_head_one_time_and_one_key(cosigners: dict[str, checkpoint.Ed25519Cosigner]) -> None:
    said, cosigner = Checkpoint(ORIGIN, HEAD), cosigners["north"]
    good = cosigner.cosign(said, TIME).signature
    assert check_cosignature(cosigner.key, said.text, good) == TIME
    others = [
        (cosigner.key, Checkpoint("other.example", HEAD).text, good),
        (cosigner.key, Checkpoint(ORIGIN, GROWN.head(39)).text, good),
        (cosigner.key, Checkpoint(ORIGIN, Head(41, HEAD.root)).text, good),
        (cosigners["south"].key, said.text, good),
        (cosigner.key, said.text, (TIME + 1).to_bytes(8, "big") + good[8:]),
        (cosigner.key, said.text, bytes(8) + good[8:]),
        (cosigner.key, said.text, b"\x80" + good[1:]),
        (cosigner.key, said.text, good[:-1]),
        (cosigner.key, said.text, good + b"\0"),
        (cosigner.key, said.text, b""),
        (cosigner.key, "no checkpoint\n", good),
    ]
    for key, text, signature in others:
        with pytest.raises(ProtocolViolation):
            check_cosignature(key, text, signature)


def test_what_is_cosigned_is_byte_for_byte_what_the_specification_says() -> None:
    said, time = Checkpoint("log.example", Head(0x1234, bytes(range(32)))), (0x641850CCB).to_bytes(8, "big")
    text = b"log.example\n4660\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    classical = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    quantum = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    signatures = (
        (Ed25519Cosigner("w.example", bytes(32)), classical.sign(b"cosignature/v1\ntime 26869042379\n" + text)),
        (
            MLDSA44Cosigner("w.example", bytes(32)),
            quantum.sign(
                b"subtree/v1\n\0\x09w.example\0\0\0\x06\x41\x85\x0c\xcb"
                + b"\x0blog.example\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x12\x34"
                + bytes(range(32))
            ),
        ),
    )
    for cosigner, signature in signatures:
        assert check_cosignature(cosigner.key, said.text, time + signature) == 0x641850CCB


def test_an_ml_dsa_cosignature_commits_to_the_name_of_its_cosigner() -> None:
    said, key = Checkpoint(ORIGIN, HEAD), MLDSA44["north"].key
    with pytest.raises(ProtocolViolation):
        check_cosignature(replace(key, name="renamed"), said.text, MLDSA44["north"].cosign(said, TIME).signature)


def test_a_logs_signature_is_no_cosignature_and_the_other_way_round() -> None:
    seed = bytes([5]) * 32
    log, witness = note.Signer("one.example", seed), checkpoint.Ed25519Cosigner("one.example", seed)
    said = Checkpoint("one.example", HEAD)
    assert log.key.public == witness.key.public
    assert log.key.id != witness.key.id
    as_witness = Line("one.example", witness.key.id, log.sign(said.text).lines[0].signature)
    as_log = Line("one.example", log.key.id, witness.cosign(said, TIME).signature)
    with pytest.raises(ProtocolViolation):
        cosigned(Note(said.text, (as_witness,)), {"one": [witness.key]})
    with pytest.raises(ProtocolViolation):
        signed_by(Note(said.text, (as_log,)), [log.key])
    with pytest.raises(ValueError, match="cosigns nothing"):
        check_cosignature(log.key, said.text, bytes(72))


def test_a_cosignature_without_a_time_is_not_made() -> None:
    for time in (0, -1, 2**63):
        for cosigner in (ED25519["north"], MLDSA44["north"]):
            with pytest.raises(ValueError, match="time"):
                cosigner.cosign(Checkpoint(ORIGIN, HEAD), time)


def test_a_witness_without_keys_never_counts() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        cosigned(cosigned_by(HEAD), {"nobody": []})


def test_cosigners_hide_their_keys() -> None:
    assert repr(ED25519["north"]) == "Ed25519Cosigner(north.example, hidden)"
    assert repr(MLDSA44["north"]) == "MLDSA44Cosigner(north.example, hidden)"


def test_of_a_witnesss_answer_its_own_good_lines_are_added_once() -> None:
    said, bare = Checkpoint(ORIGIN, HEAD), signed(HEAD)
    own = ED25519["north"].cosign(said, TIME), MLDSA44["north"].cosign(said, TIME)
    foreign = ED25519["south"].cosign(said, TIME)
    answer = "".join(map(str, (foreign, *own))).encode()
    once = add_cosignatures(bare, answer, WITNESSES["north"])
    assert once.lines == (*bare.lines, *own)
    later = str(ED25519["north"].cosign(said, TIME + 60)).encode()
    assert add_cosignatures(once, later, WITNESSES["north"]) == once
    wrong = str(ED25519["north"].cosign(Checkpoint(ORIGIN, GROWN.head(3)), TIME)).encode()
    for bad in (wrong, answer + answer, b"", b"nonsense\n", answer[:-1]):
        with pytest.raises(ProtocolViolation):
            add_cosignatures(bare, bad, WITNESSES["north"])


def altered(draw: random.Random, said: Checkpoint, line: Line, key: VerifierKey) -> tuple[str, Line]:
    """The same cosignature with something else in it, or over something else."""
    signature, text = line.signature, said.text
    match draw.randrange(4):
        case 0:  # a bit of time or signature
            flipped = int.from_bytes(signature, "big") ^ 1 << draw.randrange(8 * len(signature))
            signature = flipped.to_bytes(len(signature), "big")
        case 1:  # another time
            signature = draw.choice((0, TIME - 1, draw.randrange(2**64))).to_bytes(8, "big") + signature[8:]
        case 2:  # another head
            text = replace(said, head=GROWN.head(draw.randrange(40))).text
        case 3:  # shorter or longer
            signature = draw.choice((signature[: draw.randrange(len(signature))], signature + b"\0", signature[1:]))
    return text, Line(key.name, key.id, signature)


@pytest.mark.parametrize(("cosigners", "count"), [(ED25519, 60_000), (MLDSA44, 40_000)], ids=["Ed25519", "ML-DSA-44"])
def test_of_100_000_altered_cosignatures_none_counts(
    cosigners: dict[str, checkpoint.Ed25519Cosigner], count: int
) -> None:
    draw, said = random.Random(4), Checkpoint(ORIGIN, HEAD)
    keys = [cosigner.key for cosigner in cosigners.values()]
    lines = [cosigner.cosign(said, TIME) for cosigner in cosigners.values()]
    counted = 0
    for _ in range(count):
        at = draw.randrange(3)
        text, line = altered(draw, said, lines[at], keys[at if draw.random() < 0.9 else at - 1])
        try:
            counted += len(cosigned(Note(text, (line,)), {"it": [key for key in keys if key.id == line.id]}))
        except ProtocolViolation:
            continue
    assert counted == 0


def test_in_50_000_changed_notes_no_cosignature_counts_for_anything_else() -> None:
    draw = random.Random(5)
    heads = [GROWN.head(size) for size in range(1, 11)]
    notes = [Note(cosigned.text, cosigned.lines[1:2]) for cosigned in (cosigned_by(head, ["north"]) for head in heads)]
    notes += [Note(one.text, (MLDSA44["north"].cosign(checkpoint.parse_text(one.text), TIME),)) for one in notes[:3]]
    originals = [bytes(one) for one in notes]
    witnesses = {str(key.type): [key] for key in WITNESSES["north"]}
    counted = 0
    for _ in range(50_000):
        data = changed(draw.choice(originals), draw, originals)
        try:
            counted += len(cosigned(note.parse(data), witnesses))
        except ProtocolViolation:
            continue
    assert counted == 0
