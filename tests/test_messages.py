"""One encoding per value, and a letter that only its receiver opens and only its sender could have written."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from hansa import messages
from hansa.crypto.keys import HybridKey, SigningKey, label, seal
from hansa.errors import ProtocolViolation
from hansa.mail.letters import PAYLOADS
from hansa.messages import (
    MAX_ENVELOPE,
    SUITE,
    VERSION,
    Envelope,
    Header,
    check_sender,
    decode,
    encode,
    is_site_id,
    open_letter,
    read_envelope,
    seal_letter,
)

quick = settings(derandomize=True, database=None, deadline=None, max_examples=250)
RUN = "0123456789abcdef" * 2
SENDER, THIEF = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
RECEIVER, STRANGER = HybridKey(bytes(96)), HybridKey(bytes([2]) * 96)
HEADER = Header(VERSION, SUITE, "north", "hub", 1, RUN, 7, "reply")
PAYLOAD = b"what only the hub may read"
LETTER = seal_letter(HEADER, PAYLOAD, SENDER, RECEIVER.public)


def accept(letter: bytes, sender: bytes = SENDER.public, receiver: HybridKey = RECEIVER) -> tuple[Header, bytes]:
    header, envelope = read_envelope(letter)
    check_sender(envelope, sender)
    return header, open_letter(envelope, receiver)


# One encoding


class Sample(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    count: int
    data: bytes = b""
    amounts: dict[str, int] = {}
    share: float = 0.0


def test_what_is_encoded_comes_back() -> None:
    value = Sample("ä", -(2**63), b"\0\xff", {"b": 2, "a": 2**64 - 1}, -0.0)
    assert encode(decode(encode(value), Sample)) == encode(value)
    assert decode(encode(value), Sample) == value


def test_one_value_has_one_encoding_whatever_the_order_of_its_map() -> None:
    one, two = (Sample("x", 1, amounts=amounts) for amounts in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert encode(one) == encode(two)


@pytest.mark.parametrize(
    ("data", "type_"),
    [
        pytest.param(b"", int, id="nothing"),
        pytest.param(b"\x01\x01", int, id="a byte too many"),
        pytest.param(encode(Sample("x", 1))[:-1], Sample, id="a byte too few"),
        pytest.param(b"\xcc\x01", int, id="a number longer than need be"),
        pytest.param(b"\xd9\x01a", str, id="a text longer than need be"),
        pytest.param(b"\xc5\x00\x01a", bytes, id="bytes longer than need be"),
        pytest.param(b"\xdc\x00\x01\x01", tuple[int, ...], id="an array longer than need be"),
        pytest.param(b"\x82\xa1b\x01\xa1a\x01", dict[str, int], id="a map not sorted"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x01", dict[str, int], id="a key twice"),
        pytest.param(encode(["x", 1, b"", {}, 0.0, 5]), Sample, id="an unknown field"),
        pytest.param(encode({"name": "x", "count": 1}), Sample, id="a map for a struct"),
        pytest.param(encode(["x", "1"]), Sample, id="a text for a number"),
        pytest.param(encode(["x", True]), Sample, id="a truth for a number"),
        pytest.param(encode(["x", 1.0]), Sample, id="a float for a number"),
        pytest.param(encode(["x", float("nan")]), Sample, id="NaN for a number"),
        pytest.param(encode(["x", float("inf")]), Sample, id="infinity for a number"),
        pytest.param(encode(["x", None]), Sample, id="nothing for a number"),
        pytest.param(encode([b"x", 1]), Sample, id="bytes for a text"),
        pytest.param(encode(["x", 1, "data"]), Sample, id="a text for bytes"),
        pytest.param(encode(["x", 1, b"", {"a": "b"}]), Sample, id="a wrong value in a map"),
        pytest.param(encode(["x", 1, b"", {}, 1]), Sample, id="a number for a float"),
        pytest.param(encode(["x", 1]), Sample, id="defaults left out"),
        pytest.param(b"\xa3\xed\xa0\x80", str, id="a lone surrogate"),
        pytest.param(b"\xa2\xc0\xaf", str, id="an overlong slash"),
        pytest.param(b"\xa1\xff", str, id="no UTF-8"),
        pytest.param(b"\xc7\x01\x05a", bytes, id="an extension"),
        pytest.param(b"\xc1", int, id="a byte that means nothing"),
        pytest.param(b"\xdd\xff\xff\xff\xff", tuple[int, ...], id="an array of four thousand million"),
        pytest.param(b"\xdf\xff\xff\xff\xff", dict[str, int], id="a map of four thousand million"),
        pytest.param(b"\xc6\xff\xff\xff\xff", bytes, id="four gigabytes"),
        pytest.param(b"\xdb\xff\xff\xff\xff", str, id="a text of four gigabytes"),
        pytest.param(b"\x91" * 100_000 + b"\xc0", object, id="a hundred thousand arrays in one another"),
        pytest.param(b"\x91" * 100_000 + b"\xc0", Envelope, id="deep where an envelope is due"),
    ],
)
def test_what_is_not_the_one_encoding_of_the_type_that_is_due_is_refused(data: bytes, type_: Any) -> None:
    with pytest.raises(ProtocolViolation):
        decode(data, type_)


@quick
@given(st.binary(max_size=60))
def test_two_byte_strings_never_mean_the_same(data: bytes) -> None:
    for type_ in (Sample, Header, Envelope, int, str, tuple[int, ...], dict[str, int]):
        try:
            value = decode(data, type_)
        except ProtocolViolation:
            continue
        assert encode(value) == data


def test_a_text_that_has_no_encoding_is_not_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("\ud800")


@pytest.mark.parametrize("name", ["a", "st-jude", "x" * 32, "a1"])
def test_site_names_are_letters_digits_and_hyphens(name: str) -> None:
    assert is_site_id(name)
    assert decode(encode(name), messages.SiteId) == name


@pytest.mark.parametrize("name", ["", "hub", "A", "1a", "-a", "a_b", "x" * 33, "a\n", "a b", "ä", "*"])
def test_other_names_are_not_a_sites(name: str) -> None:
    assert not is_site_id(name)


@pytest.mark.parametrize("run", ["", "0" * 31, "0" * 33, "0" * 32 + "\n", "A" * 32, "g" * 32, "٠" * 32])
def test_other_than_thirty_two_hexadecimal_digits_is_no_run(run: str) -> None:
    with pytest.raises(ProtocolViolation):
        decode(encode(run), messages.RunId)


# Headers


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 0},
        {"suite": 2},
        {"charter": 0},
        {"run": "x"},
        {"sequence": -1},
        {"sequence": 2**53 + 1},
        {"kind": ""},
        {"kind": "Reply"},
        {"kind": "x" * 25},
        {"kind": "reply\n"},
    ],
)
def test_a_header_out_of_its_limits_is_refused_however_well_it_is_signed(change: dict[str, Any]) -> None:
    letter = seal_letter(replace(HEADER, **change), PAYLOAD, SENDER, RECEIVER.public)
    with pytest.raises(ProtocolViolation):
        read_envelope(letter)


def test_a_letter_larger_than_nine_mebibytes_is_not_even_decoded() -> None:
    with pytest.raises(ProtocolViolation, match="larger than"):
        read_envelope(b"\xc1" * (MAX_ENVELOPE + 1))


# The envelope


def test_a_letter_opens_for_its_receiver() -> None:
    assert accept(LETTER) == (HEADER, PAYLOAD)


@pytest.mark.parametrize("size", [0, 1, 1019, 1020, 1021, 2043, 2044, 2045, 70_000])
def test_letters_of_any_size_come_back(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert accept(seal_letter(HEADER, payload[:size], SENDER, RECEIVER.public))[1] == payload[:size]


def test_a_letter_opens_for_nobody_else() -> None:
    with pytest.raises(ProtocolViolation):
        accept(LETTER, receiver=STRANGER)


def test_a_letter_is_not_believed_to_be_anybody_elses() -> None:
    with pytest.raises(ProtocolViolation):
        accept(LETTER, sender=THIEF.public)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "south"},
        {"receiver": "south"},
        {"charter": 2},
        {"run": "f" * 32},
        {"sequence": 8},
        {"kind": "consent"},
    ],
)
def test_a_thief_who_signs_a_ciphertext_under_another_header_can_not_have_it_opened(change: dict[str, Any]) -> None:
    _, envelope = read_envelope(LETTER)
    header = encode(replace(HEADER, **change))
    signed = messages._signed(header, envelope.ciphertext)
    for signer in (SENDER, THIEF):
        stolen = encode(Envelope(header, envelope.ciphertext, signer.sign("envelope", signed)))
        read, again = read_envelope(stolen)
        check_sender(again, signer.public)
        assert read == replace(HEADER, **change)
        with pytest.raises(ProtocolViolation, match="does not open"):
            open_letter(again, RECEIVER)


def test_a_signature_for_another_purpose_does_not_pass_for_a_letters() -> None:
    _, envelope = read_envelope(LETTER)
    signature = SENDER.sign("charter", messages._signed(envelope.header, envelope.ciphertext))
    with pytest.raises(ProtocolViolation, match="signature"):
        accept(encode(replace(envelope, signature=signature)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(bytes(1023), id="smaller than the smallest class"),
        pytest.param((1021).to_bytes(4, "big") + bytes(1020), id="longer than its body"),
        pytest.param((2**32 - 1).to_bytes(4, "big") + bytes(1020), id="four gigabytes"),
        pytest.param((3).to_bytes(4, "big") + b"abc" + bytes(1016) + b"\1", id="something in the padding"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_malformed_padding_is_refused(body: bytes) -> None:
    raw = encode(HEADER)
    ciphertext = seal(RECEIVER.public, body, label("envelope") + raw)
    signature = SENDER.sign("envelope", messages._signed(raw, ciphertext))
    with pytest.raises(ProtocolViolation, match="padding"):
        accept(encode(Envelope(raw, ciphertext, signature)))


def test_the_size_of_a_letter_shows_its_class_and_no_more() -> None:
    sizes = {}
    for length in (0, 1, 500, 1020, 1021, 1500, 2044, 2045, 4092):
        sizes[length] = len(seal_letter(HEADER, bytes(length), SENDER, RECEIVER.public))
    assert sizes[0] == sizes[1] == sizes[500] == sizes[1020]
    assert sizes[1021] == sizes[1500] == sizes[2044] == sizes[0] + 1024
    assert sizes[2045] == sizes[4092] == sizes[0] + 3 * 1024


def test_the_largest_letter_is_one_that_a_gateway_reads_and_nothing_above_is_made() -> None:
    letter = seal_letter(HEADER, bytes(2**23 - 4), SENDER, RECEIVER.public)
    assert len(letter) < MAX_ENVELOPE
    assert len(accept(letter)[1]) == 2**23 - 4
    with pytest.raises(ValueError, match="largest size class"):
        seal_letter(HEADER, bytes(2**23 - 3), SENDER, RECEIVER.public)


def test_one_payload_sealed_twice_is_two_letters() -> None:
    assert seal_letter(HEADER, PAYLOAD, SENDER, RECEIVER.public) != LETTER


def mutated(letter: bytes, other: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out, put in or taken from another letter."""
    data = bytearray(letter)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        size = chance.choice([1, 1, 1, 2, 16, 200])
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.randrange(256)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = chance.randbytes(size)
            case 4:
                data[at : at + size] = other[at : at + size]
            case _:
                data = data[:at] if at else data + b"\0"
        if not data:
            break
    return bytes(data)


@quick
@given(st.integers(0, 2**64))
def test_a_letter_with_any_byte_changed_is_never_accepted(seed: int) -> None:
    chance = random.Random(seed)
    other = seal_letter(replace(HEADER, sequence=8), b"another", SENDER, RECEIVER.public)
    for _ in range(20):
        letter = mutated(LETTER, other, chance)
        if letter in (LETTER, other):
            continue
        with pytest.raises(ProtocolViolation):
            accept(letter)


def test_no_bit_of_a_letter_may_change() -> None:
    for place in range(len(LETTER)):
        altered = bytearray(LETTER)
        altered[place] ^= 1 << place % 8
        with pytest.raises(ProtocolViolation):
            accept(bytes(altered))


def test_keys_letters_and_payloads_do_not_print_what_they_hold() -> None:
    _, envelope = read_envelope(LETTER)
    assert repr(envelope) == f"Envelope({len(envelope.ciphertext)} bytes)"
    assert repr(SENDER) == "SigningKey(hidden)"
    assert repr(RECEIVER) == "HybridKey(hidden)"
    for payload in set(PAYLOADS.values()):
        made = payload(*["secret"] * len(payload.__struct_fields__))
        assert repr(made) == str(made) == f"{payload.__name__}(…)"


@pytest.mark.parametrize("key", [b"", bytes(1215), bytes(1217), b"\xff" * 1216])
def test_nothing_is_sealed_to_what_is_no_key(key: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        seal_letter(HEADER, PAYLOAD, SENDER, key)
