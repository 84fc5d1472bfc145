"""Signed notes: the example of the specification, what is no note, and 100 000 changed ones."""

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.audit import note
from hansa.audit.note import Line, Note, Signer, VerifierKey, parse_vkey, signed_by
from hansa.errors import ProtocolViolation
from tests.byte_changes import changed

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNED = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
SIGNER = Signer("peter.example/log", bytes([7]) * 32)
OTHER = Signer("peter.example/log", bytes([8]) * 32)
POEM = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n"


def test_the_example_of_the_specification_holds() -> None:
    key = parse_vkey(VKEY)
    parsed = note.parse(SIGNED.encode())
    assert signed_by(parsed, [key]) == {key}
    assert parsed.text == "This is an example message.\n"
    assert str(key) == VKEY
    assert bytes(parsed) == SIGNED.encode()


def test_a_text_with_empty_lines_ends_at_the_last_one() -> None:
    signed = note.parse(bytes(SIGNER.sign(POEM)))
    assert signed.text == POEM
    assert signed_by(signed, [SIGNER.key]) == {SIGNER.key}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back_whatever_it_says(text: str, seed: bytes) -> None:
    signer = Signer("any.example", seed)
    signed = note.parse(bytes(signer.sign(text + "\n")))
    assert (signed.text, signed_by(signed, [signer.key])) == (text + "\n", {signer.key})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        b"no end\n\n" + str(SIGNER.sign("a\n").lines[0]).encode()[:-1],
        SIGNED.encode()[:-1],
        SIGNED.replace("— ", "- ").encode(),
        SIGNED.replace("—", "—  ").encode(),
        SIGNED.replace("example.com/foo ", "").encode(),
        SIGNED.replace("example.com/foo", "example.com+foo").encode(),
        SIGNED.replace("example.com/foo", "example.com\u2003foo").encode(),
        SIGNED.replace("example.com/foo", "").encode(),
        SIGNED.replace("aQM=", "aQN=").encode(),
        SIGNED.replace("aQM=", "aQM").encode(),
        SIGNED.replace("aQM=", "aQM==").encode(),
        SIGNED.replace("aQM=", "aQM= ").encode(),
        SIGNED.replace("aQM=", "a-M=").encode(),
        SIGNED.replace("\n", "\r\n").encode(),
        SIGNED.replace("an example", "an\texample").encode(),
        SIGNED.replace("an example", "an\x00example").encode(),
        SIGNED.replace("an", "a\N{LATIN SMALL LETTER N WITH TILDE}").encode("latin-1", "replace"),
        SIGNED.encode() + b"\n",
        SIGNED.encode() + b"more\n",
        "a\n\n— x UQ2QOg==\n".encode(),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        note.parse(data)


def test_signatures_of_unknown_keys_are_ignored_and_a_note_without_a_known_one_is_refused() -> None:
    key, unknown = parse_vkey(VKEY), Line("example.com/foo", b"\1\2\3\4", b"whatever")
    parsed = note.parse(SIGNED.encode())
    assert signed_by(Note(parsed.text, (unknown, *parsed.lines, unknown)), [key]) == {key}
    renamed = Line("example.com/bar", key.id, parsed.lines[0].signature)
    for lines in ((unknown,), (renamed,)):
        with pytest.raises(ProtocolViolation, match="no signature by a key that is trusted"):
            signed_by(Note(parsed.text, lines), [key])


def test_one_bad_signature_by_a_known_key_makes_the_note_worthless() -> None:
    good, bad = SIGNER.sign(POEM).lines[0], OTHER.sign("another text\n").lines[0]
    keys = [SIGNER.key, OTHER.key]
    assert signed_by(Note(POEM, (good, bad)), [SIGNER.key]) == {SIGNER.key}
    for lines in ((good, bad), (bad, good)):
        with pytest.raises(ProtocolViolation, match="does not hold"):
            signed_by(Note(POEM, lines), keys)
    with pytest.raises(ProtocolViolation, match="twice"):
        signed_by(Note(POEM, (good, good)), keys)


def test_two_keys_with_one_name_and_id_are_our_own_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = SIGNER.sign(POEM)
    monkeypatch.setattr(VerifierKey, "id", property(lambda _: b"same"))
    with pytest.raises(ValueError, match="one id"):
        signed_by(signed, [SIGNER.key, OTHER.key])


def test_as_many_signatures_as_the_cap_are_read_and_one_more_is_refused() -> None:
    line = str(Line("x.example", b"abcd", bytes(64)))
    assert len(note.parse(("a\n\n" + line * note.MOST_SIGNATURES).encode()).lines) == note.MOST_SIGNATURES >= 16
    with pytest.raises(ProtocolViolation, match="too many"):
        note.parse(("a\n\n" + line * (note.MOST_SIGNATURES + 1)).encode())


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("example.com/foo", "example.com/bar"),
        VKEY.replace("example.com/foo", ""),
        VKEY[:-1],
        VKEY + "=",
        VKEY + "\n",
        " " + VKEY,
        "a+00000000+",
        "a+00000000+" + base64.b64encode(bytes([9]) + bytes(32)).decode(),
        "a+00000000+" + base64.b64encode(bytes([1]) + bytes(31)).decode(),
    ],
)
def test_what_is_no_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_vkey(vkey)


def test_a_signer_hides_its_key_and_signs_whole_lines_only() -> None:
    assert repr(SIGNER) == "Signer(peter.example/log, hidden)"
    for text in ("no end", "a\tb\n", ""):
        with pytest.raises(ValueError, match="ends its last line"):
            SIGNER.sign(text)


def test_of_100_000_changed_notes_none_is_accepted() -> None:
    draw = random.Random(3)
    texts = [POEM, "a\n", "hub.example\n1\nAAAA\n", "è\n\n\n", *(f"line {n}\nand {n * n}\n" for n in range(12))]
    originals = [bytes(SIGNER.sign(text)) for text in texts]
    accepted = 0
    for _ in range(100_000):
        data = changed(draw.choice(originals), draw, originals)
        try:
            accepted += len(signed_by(note.parse(data), [SIGNER.key]))
        except ProtocolViolation:
            continue
    assert accepted == 0
