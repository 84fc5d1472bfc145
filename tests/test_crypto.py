"""Fixed point, trees and keys: vectors of others, and what must hold for every value."""

import base64
import gzip
import json
import math
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.crypto import fixed_point, keys, merkle
from hansa.errors import ProtocolViolation, Refused

VECTORS = Path(__file__).parent / "vectors"

both_rings = pytest.mark.parametrize("bits", [64, 32])
quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)


# Fixed point


@st.composite
def contributions(draw: st.DrawFn) -> tuple[float, list[list[float]]]:
    """A bound, and as many lists of values within it as there are sites."""
    bound = draw(st.floats(1e-6, 1e12))
    size = draw(st.integers(1, 5))
    values = st.floats(-bound, bound, allow_nan=False)
    return bound, draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=1, max_size=20))


@both_rings
@quick
@given(contributions(), st.integers(0, 40))
def test_a_value_comes_back_within_half_a_step(bits: int, case: tuple[float, list[list[float]]], coarser: int) -> None:
    bound, rows = case
    step = fixed_point.finest_step(bound, len(rows), bits) * 2**coarser
    values = np.array(rows[0])
    back = fixed_point.decode(fixed_point.encode(values, bound, step, bits), step)
    assert np.all(np.abs(back - values) <= step / 2)


@both_rings
@quick
@given(contributions())
def test_a_sum_of_contributions_is_the_exact_sum_of_what_each_site_rounded(
    bits: int, case: tuple[float, list[list[float]]]
) -> None:
    bound, rows = case
    step = fixed_point.finest_step(bound, len(rows), bits)
    fixed_point.check_ring(bound, step, len(rows), bits)
    total = np.zeros(len(rows[0]), dtype=f"u{bits // 8}")
    for row in rows:
        total += fixed_point.encode(np.array(row), bound, step, bits)
    for place, answer in enumerate(fixed_point.decode(total, step)):
        exact = sum(Fraction(round(Fraction(row[place]) / Fraction(step))) for row in rows) * Fraction(step)
        assert answer == float(exact)
        truth = math.fsum(row[place] for row in rows)
        assert abs(answer - truth) <= len(rows) * step / 2 + abs(truth) * 2**-51


@both_rings
def test_negative_numbers_are_twos_complement(bits: int) -> None:
    ring = fixed_point.encode(np.array([-1.0, -0.5, 0.0, 2.5]), 4.0, 0.5, bits)
    assert ring.dtype == f"u{bits // 8}"
    assert ring.tolist() == [2**bits - 2, 2**bits - 1, 0, 5]
    assert fixed_point.decode(ring, 0.5).tolist() == [-1.0, -0.5, 0.0, 2.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0000001, -1.0000001])
@both_rings
def test_what_is_not_a_number_within_the_bound_is_refused(value: float, bits: int) -> None:
    with pytest.raises(Refused) as refusal:
        fixed_point.encode(np.array([0.5, value]), 1.0, 2**-20, bits)
    assert str(value) not in str(refusal.value)


@pytest.mark.parametrize(
    ("bits", "bound", "step"), [(32, 2.0**31 - 0.5, 1.0), (32, 1e300, 2.0**-500), (64, 2.0**63, 1.0)]
)
def test_what_would_come_back_with_another_sign_is_refused(bits: int, bound: float, step: float) -> None:
    with pytest.raises(Refused, match="half the ring"):
        fixed_point.encode(np.array([bound]), bound, step, bits)
    with pytest.raises(Refused, match="overflow"):
        fixed_point.check_ring(bound, step, 1, bits)


def test_the_largest_numbers_of_the_narrow_ring_come_back() -> None:
    largest = 2.0**31 - 1
    ring = fixed_point.encode(np.array([largest, -largest]), largest, 1.0, 32)
    assert fixed_point.decode(ring, 1.0).tolist() == [largest, -largest]


@both_rings
def test_a_plan_that_could_reach_half_the_ring_is_refused(bits: int) -> None:
    step = 2.0 ** (3 - bits)
    fixed_point.check_ring(1.0, step, 3, bits)
    with pytest.raises(Refused, match="overflow"):
        fixed_point.check_ring(1.0, step, 4, bits)


def test_a_plan_counts_what_rounding_adds_at_each_site() -> None:
    """Unrounded, 1000 sites stay 48 below half the ring; each rounds up by 0.4."""
    assert 1000 * 2147483.6 < 2**31 <= 1000 * 2147484
    with pytest.raises(Refused, match="overflow"):
        fixed_point.check_ring(2147483.6, 1.0, 1000, 32)


@pytest.mark.parametrize("bits", [0, 16, 63, 128])
def test_a_ring_of_another_width_is_our_own_mistake(bits: int) -> None:
    with pytest.raises(ValueError, match="64 or 32"):
        fixed_point.finest_step(1.0, 3, bits)
    with pytest.raises(ValueError, match="64 or 32"):
        fixed_point.check_ring(1.0, 0.5, 3, bits)
    with pytest.raises(ValueError, match="64 or 32"):
        fixed_point.encode(np.zeros(1), 1.0, 0.5, bits)
    wrong: Any
    for wrong in (np.zeros(2), np.zeros(2, np.int64), np.zeros(2, np.uint16)):
        with pytest.raises(ValueError, match="uint64"):
            fixed_point.decode(wrong, 0.5)


@pytest.mark.parametrize("step", [0.0, -0.5, 0.3, math.nan, math.inf])
def test_a_step_that_is_not_a_power_of_two_is_refused(step: float) -> None:
    with pytest.raises(Refused, match="precision"):
        fixed_point.check_ring(bound=1.0, step=step, sites=3)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_not_a_positive_number_is_refused(bound: float) -> None:
    with pytest.raises(Refused, match="bound"):
        fixed_point.check_ring(bound=bound, step=0.5, sites=3)


@both_rings
@quick
@given(st.floats(1e-100, 1e100), st.integers(1, 1000))
def test_the_finest_step_always_fits_the_ring(bits: int, bound: float, sites: int) -> None:
    fixed_point.check_ring(bound, fixed_point.finest_step(bound, sites, bits), sites, bits)


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


def leads_to_its_root(vector: dict[str, Any]) -> bool:
    leaf, root = base64.b64decode(vector["leafHash"]), base64.b64decode(vector["root"])
    path = [base64.b64decode(sibling) for sibling in vector["proof"] or []]
    try:
        return merkle.root_from_path(leaf, vector["leafIdx"], vector["treeSize"], path) == root
    except (ProtocolViolation, ValueError):  # ValueError: the leaf is what the verifier itself hashed
        return False


@pytest.mark.parametrize("path", sorted((VECTORS / "merkle").glob("*.json")), ids=lambda path: path.stem)
def test_a_proof_of_others_leads_to_our_root(path: Path) -> None:
    vector = json.loads(path.read_text())
    leaves = [merkle.leaf(bytes.fromhex(entry)) for entry in ENTRIES[: vector["treeSize"]]]
    assert base64.b64decode(vector["leafHash"]) == leaves[vector["leafIdx"]]
    assert base64.b64decode(vector["root"]).hex() == ROOTS[vector["treeSize"]]
    path_of_others = [base64.b64decode(sibling) for sibling in vector["proof"] or []]
    assert list(merkle.path(leaves, vector["leafIdx"])) == path_of_others
    assert leads_to_its_root(vector)


def test_proofs_of_others_lead_to_their_root_or_not_as_they_say() -> None:
    vectors = json.loads(gzip.decompress((VECTORS / "merkle" / "inclusion-others.json.gz").read_bytes()))
    for vector in vectors:
        assert leads_to_its_root(vector) is not vector["wantErr"], vector["file"]
    assert Counter(vector["wantErr"] for vector in vectors) == {True: 92, False: 1}


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


def path_by_definition(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 6962, section 2.1.1, as it is written."""
    if len(leaves) == 1:
        return []
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    if index < middle:
        return [*path_by_definition(leaves[:middle], index), root_by_definition(leaves[middle:])]
    return [*path_by_definition(leaves[middle:], index - middle), root_by_definition(leaves[:middle])]


@pytest.mark.parametrize("size", [*range(1, 36), 64, 65])
def test_every_leaf_has_the_path_of_the_definition_and_it_leads_to_the_root(size: int) -> None:
    leaves = [merkle.leaf(number.to_bytes(2, "big")) for number in range(size)]
    root = merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert list(path) == path_by_definition(leaves, index)
        assert merkle.root_from_path(leaf, index, size, path) == root


def test_a_path_leads_to_the_root_from_no_other_place() -> None:
    leaves = [merkle.leaf(bytes([number])) for number in range(13)]
    root = merkle.root(leaves)
    for right, index, leaf in product(range(13), range(13), leaves):
        if (index, leaf) != (right, leaves[right]):
            try:
                led = merkle.root_from_path(leaf, index, 13, merkle.path(leaves, right))
            except ProtocolViolation:
                continue
            assert led != root


@pytest.mark.parametrize("size", range(1, 20))
def test_a_path_of_another_length_is_a_violation(size: int) -> None:
    leaves = [merkle.leaf(bytes([number])) for number in range(size)]
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        with pytest.raises(ProtocolViolation, match="longer"):
            merkle.root_from_path(leaf, index, size, (*path, merkle.EMPTY))
        if path:
            with pytest.raises(ProtocolViolation, match="below the root"):
                merkle.root_from_path(leaf, index, size, path[:-1])


@pytest.mark.parametrize(("index", "count"), [(-1, 3), (3, 3), (4, 3), (0, 0), (0, -1)])
def test_a_path_from_outside_the_tree_is_a_violation(index: int, count: int) -> None:
    with pytest.raises(ProtocolViolation, match="no leaf"):
        merkle.root_from_path(merkle.EMPTY, index, count, (merkle.EMPTY, merkle.EMPTY))


def test_a_sibling_that_is_not_a_digest_is_a_violation() -> None:
    for sibling in (b"", bytes(31), bytes(33), bytes(64)):
        with pytest.raises(ProtocolViolation, match="32 bytes"):
            merkle.root_from_path(merkle.EMPTY, 0, 2, (sibling,))


def test_a_path_of_no_leaf_is_our_own_mistake() -> None:
    for index in (-1, 2):
        with pytest.raises(ValueError, match="leaf of the tree"):
            merkle.path([merkle.EMPTY] * 2, index)
    with pytest.raises(ValueError, match="leaf of the tree"):
        merkle.path([], 0)


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
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.root_from_path(b"entry", 0, 1, ())


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
