"""What is left out of an answer can't be computed from what is shown, and each rule refuses by itself."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.errors import Refused
from hansa.jobs import EXAMPLES, KINDS
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Crossed, Rules, crossed, layered, line, shown

TEN = Rules()
counts = st.integers(0, 30)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(counts, min_size=width, max_size=width), min_size=1, max_size=4)
)


def consistent(table: Crossed, guess: np.ndarray[Any, Any]) -> bool:
    """Whether these counts would be shown as `table` is, where nothing is rounded."""
    for cells, row in zip(table.cells, guess, strict=True):
        if any(cell is not None and cell != count for cell, count in zip(cells, row, strict=True)):
            return False
    sums = [
        *zip(table.row_totals, guess.sum(axis=1), strict=True),
        *zip(table.column_totals, guess.sum(axis=0), strict=True),
    ]
    if any(total is not None and total != count for total, count in sums):
        return False
    return table.total is None or table.total == guess.sum()


@given(tables)
def test_a_left_out_cell_may_be_any_count_below_the_minimum_whatever_else_is_shown(plain: list[list[int]]) -> None:
    """An attacker who knows the rule, the table as shown and every other cell learns 1 ≤ cell < minimum and no more."""
    table, truth = crossed(plain, TEN), np.array(plain)
    for (row, column), count in np.ndenumerate(truth):
        assert (table.cells[row][column] is None) == (0 < count < 10)
        if table.cells[row][column] is None:
            for other in range(1, 10):
                guess = truth.copy()
                guess[row, column] = other
                assert consistent(table, guess)
                assert crossed(guess.tolist(), TEN) == table


@given(tables)
def test_what_is_shown_is_right_and_what_can_be_shown_is(plain: list[list[int]]) -> None:
    table, truth = crossed(plain, TEN), np.array(plain)
    assert consistent(table, truth)
    for row, cells in enumerate(table.cells):
        assert (table.row_totals[row] is None) == (None in cells or 0 < truth[row].sum() < 10)
    assert table.whole == (not any(None in cells for cells in table.cells) and not 0 < truth.sum() < 10)


@given(st.lists(counts, min_size=1, max_size=6), st.integers(1, 12), st.sampled_from([1, 5, 10]))
def test_a_line_shows_no_total_over_a_left_out_count_and_rounds_the_others(
    plain: list[int], minimum: int, round_to: int
) -> None:
    rules = Rules(minimum_cell=minimum, round_to=round_to)
    cells, total = line(plain, rules)
    for count, cell in zip(plain, cells, strict=True):
        assert cell is None if 0 < count < minimum else cell is not None and abs(cell - count) <= round_to / 2
        assert cell is None or cell % round_to == 0
    assert total is None or (None not in cells and abs(total - sum(plain)) <= round_to / 2)


@given(st.lists(st.lists(st.lists(counts, min_size=2, max_size=2), min_size=3, max_size=3), min_size=1, max_size=3))
def test_a_left_out_cell_of_a_stratum_may_be_any_small_count_whatever_is_shown_of_the_strata_and_their_sums(
    plain: list[list[list[int]]],
) -> None:
    summed, layers = layered(plain, TEN)
    for place, count in np.ndenumerate(np.array(plain)):
        assert (layers[place[0]].cells[place[1]][place[2]] is None) == (0 < count < 10)
        if 0 < count < 10:
            assert summed.cells[place[1]][place[2]] is None and not summed.whole
            for other in range(1, 10):
                guess = np.array(plain)
                guess[place] = other
                assert layered(guess.tolist(), TEN) == (summed, layers)
    if all(layer.whole for layer in layers):
        assert summed == crossed(np.array(plain).sum(axis=0).tolist(), TEN)


def test_zero_is_shown_and_so_is_the_minimum_itself() -> None:
    assert [shown(count, TEN) for count in (0, 1, 9, 10)] == [0, None, None, 10]


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_knows_what_to_leave_out(kind: str) -> None:
    """Nothing is left out where everything may be seen; the examples are too small for anything else."""
    answer = EXAMPLES[kind].answer
    assert answer.disclosed(Rules(minimum_cell=1, parameters_percent=100)) == answer
    strict = replace(TEN, minimum_cell=13)
    try:
        shown = answer.disclosed(strict)
    except Refused as refusal:
        assert "is not released" in str(refusal)
    else:
        assert shown != answer
        assert "counts from 1 to 12 are left out, and totals that hold them" in shown.notes


def test_a_model_with_many_parameters_for_its_records_is_not_released() -> None:
    disclosure.refuse_rich(33, 100, TEN)
    with pytest.raises(Refused, match="more than 33 parameters per hundred records"):
        disclosure.refuse_rich(34, 100, TEN)


def test_a_site_with_few_rows_or_one_that_dominates_takes_no_part_and_says_no_number() -> None:
    large = {"pay": np.array([1.0, 2.0, 97.0, np.nan])}
    disclosure.refuse_site(4, large, TEN)
    with pytest.raises(Refused, match="fewer rows in the question"):
        disclosure.refuse_site(2, {}, TEN)
    with pytest.raises(Refused, match="too much of the sum of column 'pay'"):
        disclosure.refuse_site(4, large, replace(TEN, dominance_percent=96))
    disclosure.refuse_site(4, large, replace(TEN, dominance_percent=97))
    disclosure.refuse_site(4, {"none": np.array([np.nan, 0.0])}, replace(TEN, dominance_percent=50))


@pytest.mark.parametrize(
    ("name", "stricter", "laxer"),
    [
        ("minimum_cell", 11, 9),
        ("round_to", 10, 1),
        ("parameters_percent", 32, 34),
        ("dominance_percent", 80, 91),
        ("minimum_rows", 4, 2),
    ],
)
def test_rules_are_laxer_than_others_where_any_of_them_is(name: str, stricter: int, laxer: int) -> None:
    wanted = Rules(round_to=5, dominance_percent=90)
    assert wanted.laxer(wanted) == replace(wanted, **{name: stricter}).laxer(wanted) == ""
    assert replace(wanted, **{name: laxer}).laxer(wanted) != ""


def test_the_rules_of_others_can_be_said() -> None:
    """DataSHIELD's defaults, and OpenSAFELY's: counts up to seven are redacted, the others rounded to five."""
    datashield = Rules(minimum_cell=3, parameters_percent=33, minimum_rows=3)
    opensafely = Rules(minimum_cell=8, round_to=5)
    for small, large in product((1, 2), (3, 4)):
        assert (shown(small, datashield), shown(large, datashield)) == (None, large)
    assert [shown(count, opensafely) for count in (0, 7, 8, 12, 13)] == [0, None, 10, 10, 15]
