"""The growing tree: against RFC 6962 as it is written, the vectors of others, and other people's code."""

import base64
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.audit import tree
from hansa.audit.tree import Head, check_consistency, check_inclusion
from hansa.crypto import merkle
from hansa.errors import ProtocolViolation
from tests.grown import Grown, numbered

VECTORS = Path(__file__).parent / "vectors" / "merkle"
LARGEST = 300
GROWN = Grown(numbered(LARGEST))
LEAVES = [merkle.leaf(entry) for entry in GROWN.entries]
HEADS = [GROWN.head(size) for size in range(LARGEST + 1)]


def digests(texts: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in texts or []]


def inclusion_holds(vector: dict[str, Any]) -> bool:
    leaf, root = digests([vector["leafHash"], vector["root"]])
    try:
        check_inclusion(leaf, vector["leafIdx"], Head(vector["treeSize"], root), digests(vector["proof"]))
    except (ProtocolViolation, ValueError):  # ValueError: the leaf is what the verifier itself hashed
        return False
    return True


def consistency_holds(vector: dict[str, Any]) -> bool:
    old, new = digests([vector["root1"], vector["root2"]])
    try:
        check_consistency(Head(vector["size1"], old), Head(vector["size2"], new), digests(vector["proof"]))
    except ProtocolViolation:
        return False
    return True


def test_proofs_of_others_hold_or_not_as_they_say() -> None:
    inclusion = [json.loads(path.read_text()) for path in sorted(VECTORS.glob("inclusion-?.json"))]
    inclusion += json.loads(gzip.decompress((VECTORS / "inclusion-others.json.gz").read_bytes()))
    consistency = json.loads(gzip.decompress((VECTORS / "consistency.json.gz").read_bytes()))
    for vector in inclusion:
        assert inclusion_holds(vector) is not vector["wantErr"], vector
    for vector in consistency:
        assert consistency_holds(vector) is not vector["wantErr"], vector
    assert Counter(vector["wantErr"] for vector in inclusion + consistency) == {True: 184, False: 12}


def test_every_root_is_that_of_all_its_leaves() -> None:
    for size, head in enumerate(HEADS):
        assert head == Head(size, merkle.root(LEAVES[:size]))


@given(st.lists(st.integers(0, 70), max_size=12))
def test_however_the_batches_are_cut_the_nodes_are_the_same(batches: list[int]) -> None:
    grown = Grown()
    for size in batches:
        grown.append(numbered(size, len(grown.entries)))
    assert grown.nodes == Grown(grown.entries).nodes
    assert grown.head().root == merkle.root(map(merkle.leaf, grown.entries))


def test_appending_reads_nothing_but_the_peaks_of_the_tree_before() -> None:
    for size in range(LARGEST):
        asked: set[tuple[int, int]] = set()

        def read(level: int, place: int, asked: set[tuple[int, int]] = asked) -> bytes:
            asked.add((level, place))
            return GROWN.read(level, place)

        made = tree.new_nodes(size, LEAVES[size : size + 9], read)
        assert asked <= set(tree.peaks(size))
        assert all(GROWN.nodes.get((level, place), digest) == digest for level, place, digest in made)


def test_every_leaf_of_every_size_has_its_path_and_no_longer_or_shorter_one() -> None:
    for size in range(1, LARGEST + 1):
        for index, path in enumerate(merkle.paths(LEAVES[:size])):
            assert GROWN.inclusion(index, size) == path
            check_inclusion(LEAVES[index], index, HEADS[size], path)
        with pytest.raises(ProtocolViolation):
            check_inclusion(LEAVES[index], index, HEADS[size], (*path, LEAVES[0]))
        if path:
            with pytest.raises(ProtocolViolation):
                check_inclusion(LEAVES[index], index, HEADS[size], path[:-1])


def proof_by_definition(leaves: list[bytes], old: int, whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2, as it is written: PROOF for `whole`, SUBPROOF with b = false otherwise."""
    if old == len(leaves):
        return [] if whole else [merkle.root(leaves)]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= middle:
        return [*proof_by_definition(leaves[:middle], old, whole), merkle.root(leaves[middle:])]
    return [*proof_by_definition(leaves[middle:], old - middle, False), merkle.root(leaves[:middle])]


@pytest.mark.parametrize("new", [*range(1, 66), 255, 256, 257, 300])
def test_a_proof_of_consistency_is_that_of_the_definition(new: int) -> None:
    for old in range(1, new + 1):
        assert list(GROWN.consistency(old, new)) == proof_by_definition(LEAVES[:new], old)


def test_every_size_is_consistent_with_every_later_one() -> None:
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            check_consistency(HEADS[old], HEADS[new], GROWN.consistency(old, new))


def test_from_the_empty_tree_and_to_a_smaller_one_nothing_is_proved() -> None:
    for old, new in ((0, 0), (0, 5), (6, 5)):
        with pytest.raises(ValueError, match="not empty"):
            GROWN.consistency(old, new)
        with pytest.raises(ProtocolViolation, match="not empty"):
            check_consistency(HEADS[old], HEADS[new], ())
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(ValueError, match="leaf of the tree"):
            GROWN.inclusion(index, size)
        with pytest.raises(ProtocolViolation):
            check_inclusion(LEAVES[0], index, HEADS[size], ())
    assert HEADS[0] == tree.EMPTY_HEAD


def mutated(proof: tuple[bytes, ...], draw: random.Random) -> tuple[bytes, ...]:
    """Another proof: a bit, a hash of the tree in place of one, one more, one fewer, or two swapped."""
    other = list(proof)
    while tuple(other) == proof:
        at = draw.randrange(len(other)) if other else 0
        match draw.randrange(5):
            case 0 if other:
                flipped = int.from_bytes(other[at], "big") ^ 1 << draw.randrange(256)
                other[at] = flipped.to_bytes(32, "big")
            case 1 if other:
                other[at] = draw.choice(draw.choice((LEAVES, [head.root for head in HEADS])))
            case 2:
                other.insert(at, draw.choice([*LEAVES[:3], *other]))
            case 3 if other:
                del other[at]
            case 4 if other:
                to = draw.randrange(len(other))
                other[at], other[to] = other[to], other[at]
    return tuple(other)


def test_of_50_000_changed_proofs_of_inclusion_none_holds() -> None:
    draw = random.Random(1)
    for number in range(50_000):
        size = draw.randint(1, LARGEST)
        index = draw.randrange(size)
        leaf, head, path = LEAVES[index], HEADS[size], GROWN.inclusion(index, size)
        match number % 4:
            case 0:
                index = draw.choice([other for other in range(size + 2) if other != index])
            case 1:
                leaf = draw.choice([other for other in LEAVES[: size + 1] if other != leaf])
            case 2:
                head = Head(size, draw.choice([*(one.root for one in HEADS if one.size != size), bytes(32), b""]))
            case 3:
                path = mutated(path, draw)
        with pytest.raises(ProtocolViolation):
            check_inclusion(leaf, index, head, path)


def test_of_50_000_changed_proofs_of_consistency_none_holds() -> None:
    draw = random.Random(2)
    for number in range(50_000):
        new = draw.randint(2, LARGEST)
        old = draw.randint(1, new - 1)
        heads, proof = [HEADS[old], HEADS[new]], GROWN.consistency(old, new)
        match number % 3:
            case 0:
                which = draw.randrange(2)
                others = [one.root for one in HEADS if one.size not in (old, new)]
                heads[which] = Head(heads[which].size, draw.choice([*others, heads[1 - which].root, b""]))
            case 1:
                heads = draw.choice((heads[::-1], [tree.EMPTY_HEAD, heads[1]], [heads[0], tree.EMPTY_HEAD]))
            case 2:
                proof = mutated(proof, draw)
        with pytest.raises(ProtocolViolation):
            check_consistency(*heads, proof)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=40), max_size=330))
def test_another_library_finds_the_same_roots(entries: list[bytes]) -> None:
    pymerkle = pytest.importorskip("pymerkle")
    other, grown = pymerkle.InmemoryTree(algorithm="sha256"), Grown(entries)
    for entry in entries:
        other.append_entry(entry)
    for size in range(1, len(entries) + 1):
        assert other.get_root(size) == grown.head(size).root


def test_another_library_finds_the_same_root_at_every_size() -> None:
    pymerkle = pytest.importorskip("pymerkle")
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(GROWN.entries, 1):
        other.append_entry(entry)
        assert other.get_root() == HEADS[size].root
