"""Masks: the keystream as the standards write it, in both rings and across every boundary."""

import hashlib
import hmac
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.crypto import prg

KEY = bytes(range(32))
CHUNK = 2**22
Width = type[Any]  # np.uint64 or np.uint32

both_rings = pytest.mark.parametrize("width", [np.uint64, np.uint32])


def key_of(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def elements_in(size: int, width: Width) -> int:
    return size // np.dtype(width).itemsize


def counted_blocks(key: bytes, size: int) -> bytes:
    """CTR written out: each block is AES of its own number."""
    blocks = b"".join(number.to_bytes(16, "big") for number in range(-(-size // 16)))
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    return encryptor.update(blocks)[:size]


def by_hand(secret: bytes, info: bytes, size: int) -> bytes:
    """The first `size` bytes of a stream, from RFC 5869 and CTR as they are written."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    taken = b""
    for chunk in range(-(-size // CHUNK)):
        key = hmac.digest(extracted, info + chunk.to_bytes(8, "big") + b"\x01", "sha256")
        taken += counted_blocks(key, min(size - chunk * CHUNK, CHUNK))
    return taken


def little_endian(vector: npt.NDArray[Any]) -> bytes:
    return vector.astype(vector.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize(("width", "count"), [(np.uint64, 2), (np.uint32, 4)])
def test_the_first_block_of_a_mask_is_aes_of_zero(width: Width, count: int) -> None:
    vector = np.zeros(count, dtype=width)
    prg.add_mask(vector, bytes(32), subtract=False)
    assert little_endian(vector).hex() == "dc95c078a2408989ad48a21492842087"


@both_rings
@pytest.mark.parametrize("size", [0, 1, 2, 3, 32767, 32768, 32769, 65535, 65536, 65537, 131073])
def test_a_mask_is_the_counted_blocks_across_every_boundary(width: Width, size: int) -> None:
    vector = np.full(size, np.iinfo(width).max, dtype=width)
    with np.errstate(all="raise"):
        prg.add_mask(vector, KEY, subtract=False)
    mask = np.frombuffer(counted_blocks(KEY, vector.nbytes), dtype=vector.dtype.newbyteorder("<"))
    ring = int(np.iinfo(width).max) + 1
    assert vector.tolist() == [(element - 1) % ring for element in mask.tolist()]


@settings(max_examples=40)
@given(
    st.sampled_from([np.uint64, np.uint32]),
    st.sampled_from([0, 1, 3, 1000, 32768, 32769, 65537, 131075]),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=8),
)
def test_masks_together_are_the_masks_one_after_another(width: Width, size: int, drawn: list[tuple[int, bool]]) -> None:
    together, alone = np.arange(size, dtype=width), np.arange(size, dtype=width)
    masks = [(key_of(number), subtract) for number, subtract in drawn]
    prg.add_masks(together, masks)
    for key, subtract in masks:
        prg.add_mask(alone, key, subtract=subtract)
    assert np.array_equal(together, alone)


@both_rings
def test_masks_fill_a_whole_chunk_and_no_more(width: Width) -> None:
    vector = np.zeros(elements_in(CHUNK, width) + 1, dtype=width)
    prg.add_masks(vector[:-1], [(KEY, False), (key_of(1), False), (key_of(1), True)])
    assert little_endian(vector[:-1]) == counted_blocks(KEY, CHUNK)
    assert vector[-1] == 0
    with pytest.raises(ValueError, match="one chunk"):
        prg.add_masks(vector, [(KEY, False)])


def test_masks_reach_every_other_element_of_a_view_in_its_place() -> None:
    vector = np.zeros(70001, dtype=np.uint64)
    prg.add_masks(vector[::2], [(KEY, False)])
    assert little_endian(vector[::2]) == counted_blocks(KEY, 35001 * 8)
    assert not vector[1::2].any()


@both_rings
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_each_chunk_of_a_stream_has_a_key_of_its_own(width: Width, beyond: int) -> None:
    vector = np.zeros(elements_in(CHUNK, width) + beyond, dtype=width)
    prg.add_stream(vector, KEY, b"info", subtract=False)
    assert little_endian(vector) == by_hand(KEY, b"info", vector.nbytes)
    assert prg.stream(KEY, b"info", vector.nbytes) == little_endian(vector)


def test_the_chunks_of_a_stream_are_the_masks_of_their_keys() -> None:
    whole = np.zeros(2 * 2**19 + 3, dtype=np.uint64)
    prg.add_stream(whole, KEY, b"info", subtract=True)
    parts = np.zeros_like(whole)
    for chunk in range(3):
        prg.add_masks(parts[chunk * 2**19 : (chunk + 1) * 2**19], [(prg.chunk_key(KEY, b"info", chunk), True)])
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
def test_a_stream_of_bytes_has_the_size_that_was_asked(size: int) -> None:
    taken = prg.stream(KEY, b"flags", size)
    assert len(taken) == size
    assert taken == prg.stream(KEY, b"flags", 2 * CHUNK + 9)[:size]


@both_rings
@pytest.mark.parametrize("size", [1, 1000, 2**20 + 1])
def test_subtracting_undoes_adding(width: Width, size: int) -> None:
    before = np.arange(size, dtype=width) * width(0x9E3779B9)
    vector = before.copy()
    prg.add_stream(vector, KEY, b"info", subtract=False)
    assert not np.array_equal(vector, before)
    prg.add_stream(vector, KEY, b"info", subtract=True)
    assert np.array_equal(vector, before)


@both_rings
def test_the_pair_masks_of_three_sites_cancel_in_their_sum(width: Width) -> None:
    vectors = [np.full(5000, site, dtype=width) for site in (1, 2, 3)]
    for low, high in combinations(range(3), 2):
        secret = hashlib.sha256(bytes([low, high])).digest()
        prg.add_stream(vectors[low], secret, b"mask", subtract=False)
        prg.add_stream(vectors[high], secret, b"mask", subtract=True)
    assert all(len(np.unique(vector)) > 4990 for vector in vectors)
    assert np.all(vectors[0] + vectors[1] + vectors[2] == 6)


def test_another_secret_info_or_chunk_gives_another_key() -> None:
    chosen = [
        prg.chunk_key(KEY, b"a", 0),
        prg.chunk_key(KEY, b"a", 1),
        prg.chunk_key(KEY, b"b", 0),
        prg.chunk_key(KEY[::-1], b"a", 0),
    ]
    assert len(set(chosen)) == 4


def test_a_wrong_key_or_vector_is_our_own_mistake_and_changes_nothing() -> None:
    vector = np.zeros(4, dtype=np.uint64)
    for key in (b"", bytes(16), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            prg.add_mask(vector, key, subtract=False)
        with pytest.raises(ValueError, match="32 bytes"):
            prg.add_masks(vector, [(KEY, False), (key, False)])
    with pytest.raises(ValueError, match="32 bytes"):
        prg.add_stream(vector, bytes(31), b"info", subtract=False)
    swapped = np.dtype(np.uint64).newbyteorder("S")
    wrong: Any
    for wrong in (np.zeros(4), np.zeros(4, np.int64), np.zeros((2, 2), np.uint64), np.zeros(4, swapped)):
        with pytest.raises(ValueError, match="uint64"):
            prg.add_mask(wrong, KEY, subtract=False)
        with pytest.raises(ValueError, match="uint64"):
            prg.add_masks(wrong, [(KEY, False)])
        assert not wrong.any()
    assert not vector.any()
