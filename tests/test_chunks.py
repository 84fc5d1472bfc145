"""Vectors of several chunks: each is masked, named and totalled by itself, in any order, on any thread."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from hansa.crypto import merkle, prg
from hansa.errors import ProtocolViolation
from hansa.messages import encode
from hansa.protocols.base import RingBits, Vector
from hansa.protocols.key_setup import Session
from hansa.protocols.masks import chunk_bytes, chunks_of, element
from hansa.protocols.secure_sum import Contribute, Opened
from tests.protocol_runs import Hooks, Parties, agreed, silent

RINGS = [64, 32]
LENGTHS = {64: 2**19 + 5, 32: 2**20 + 3}
GONE = "b"


def numbers(ring: RingBits, place: int) -> Vector:
    """Anything, over the whole ring."""
    drawn = np.random.default_rng([ring, place]).integers(0, 2**ring, LENGTHS[ring], dtype=f"u{ring // 8}")
    return drawn.astype(element(ring))


@lru_cache(maxsize=2)
def _opened(ring: RingBits) -> tuple[Parties, Session, Opened]:
    parties, session = agreed(4, ring=ring)
    parties.vectors = {site: numbers(ring, place) for place, site in enumerate(parties.sites)}
    ask = parties.next(parties.begin(session), Hooks(silent(Contribute, GONE)))
    done = parties.next(parties.next(ask))
    return parties, session, done.output


def expected(parties: Parties) -> Vector:
    """Without the site that is gone; numpy's integers wrap around as the ring does."""
    total: Vector = np.zeros_like(parties.vectors[GONE])
    for site, vector in parties.vectors.items():
        total += vector * (site != GONE)
    return total


def totals(parties: Parties) -> bytes:
    return expected(parties).tobytes()


@pytest.mark.parametrize("ring", RINGS)
def test_a_vector_has_as_many_chunks_of_four_mebibytes_as_it_needs(ring: RingBits) -> None:
    size, whole = ring // 8, prg.CHUNK_BYTES * 8 // ring
    counts = {0: 0, 1: 1, whole - 1: 1, whole: 1, whole + 1: 2, 2 * whole: 2, 2 * whole + 1: 3}
    for length, count in counts.items():
        assert chunks_of(length, ring) == count
        sizes = [chunk_bytes(length, ring, number) for number in range(count)]
        assert sum(sizes) == length * size
        assert all(one == prg.CHUNK_BYTES for one in sizes[:-1])


@pytest.mark.parametrize("ring", RINGS)
def test_the_total_over_several_chunks_is_right(ring: RingBits) -> None:
    parties, session, opened = _opened(ring)
    summed = opened.summed(parties.chunks.__getitem__)
    assert np.array_equal(summed.vector(), expected(parties))
    assert summed.vector().dtype == element(ring)
    assert summed.content == totals(parties)
    assert len(summed.receipt.chunks) == 2
    assert summed.survivors == ("a", "c", "d")
    assert summed.receipt.sid == parties.begin(session).requests["a"].sid(session)  # type: ignore[attr-defined]


@pytest.mark.parametrize("ring", RINGS)
def test_chunks_totalled_apart_and_in_any_order_are_the_chunks_of_the_total(ring: RingBits) -> None:
    parties, _, opened = _opened(ring)
    whole = opened.summed(parties.chunks.__getitem__)
    asked: list[bytes] = []

    def read(name: bytes) -> bytes:
        asked.append(name)
        return parties.chunks[name]

    apart = {number: opened.chunk(number, read) for number in (1, 0)}
    assert apart[0] + apart[1] == whole.content
    assert [len(apart[number]) for number in (0, 1)] == [chunk_bytes(LENGTHS[ring], ring, number) for number in (0, 1)]
    assert asked == [part[number] for number in (1, 0) for part in opened.parts]  # and nothing else was read
    assert opened.receipt(merkle.leaf(apart[number]) for number in (0, 1)) == whole.receipt


@pytest.mark.parametrize("ring", RINGS)
def test_one_changed_byte_in_any_chunk_of_a_total_is_noticed(ring: RingBits) -> None:
    parties, _, opened = _opened(ring)
    receipt, content = opened.summed(parties.chunks.__getitem__).receipt, bytearray(totals(parties))
    for at in (0, 1000, prg.CHUNK_BYTES - 1, prg.CHUNK_BYTES, len(content) - 1):
        content[at] ^= 1
        with pytest.raises(ProtocolViolation, match="not the one that its receipt names"):
            receipt.total(memoryview(content), opened.length, ring)
        content[at] ^= 1
    assert np.array_equal(receipt.total(memoryview(content), opened.length, ring), expected(parties))
    swapped = bytes(content[prg.CHUNK_BYTES :] + content[: prg.CHUNK_BYTES])
    with pytest.raises(ProtocolViolation, match="not the one that its receipt names"):
        receipt.total(swapped, opened.length, ring)


@pytest.mark.parametrize("ring", RINGS)
def test_one_changed_byte_in_any_chunk_of_a_contribution_gives_it_another_name(ring: RingBits) -> None:
    parties, _, opened = _opened(ring)
    for names in opened.parts:
        for name in names:
            content = bytearray(parties.chunks[name])
            assert merkle.leaf(memoryview(content)) == name
            for at in (0, len(content) // 2, len(content) - 1):
                content[at] ^= 1
                assert merkle.leaf(memoryview(content)) != name
                content[at] ^= 1


@pytest.mark.parametrize("ring", RINGS)
def test_no_two_chunks_are_hidden_by_the_same_masks(ring: RingBits) -> None:
    parties, _, opened = _opened(ring)
    size = prg.CHUNK_BYTES * 8 // ring
    for site, (first, second) in zip(("a", "c", "d"), opened.parts, strict=True):
        tail = parties.vectors[site].size - size
        masked: list[Any] = [np.frombuffer(parties.chunks[name], element(ring))[:tail] for name in (first, second)]
        plain = [parties.vectors[site][:tail], parties.vectors[site][size:]]
        assert not np.any(masked[0] - plain[0] == masked[1] - plain[1])


@pytest.mark.parametrize("ring", RINGS)
def test_a_pool_of_threads_gives_the_same_bytes(ring: RingBits) -> None:
    parties, session = agreed(4, ring=ring)
    whole = prg.CHUNK_BYTES * 8 // ring
    tiled = np.tile(numbers(ring, 0), 3)[: 2 * whole + 7]
    parties.vectors = dict.fromkeys(parties.sites, tiled)
    twin = parties.copy()
    with ThreadPoolExecutor(3) as pool:
        twin.spread = pool.map
        request = parties.begin(session).requests["a"]
        one, two = parties.deliver("a", request), twin.deliver("a", request)
    assert len(one.chunks) == 3
    assert encode(one) == encode(two)
    assert parties.chunks == twin.chunks


def test_a_pool_of_threads_gives_the_same_total() -> None:
    parties, _, opened = _opened(64)
    with ThreadPoolExecutor(2) as pool:
        spread = opened.summed(parties.chunks.__getitem__, pool.map)
    assert spread == opened.summed(parties.chunks.__getitem__)


@pytest.mark.parametrize("ring", RINGS)
def test_the_next_sum_takes_the_receipt_of_several_chunks(ring: RingBits) -> None:
    parties, session, opened = _opened(ring)
    parties = parties.copy()
    summed = opened.summed(parties.chunks.__getitem__)
    parties.vectors = {site: vector[:3] for site, vector in parties.vectors.items()}
    again = parties.total(session, 1, summed)
    assert again.vector().tolist() == expected(parties).tolist()
