"""Shares: vectors of others, what must hold for every value, and the batches against the reference."""

import hashlib
import json
from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.crypto import shamir
from hansa.errors import ProtocolViolation

VECTORS = Path(__file__).parent / "vectors"

quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)
elements = st.integers(0, shamir.PRIME - 1)

ORDERS: dict[str, tuple[int, Literal["little", "big"]]] = {
    "ed25519": (2**252 + 27742317777372353535851937790883648493, "little"),
    "ristretto255": (2**252 + 27742317777372353535851937790883648493, "little"),
    "ed448": (2**446 - 13818066809895115352007386748515426880336692474882178609894547503885, "little"),
    "P-256": (0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551, "big"),
    "secp256k1": (0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141, "big"),
}


@pytest.mark.parametrize("path", sorted((VECTORS / "shamir").glob("*.json")), ids=lambda path: path.stem)
def test_shares_are_those_of_rfc_9591_in_its_five_fields(path: Path) -> None:
    vector = json.loads(path.read_text())
    order, endianness = ORDERS[vector["config"]["group"]]
    inputs = vector["inputs"]

    def number(text: str) -> int:
        return int.from_bytes(bytes.fromhex(text), endianness)

    secret = number(inputs["group_secret_key"])
    polynomial = [secret, *map(number, inputs["share_polynomial_coefficients"])]
    shares = {share["identifier"]: number(share["participant_share"]) for share in inputs["participant_shares"]}
    assert {x: shamir._evaluate(polynomial, x, order) for x in shares} == shares
    for subset in combinations(shares, int(vector["config"]["MIN_PARTICIPANTS"])):
        assert shamir._interpolate({x: shares[x] for x in subset}, order) == secret


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, int, list[int], list[int]]:
    """A secret, a threshold, the shares, and the indices of those that came, at least the threshold."""
    count = draw(st.integers(1, 12))
    threshold = draw(st.integers(1, count))
    secret = draw(elements)
    coefficients = draw(st.lists(elements, min_size=threshold - 1, max_size=threshold - 1))
    indices = draw(st.permutations(range(1, count + 1)))
    came = indices[: draw(st.integers(threshold, count))]
    return secret, threshold, shamir.split(secret, threshold, count, coefficients), came


@quick
@given(splits())
def test_any_threshold_of_shares_in_any_order_gives_the_secret(
    case: tuple[int, int, list[int], list[int]],
) -> None:
    secret, _, shares, came = case
    assert shamir.combine({index: shares[index - 1] for index in came}) == secret


def test_fewer_shares_than_the_threshold_say_nothing() -> None:
    """Counted out in a field of 7 elements: two shares of three are equally likely whatever the secret is."""
    seen = [
        Counter(
            (shamir._evaluate((secret, a, b), 1, 7), shamir._evaluate((secret, a, b), 2, 7))
            for a, b in product(range(7), repeat=2)
        )
        for secret in range(7)
    ]
    assert all(counts == Counter(product(range(7), repeat=2)) for counts in seen)


def test_many_secrets_combine_as_each_one_alone() -> None:
    chance = [int.from_bytes(hashlib.sha512(bytes([n])).digest(), "big") % shamir.PRIME for n in range(60)]
    secrets, coefficients = chance[:20], chance[20:]
    shares = [shamir.split(secret, 3, 5, coefficients[2 * n : 2 * n + 2]) for n, secret in enumerate(secrets)]
    for came in ((1, 2, 3), (5, 1, 4), (5, 4, 3, 2, 1)):
        rows = [[row[index - 1] for index in came] for row in shares]
        assert shamir.combine_many(came, rows) == secrets
    assert shamir.combine_many((1, 2, 3), []) == []


def test_a_coefficient_of_zero_is_as_good_as_any() -> None:
    assert shamir.split(9, 3, 3, [0, 0]) == [9, 9, 9]
    assert shamir.split(9, 2, 3, [1]) == [10, 11, 12]


@pytest.mark.parametrize("index", [0, -1, 2**16, shamir.PRIME, shamir.PRIME + 1])
def test_an_index_out_of_range_is_a_violation(index: int) -> None:
    with pytest.raises(ProtocolViolation, match="index"):
        shamir.combine({1: 5, index: 6})


def test_an_index_twice_or_no_index_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="twice"):
        shamir.combine_many((1, 2, 1), [(1, 2, 3)])
    with pytest.raises(ProtocolViolation, match="index"):
        shamir.combine({})


@pytest.mark.parametrize("share", [-1, shamir.PRIME, 2**255, 2**256])
def test_a_share_that_is_not_a_field_element_is_a_violation(share: int) -> None:
    with pytest.raises(ProtocolViolation, match="canonical"):
        shamir.combine({1: 5, 2: share})


@quick
@given(elements)
def test_an_element_survives_its_32_bytes(element: int) -> None:
    encoded = shamir.encode(element)
    assert encoded == element.to_bytes(32, "little")
    assert shamir.decode(encoded) == element


@pytest.mark.parametrize("element", [shamir.PRIME, shamir.PRIME + 1, 2**255 - 1, 2**255, 2**256 - 1])
def test_an_encoding_that_is_not_canonical_is_a_violation(element: int) -> None:
    with pytest.raises(ProtocolViolation, match="canonical"):
        shamir.decode(element.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_an_encoding_of_another_size_is_a_violation(size: int) -> None:
    with pytest.raises(ProtocolViolation, match="32 bytes"):
        shamir.decode(bytes(size))


def test_uniform_bytes_are_reduced_and_not_rejected() -> None:
    assert shamir.from_uniform(bytes(48)) == 0
    assert shamir.from_uniform(b"\x01" + bytes(47)) == 1
    assert shamir.from_uniform(shamir.PRIME.to_bytes(48, "little")) == 0
    assert shamir.from_uniform(b"\xff" * 48) == (2**384 - 1) % shamir.PRIME


def test_the_distance_from_uniform_is_below_two_to_minus_128() -> None:
    quotient, rest = divmod(2**384, shamir.PRIME)
    likely = Fraction(rest * (quotient + 1), 2**384) - Fraction(rest, shamir.PRIME)
    assert 0 < likely < Fraction(1, 2**128)


def test_a_wrong_split_is_our_own_mistake() -> None:
    wrong = [(5, 0, 3, []), (5, 4, 3, [1, 1, 1]), (5, 2, 2**16, [1]), (5, 2, 3, []), (5, 2, 3, [1, 1])]
    wrong += [(shamir.PRIME, 2, 3, [1]), (-1, 2, 3, [1]), (5, 2, 3, [shamir.PRIME]), (5, 2, 3, [-1])]
    for secret, threshold, count, coefficients in wrong:
        with pytest.raises(ValueError, match=r"field elements|threshold"):
            shamir.split(secret, threshold, count, coefficients)


# Batches, against `split` and `combine`, which are the reference

EDGES = (0, 1, 18, 19, 2**254, 2**255 - 20)  # the last one is the largest element
TOO_LARGE = (shamir.PRIME, shamir.PRIME + 1, 2**255 - 1, 2**255, 2**255 + 2**64, 2**256 - 1)
CHANCES = (bytes(48), b"\xff" * 48, shamir.PRIME.to_bytes(48, "little"), (2**255 - 1).to_bytes(48, "little"))


def drawn(purpose: str, size: int) -> bytes:
    return hashlib.shake_256(purpose.encode()).digest(size)


def encoded(values: list[int]) -> bytes:
    return b"".join(map(shamir.encode, values))


def split_one_by_one(secrets: bytes, threshold: int, count: int, chance: bytes) -> list[bytes]:
    rows = []
    size = 48 * (threshold - 1)
    for number in range(len(secrets) // 32):
        secret = shamir.decode(secrets[32 * number : 32 * number + 32])
        own = chance[number * size : (number + 1) * size]
        coefficients = [shamir.from_uniform(own[at : at + 48]) for at in range(0, size, 48)]
        rows.append(shamir.split(secret, threshold, count, coefficients))
    return [encoded([row[member] for row in rows]) for member in range(count)]


def some_secrets(size: int) -> bytes:
    return encoded([shamir.from_uniform(drawn(f"secret {number}", 48)) for number in range(size)])


@st.composite
def batches(draw: st.DrawFn) -> tuple[bytes, int, int, bytes, list[int]]:
    """Secrets, threshold, count, chance, and the indices of those that came, at least the threshold."""
    count = draw(st.integers(1, 40))
    threshold = draw(st.integers(1, count))
    secrets = draw(st.lists(st.sampled_from(EDGES) | elements, max_size=6))
    size = len(secrets) * (threshold - 1)
    seed = draw(st.integers(0, 2**32))
    chance = [drawn(f"{seed} {number}", 48) for number in range(size)]
    for place in draw(st.lists(st.integers(0, max(size - 1, 0)), max_size=size)):
        chance[place] = draw(st.sampled_from(CHANCES))
    came = draw(st.permutations(range(1, count + 1)))[: draw(st.integers(threshold, count))]
    return encoded(secrets), threshold, count, b"".join(chance), came


@quick
@given(batches())
def test_a_batch_is_what_each_secret_alone_gives_and_any_threshold_opens_it(
    case: tuple[bytes, int, int, bytes, list[int]],
) -> None:
    secrets, threshold, count, chance, came = case
    shares = shamir.split_many(secrets, threshold, count, chance)
    assert shares == split_one_by_one(secrets, threshold, count, chance)
    assert shamir.open_many(came, [shares[index - 1] for index in came], threshold) == secrets


@pytest.mark.parametrize(
    ("size", "threshold", "count"),
    [(3, 49, 69), (3, 127, 128), (2, 255, 256), (1, 400, 1000), (1, 1000, 1000), (1, 2, 2**16 - 1)],
)
def test_every_size_of_committee_is_exact(size: int, threshold: int, count: int) -> None:
    secrets = some_secrets(size)
    chance = drawn("chance", 48 * (threshold - 1) * size)
    shares = shamir.split_many(secrets, threshold, count, chance)
    assert shares == split_one_by_one(secrets, threshold, count, chance)
    last = range(count, count - threshold, -1)
    assert shamir.open_many(last, [shares[index - 1] for index in last], threshold) == secrets


def value_of(limbs: list[int]) -> int:
    return sum(limb << 17 * place for place, limb in enumerate(limbs))


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 255, 1000])
def test_shares_are_exact_with_the_largest_limbs_there_can_be(count: int) -> None:
    largest = 2**17 + 2**10 - 1
    for threshold in (1, 5, 36, 37, 73):
        values = shamir._evaluate_many(np.full((threshold, 15, 1), largest, np.int64), count)
        polynomial = [value_of([largest] * 15)] * threshold
        for x, share in enumerate(shamir._packed(values), start=1):
            assert shamir.decode(share.tobytes()) == shamir._evaluate(polynomial, x, shamir.PRIME)


@pytest.mark.parametrize("members", [1, 1023, 1024, 1025, 3001])
def test_secrets_are_exact_with_the_largest_limbs_there_can_be(members: int) -> None:
    largest = 2**17 - 1
    operator = np.full((15, members * 15), 19.0 * largest)
    total = shamir._weighted_many(operator, np.full((members, 15, 2), largest, np.int64))
    limb = 15 * members * 19 * largest * largest
    expected = shamir.encode(value_of([limb] * 15) % shamir.PRIME)
    assert shamir._packed(total).tobytes() == expected * 2


@pytest.mark.parametrize("limb", [0, 1, 2**17 - 1, 2**17, 2**39, 2**56 - 1])
def test_a_carry_keeps_the_element_and_its_promise(limb: int) -> None:
    for limbs in ([limb] * 15, [limb] + [0] * 14, [0] * 14 + [limb], [2**17 - 1] * 14 + [limb]):
        carried = np.array(limbs, np.int64).reshape(1, 15, 1)
        shamir._carry(carried)
        after = carried.reshape(15).tolist()
        assert value_of(after) % shamir.PRIME == value_of(limbs) % shamir.PRIME
        assert all(0 <= left < 2**17 + 2**10 for left in after)
        assert shamir.decode(shamir._packed(carried).tobytes()) == value_of(limbs) % shamir.PRIME


def test_members_beyond_one_product_are_added_up() -> None:
    for element in EDGES:
        indices = range(2**16 - 1, 2**16 - 1101, -1)
        assert shamir.open_many(indices, [shamir.encode(element)] * 1100, 1100) == shamir.encode(element)


def test_a_batch_of_many_slices_is_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets, chance = some_secrets(100), drawn("slices", 48 * 2 * 100)
    whole = shamir.split_many(secrets, 3, 5, chance)
    monkeypatch.setattr(shamir, "SLICE_BYTES", 7 * 8 * shamir.LIMBS * 8)
    assert shamir.split_many(secrets, 3, 5, chance) == whole
    assert shamir.open_many((5, 2, 4, 1), [whole[4], whole[1], whole[3], whole[0]], 3) == secrets


def test_a_batch_without_secrets_is_empty() -> None:
    assert shamir.split_many(b"", 2, 3, b"") == [b"", b"", b""]
    assert shamir.open_many((1, 2), [b"", b""], 2) == b""


@pytest.mark.parametrize("value", TOO_LARGE)
@pytest.mark.parametrize("member", [0, 2])
def test_a_share_that_is_not_canonical_is_refused_also_where_it_is_not_needed(value: int, member: int) -> None:
    columns = [some_secrets(3)] * 3
    columns[member] = columns[member][:32] + value.to_bytes(32, "little") + columns[member][64:]
    with pytest.raises(ProtocolViolation, match="canonical"):
        shamir.open_many((1, 2, 3), columns, 2)


def test_the_largest_canonical_share_and_those_around_the_words_are_accepted() -> None:
    near = (2**255 - 20, 2**255 - 2**64 - 1, 2**255 - 2**128 - 1, 2**255 - 2**192 - 1, 2**192 - 1, 2**64 - 1)
    for value in near:
        column = shamir.encode(value)
        assert shamir.open_many((1,), [column], 1) == column


@pytest.mark.parametrize("index", [0, -1, 2**16, shamir.PRIME + 1])
@pytest.mark.parametrize("place", [0, 2])
def test_an_index_out_of_range_is_refused_in_a_batch(index: int, place: int) -> None:
    indices = [1, 2, 3]
    indices[place] = index
    with pytest.raises(ProtocolViolation, match="index"):
        shamir.open_many(indices, [some_secrets(1)] * 3, 2)


@pytest.mark.parametrize("indices", [(1, 1, 2), (1, 2, 2), (1, 2, 1)])
def test_an_index_twice_is_refused_in_a_batch(indices: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolViolation, match="twice"):
        shamir.open_many(indices, [some_secrets(1)] * 3, 2)


@pytest.mark.parametrize("sizes", [(64, 64, 32), (32, 64, 64), (31, 31, 31), (33, 33, 33), (32, 32, 0), (64, 64, 63)])
def test_members_with_another_number_of_shares_or_a_part_of_one_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolViolation, match="shares of different numbers"):
        shamir.open_many((1, 2, 3), [bytes(size) for size in sizes], 2)


def test_a_wrong_batch_is_our_own_mistake() -> None:
    one = some_secrets(1)
    for indices, columns, threshold in [((1,), [one], 2), ((1, 2), [one], 1), ((1, 2), [one] * 2, 0), ((), [], 1)]:
        with pytest.raises(ValueError, match="threshold"):
            shamir.open_many(indices, columns, threshold)
    for threshold, count in [(0, 3), (4, 3), (2, 2**16)]:
        with pytest.raises(ValueError, match="threshold"):
            shamir.split_many(one, threshold, count, bytes(48))
    for secrets, chance in [(one[:31], bytes(48)), (one, bytes(47)), (one, bytes(96)), (one * 2, bytes(48))]:
        with pytest.raises(ValueError, match=r"32 bytes|48 bytes"):
            shamir.split_many(secrets, 2, 3, chance)
    for value in TOO_LARGE:
        with pytest.raises(ValueError, match="field elements"):
            shamir.split_many(one + value.to_bytes(32, "little"), 2, 3, bytes(96))
