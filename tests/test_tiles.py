"""The log as files: paths as the specification has them, and everything in them again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.audit.tiles import (
    ENTRIES,
    Place,
    bundle,
    export,
    parse_bundle,
    parse_path,
    parse_tile,
    places,
    row,
)
from hansa.crypto import merkle
from hansa.errors import ProtocolViolation
from tests.grown import Grown, numbered


def test_paths_are_those_of_the_specification() -> None:
    assert str(Place(0, 1234067)) == "tile/0/x001/x234/067"
    assert str(Place(3, 0)) == "tile/3/000"
    assert str(Place(ENTRIES, 1000, 17)) == "tile/entries/x001/000.p/17"


@given(st.sampled_from([ENTRIES, *range(64)]), st.integers(0, 10**18) | st.integers(0, 2000), st.integers(1, 256))
def test_a_path_is_read_back(level: int | str, index: int, width: int) -> None:
    place = Place(level, index, width)
    assert parse_path(str(place)) == place


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "/tile/0/000",
        "tile/data/000",
        "tile/0/000\n",
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_path(path)


def test_a_tree_of_70_000_has_the_tiles_that_the_specification_counts() -> None:
    rows = [[place.width for place in row(level, 70_000)] for level in range(4)]
    assert rows == [[256] * 273 + [112], [256, 17], [1], []]
    assert [str(place) for place in places(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert list(places(0)) == []


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_what_is_exported_holds_every_entry_and_leads_to_the_root(size: int) -> None:
    grown = Grown(numbered(size))
    files = dict(export(size, grown.read, lambda start, end: grown.entries[start:end]))
    assert list(files) == [str(place) for place in places(size)]
    entries, hashes = [], []
    for path, content in files.items():
        place = parse_path(path)
        if place.level == ENTRIES:
            entries += parse_bundle(content, place.width)
        elif place.level == 0:
            hashes += parse_tile(content, place.width)
        else:
            assert parse_tile(content, place.width) == [
                merkle.root(hashes[at : at + 256]) for at in range(0, size // 256 * 256, 256)
            ]
    assert entries == grown.entries
    assert hashes == [merkle.leaf(entry) for entry in entries]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_is_read_back(entries: list[bytes]) -> None:
    assert parse_bundle(bundle(entries), len(entries)) == entries


def test_a_bundle_takes_entries_of_65_535_bytes_and_no_longer_ones_and_not_too_many() -> None:
    assert parse_bundle(bundle([bytes(65_535)]), 1) == [bytes(65_535)]
    for entries in ([bytes(65_536)], [b""] * 257, []):
        with pytest.raises(ValueError, match="up to 256 entries"):
            bundle(entries)


def test_a_bundle_cut_short_or_with_more_after_it_is_refused() -> None:
    draw = random.Random(8)
    whole = bundle([draw.randbytes(draw.randrange(90)) for _ in range(20)])
    for end in range(len(whole)):
        with pytest.raises(ProtocolViolation):
            parse_bundle(whole[:end], 20)
    for data, width in ((whole, 19), (whole, 21), (whole + b"\0", 20), (whole + b"\0\0", 20)):
        with pytest.raises(ProtocolViolation):
            parse_bundle(data, width)
    for data, width in ((bytes(32), 2), (bytes(31), 1), (b"", 1), (bytes(64), 1)):
        with pytest.raises(ProtocolViolation):
            parse_tile(data, width)
