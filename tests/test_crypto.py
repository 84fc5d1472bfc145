"""Fixed point, masks, shares and trees: vectors of others, and what must hold for every value."""

import base64
import gzip
import hashlib
import hmac
import json
import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.crypto import fixed_point, keys, merkle, prg, shamir
from hansa.errors import ProtocolViolation, Refused

VECTORS = Path(__file__).parent / "vectors"
KEY = bytes(range(32))

quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)
elements = st.integers(0, shamir.PRIME - 1)


# Fixed point


@st.composite
def contributions(draw: st.DrawFn) -> tuple[float, list[list[float]]]:
    """A bound, and as many lists of values within it as there are sites."""
    bound = draw(st.floats(1e-6, 1e12))
    size = draw(st.integers(1, 5))
    values = st.floats(-bound, bound, allow_nan=False)
    return bound, draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=1, max_size=20))


@quick
@given(contributions(), st.integers(0, 40))
def test_a_value_comes_back_within_half_a_step(case: tuple[float, list[list[float]]], coarser: int) -> None:
    bound, rows = case
    step = fixed_point.finest_step(bound, len(rows)) * 2**coarser
    values = np.array(rows[0])
    back = fixed_point.decode(fixed_point.encode(values, bound, step), step)
    assert np.all(np.abs(back - values) <= step / 2)


@quick
@given(contributions())
def test_a_sum_of_contributions_is_the_exact_sum_of_what_each_site_rounded(
    case: tuple[float, list[list[float]]],
) -> None:
    bound, rows = case
    step = fixed_point.finest_step(bound, len(rows))
    fixed_point.check_ring(bound, step, len(rows))
    total = np.zeros(len(rows[0]), dtype=np.uint64)
    for row in rows:
        total += fixed_point.encode(np.array(row), bound, step)
    for place, answer in enumerate(fixed_point.decode(total, step)):
        exact = sum(Fraction(round(Fraction(row[place]) / Fraction(step))) for row in rows) * Fraction(step)
        assert answer == float(exact)
        truth = math.fsum(row[place] for row in rows)
        assert abs(answer - truth) <= len(rows) * step / 2 + abs(truth) * 2**-51


def test_negative_numbers_are_twos_complement() -> None:
    ring = fixed_point.encode(np.array([-1.0, -0.5, 0.0, 2.5]), bound=4.0, step=0.5)
    assert ring.tolist() == [2**64 - 2, 2**64 - 1, 0, 5]
    assert fixed_point.decode(ring, 0.5).tolist() == [-1.0, -0.5, 0.0, 2.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0000001, -1.0000001])
def test_what_is_not_a_number_within_the_bound_is_refused(value: float) -> None:
    with pytest.raises(Refused) as refusal:
        fixed_point.encode(np.array([0.5, value]), bound=1.0, step=2**-20)
    assert str(value) not in str(refusal.value)


def test_a_plan_that_could_reach_half_the_ring_is_refused() -> None:
    fixed_point.check_ring(bound=1.0, step=2.0**-61, sites=3)
    with pytest.raises(Refused, match="overflow"):
        fixed_point.check_ring(bound=1.0, step=2.0**-61, sites=4)


@pytest.mark.parametrize("step", [0.0, -0.5, 0.3, math.nan, math.inf])
def test_a_step_that_is_not_a_power_of_two_is_refused(step: float) -> None:
    with pytest.raises(Refused, match="precision"):
        fixed_point.check_ring(bound=1.0, step=step, sites=3)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_not_a_positive_number_is_refused(bound: float) -> None:
    with pytest.raises(Refused, match="bound"):
        fixed_point.check_ring(bound=bound, step=0.5, sites=3)


@quick
@given(st.floats(1e-100, 1e100), st.integers(1, 1000))
def test_the_finest_step_always_fits_the_ring(bound: float, sites: int) -> None:
    fixed_point.check_ring(bound, fixed_point.finest_step(bound, sites), sites)


# Masks


def counted_blocks(key: bytes, size: int) -> bytes:
    """CTR written out: each block is AES of its own number."""
    blocks = b"".join(number.to_bytes(16, "big") for number in range(-(-size // 16)))
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    return encryptor.update(blocks)[:size]


def by_hand(secret: bytes, info: bytes, count: int) -> list[int]:
    """The first `count` elements of a stream, from RFC 5869 and CTR as they are written."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    mask: list[int] = []
    for chunk in range(-(-count // 2**20)):
        key = hmac.digest(extracted, info + chunk.to_bytes(8, "big") + b"\x01", "sha256")
        size = min(count - chunk * 2**20, 2**20) * 8
        mask += np.frombuffer(counted_blocks(key, size), dtype="<u8").tolist()
    return mask


def test_the_first_block_of_a_mask_is_aes_of_zero() -> None:
    vector = np.zeros(2, dtype=np.uint64)
    prg.add_mask(vector, bytes(32), subtract=False)
    assert vector.astype("<u8").tobytes().hex() == "dc95c078a2408989ad48a21492842087"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 32767, 32768, 32769, 65537])
def test_a_mask_is_the_counted_blocks_across_every_boundary(size: int) -> None:
    vector = np.full(size, 2**64 - 1, dtype=np.uint64)
    with np.errstate(all="raise"):
        prg.add_mask(vector, KEY, subtract=False)
    mask = np.frombuffer(counted_blocks(KEY, size * 8), dtype="<u8").tolist()
    assert vector.tolist() == [(element - 1) % 2**64 for element in mask]


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 2**21 + 3])
def test_each_chunk_of_a_stream_has_a_key_of_its_own(size: int) -> None:
    vector = np.zeros(size, dtype=np.uint64)
    prg.add_stream(vector, KEY, b"info", subtract=False)
    expected = np.array(by_hand(KEY, b"info", size), dtype=np.uint64)
    assert np.array_equal(vector, expected)
    assert prg.stream(KEY, b"info", size * 8) == vector.astype("<u8").tobytes()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 1000, 2**23 - 1, 2**23, 2**23 + 1])
def test_a_stream_of_bytes_has_the_size_that_was_asked(size: int) -> None:
    taken = prg.stream(KEY, b"flags", size)
    assert len(taken) == size
    assert taken == prg.stream(KEY, b"flags", 2**23 + 9)[:size]


@pytest.mark.parametrize("size", [1, 1000, 2**20 + 1])
def test_subtracting_undoes_adding(size: int) -> None:
    before = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    vector = before.copy()
    prg.add_stream(vector, KEY, b"info", subtract=False)
    assert not np.array_equal(vector, before)
    prg.add_stream(vector, KEY, b"info", subtract=True)
    assert np.array_equal(vector, before)


def test_the_pair_masks_of_three_sites_cancel_in_their_sum() -> None:
    vectors = [np.full(5000, site, dtype=np.uint64) for site in (1, 2, 3)]
    for low, high in combinations(range(3), 2):
        secret = hashlib.sha256(bytes([low, high])).digest()
        prg.add_stream(vectors[low], secret, b"mask", subtract=False)
        prg.add_stream(vectors[high], secret, b"mask", subtract=True)
    assert all(len(np.unique(vector)) == 5000 for vector in vectors)
    assert np.all(sum(vectors) == 6)


def test_another_secret_info_or_chunk_gives_another_key() -> None:
    chosen = [
        prg.chunk_key(KEY, b"a", 0),
        prg.chunk_key(KEY, b"a", 1),
        prg.chunk_key(KEY, b"b", 0),
        prg.chunk_key(KEY[::-1], b"a", 0),
    ]
    assert len(set(chosen)) == 4


def test_a_wrong_key_or_vector_is_our_own_mistake() -> None:
    vector = np.zeros(4, dtype=np.uint64)
    for key in (b"", bytes(16), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            prg.add_mask(vector, key, subtract=False)
    with pytest.raises(ValueError, match="32 bytes"):
        prg.add_stream(vector, bytes(31), b"info", subtract=False)
    wrong: Any
    for wrong in (np.zeros(4), np.zeros(4, dtype=np.int64), np.zeros((2, 2), dtype=np.uint64)):
        with pytest.raises(ValueError, match="uint64"):
            prg.add_mask(wrong, KEY, subtract=False)
    assert not vector.any()


# Shares

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


# Trees

ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_the_certificate_transparency_tree(size: int) -> None:
    leaves = (merkle.leaf(bytes.fromhex(entry)) for entry in ENTRIES[:size])
    assert merkle.root(leaves).hex() == ROOTS[size]


@pytest.mark.parametrize("path", sorted((VECTORS / "merkle").glob("*.json")), ids=lambda path: path.stem)
def test_a_proof_of_others_leads_to_our_root(path: Path) -> None:
    vector = json.loads(path.read_text())
    index, last = vector["leafIdx"], vector["treeSize"] - 1
    tree = base64.b64decode(vector["leafHash"])
    assert tree == merkle.leaf(bytes.fromhex(ENTRIES[index]))
    for sibling in map(base64.b64decode, vector["proof"] or []):  # RFC 9162, section 2.1.3.2
        if index & 1 or index == last:
            while not index & 1:
                index, last = index >> 1, last >> 1
            tree = merkle.node(sibling, tree)
        else:
            tree = merkle.node(tree, sibling)
        index, last = index >> 1, last >> 1
    assert last == 0
    assert tree.hex() == ROOTS[vector["treeSize"]]
    assert tree == base64.b64decode(vector["root"])


def root_by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return merkle.node(root_by_definition(leaves[:middle]), root_by_definition(leaves[middle:]))


@pytest.mark.parametrize("size", [*range(1, 70), 1000, 1024])
def test_a_root_is_that_of_the_recursive_definition(size: int) -> None:
    leaves = [merkle.leaf(number.to_bytes(2, "big")) for number in range(size)]
    assert merkle.root(iter(leaves)) == root_by_definition(leaves)


def test_a_leaf_never_passes_for_a_node() -> None:
    left, right = merkle.leaf(b"a"), merkle.leaf(b"b")
    assert merkle.leaf(left + right) != merkle.node(left, right)
    assert merkle.node(left, right) != merkle.node(right, left)
    assert merkle.root([left]) == left != merkle.EMPTY


def test_what_is_not_a_digest_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.root([b"entry"])
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.node(merkle.EMPTY, b"")


# Keys, against wycheproof. The vectors know nothing of our labels, so these tests take the labels away.


def wycheproof(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each test with its group."""
    path = VECTORS / "wycheproof" / f"{name}_test.json.gz"
    groups = json.loads(gzip.decompress(path.read_bytes()))["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


def test_ed25519_accepts_and_refuses_what_wycheproof_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "label", lambda purpose: b"")
    outcomes: Counter[str] = Counter()
    for group, test in wycheproof("ed25519"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        if test["result"] == "valid":
            keys.verify(public, "test", message, signature)
        else:
            with pytest.raises(ProtocolViolation):
                keys.verify(public, "test", message, signature)
        outcomes[test["result"]] += 1
    assert outcomes == {"valid": 88, "invalid": 63}


def test_x25519_agrees_with_wycheproof_and_refuses_a_secret_of_zero() -> None:
    outcomes: Counter[bool] = Counter()
    for _, test in wycheproof("x25519"):
        key = keys.HybridKey(bytes(64) + bytes.fromhex(test["private"]))
        peer = bytes(keys.MLKEM_PUBLIC_BYTES) + bytes.fromhex(test["public"])
        refused = "ZeroSharedSecret" in test["flags"]
        if refused:
            with pytest.raises(ProtocolViolation):
                key.agree(peer)
        else:
            assert key.agree(peer).hex() == test["shared"]
        outcomes[refused] += 1
    assert outcomes == {False: 487, True: 31}


def test_hkdf_derives_what_wycheproof_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "digest", lambda purpose, *parts: b"".join(parts))
    outcomes: Counter[str] = Counter()
    for _, test in wycheproof("hkdf_sha256"):
        secret, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
        size = int(test["size"])
        if test["result"] == "valid":
            assert keys.derive(secret, "test", info, size=size, salt=salt).hex() == test["okm"]
        else:  # our own mistake: no peer chooses a size
            with pytest.raises(ValueError, match=r".*"):
                keys.derive(secret, "test", info, size=size, salt=salt)
        outcomes[test["result"]] += 1
    assert outcomes == {"valid": 83, "invalid": 3}


def test_mlkem_refuses_the_public_keys_that_wycheproof_says() -> None:
    x25519 = keys.HybridKey(bytes(96)).public[keys.MLKEM_PUBLIC_BYTES :]
    outcomes: Counter[str] = Counter()
    for _, test in wycheproof("mlkem_768_encaps"):
        public = bytes.fromhex(test["ek"]) + x25519
        if test["result"] == "valid":
            secret, ciphertext = keys.encapsulate(public)
            assert (len(secret), len(ciphertext)) == (32, keys.MLKEM_CIPHERTEXT_BYTES)
        else:
            with pytest.raises(ProtocolViolation):
                keys.encapsulate(public)
            with pytest.raises(ProtocolViolation):
                keys.seal(public, b"letter", b"info")
        outcomes[test["result"]] += 1
    assert outcomes["valid"] >= 10
    assert outcomes["invalid"] >= 50
