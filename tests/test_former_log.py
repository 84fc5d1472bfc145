"""The log as Hansa 0.1 wrote it: whatever is changed in it, the links or a head noted before show it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.audit.former import GENESIS, FormerEntry, check_links, entry_digest
from hansa.errors import ProtocolViolation
from hansa.messages import decode, encode

quick = settings(derandomize=True, database=None, deadline=None, max_examples=100)
Rows = list[tuple[bytes, bytes]]
ACTS = ("charter adopted", "site seen", "proposal asked", "released")


def link(
    number: int, previous: bytes, milliseconds: int, act: str, by: str, run: str, details: dict[str, str]
) -> tuple[bytes, bytes]:
    data = encode(FormerEntry(number, previous, milliseconds, act, by, run, details))
    return data, entry_digest(data)


def written(size: int) -> Rows:
    rows: Rows = []
    head = GENESIS
    for number in range(size):
        act = ACTS[number % len(ACTS)]
        data, head = link(number, head, 1000 * number, act, "hub", "f" * 32, {"step": str(number), "a": "b"})
        rows.append((data, head))
    return rows


ROWS = written(12)


def relinked(rows: Rows) -> Rows:
    """As a hub would rewrite the log: every link made anew."""
    found: Rows = []
    head = GENESIS
    for number, (data, _) in enumerate(rows):
        entry = decode(data, FormerEntry)
        new, head = link(number, head, entry.milliseconds, entry.act, entry.by, entry.run, entry.details)
        found.append((new, head))
    return found


def test_a_log_as_it_was_written_holds() -> None:
    assert check_links([]) == (0, GENESIS)
    assert check_links(ROWS) == (12, ROWS[-1][1])
    assert check_links(iter(ROWS[:5])) == (5, ROWS[4][1])


CHANGES: dict[str, Any] = {
    "number": 99,
    "previous": bytes(32),
    "milliseconds": 1,
    "act": "cancelled",
    "by": "a",
    "run": "",
    "details": {"step": "7"},
}


@pytest.mark.parametrize("field", CHANGES)
@pytest.mark.parametrize("place", [1, 5, 11])
def test_any_change_of_an_entry_is_found(place: int, field: str) -> None:
    assert set(CHANGES) == set(FormerEntry.__struct_fields__)
    data = encode(replace(decode(ROWS[place][0], FormerEntry), **{field: CHANGES[field]}))
    assert data != ROWS[place][0]
    with pytest.raises(ProtocolViolation, match=f"entry {place}"):
        check_links([*ROWS[:place], (data, ROWS[place][1]), *ROWS[place + 1 :]])
    rows = [*ROWS[:place], (data, entry_digest(data)), *ROWS[place + 1 :]]
    if place < 11 or field in ("number", "previous"):
        with pytest.raises(ProtocolViolation):
            check_links(rows)
    else:  # the last entry has no successor: only a head that was noted shows it
        assert check_links(rows)[1] != ROWS[-1][1]


@pytest.mark.parametrize("place", range(11))
def test_a_removal_or_a_swap_in_the_middle_is_found(place: int) -> None:
    with pytest.raises(ProtocolViolation, match=f"entry {place} "):
        check_links([*ROWS[:place], *ROWS[place + 1 :]])
    with pytest.raises(ProtocolViolation, match=f"entry {place} "):
        check_links([*ROWS[:place], ROWS[place + 1], ROWS[place], *ROWS[place + 2 :]])
    with pytest.raises(ProtocolViolation, match=f"entry {place + 1} "):
        check_links([*ROWS[: place + 1], *ROWS[place:]])


@quick
@given(st.integers(0, 11), st.data())
def test_no_byte_of_the_log_may_change(place: int, data: st.DataObject) -> None:
    entry, digest = ROWS[place]
    whole = bytearray(entry + digest)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    changed = bytes(whole[: len(entry)]), bytes(whole[len(entry) :])
    with pytest.raises(ProtocolViolation):
        check_links([*ROWS[:place], changed, *ROWS[place + 1 :]])


@pytest.mark.parametrize("kept", range(12))
def test_a_shortened_log_holds_but_is_not_the_log_whose_head_was_noted(kept: int) -> None:
    noted = check_links(ROWS)
    assert check_links(ROWS[:kept]) != noted


@pytest.mark.parametrize("place", range(12))
def test_a_log_that_was_rewritten_whole_has_another_head(place: int) -> None:
    noted = check_links(ROWS)
    lie = encode(replace(decode(ROWS[place][0], FormerEntry), details={"step": "lie"}))
    rows = relinked([*ROWS[:place], (lie, b""), *ROWS[place + 1 :]])
    assert check_links(rows)[0] == noted[0]
    assert check_links(rows)[1] != noted[1]
    assert check_links(relinked(ROWS)) == noted


def test_an_earlier_head_covers_what_was_written_until_then() -> None:
    noted = check_links(ROWS[:7])
    assert check_links(ROWS[:7] + written(12)[7:])[0] == 12
    assert (7, ROWS[6][1]) == noted


def test_an_entry_that_is_no_entry_is_named_too() -> None:
    with pytest.raises(ProtocolViolation, match="entry 3"):
        check_links([*ROWS[:3], (b"\xc1", entry_digest(b"\xc1")), *ROWS[4:]])
