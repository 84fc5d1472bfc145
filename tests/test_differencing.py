"""What several releases show together: found by the site, and what it allows lets no small count be computed."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import Refused
from hansa.jobs.histogram import Histogram, HistogramAnswer
from hansa.jobs.table import Crosstab, TableAnswer
from hansa.privacy.differencing import LEFT, RIGHT, Cell, Figure, Span, refuse_revealing
from hansa.privacy.disclosure import Rules

MINIMUM = 10
RULES = Rules()


def bins(ages: Sequence[float], *edges: float, rules: Rules = RULES) -> tuple[Figure, ...]:
    """What a histogram of these edges shows."""
    inside = [sum(low <= age < high for age in ages) for low, high in pairwise(edges)]
    inside[-1] += sum(age == edges[-1] for age in ages)
    below, above = sum(age < edges[0] for age in ages), sum(age > edges[-1] for age in ages)
    exact = HistogramAnswer(
        edges=edges, counts=tuple(inside), below=below, above=above, missing=0, n=len(ages), notes=()
    )
    return Histogram(column="age", low=edges[0], high=edges[-1]).figures(exact.disclosed(rules), exact)


def refused(new: Sequence[Figure], *before: Sequence[Figure], minimum: int = MINIMUM) -> bool:
    try:
        refuse_revealing(new, before, minimum)
    except Refused as refusal:
        assert f"a count below {minimum}" in str(refusal)
        return True
    return False


AGES = [20 + 0.5 * place for place in range(120)]  # two a year


@pytest.mark.parametrize(
    ("first", "second", "tells"),
    [
        ((20.0, 50.0, 80.0), (20.0, 51.0, 80.0), True),  # the fifty-year-olds
        ((20.0, 50.0, 80.0), (20.0, 60.0, 80.0), False),
        ((20.0, 50.0, 80.0), (20.0, 50.0, 80.0), False),
        ((20.0, 50.0, 80.0), (20.0, 35.0, 50.0, 65.0, 80.0), False),
        ((20.0, 50.0, 80.0), (21.0, 50.0, 80.0), True),
        ((20.0, 40.0, 60.0), (30.0, 50.0, 62.0), True),
    ],
)
def test_two_histograms_tell_what_lies_between_their_edges(
    first: tuple[float, ...], second: tuple[float, ...], tells: bool
) -> None:
    assert not refused(bins(AGES, *first)) and not refused(bins(AGES, *second))
    assert refused(bins(AGES, *second), bins(AGES, *first)) == tells


def test_three_histograms_tell_what_no_two_do() -> None:
    """Without the totals: [20, 50) and [50, 81) give [20, 81); the third is [20, 80)."""
    spans = [(20.0, 50.0, 60), (50.0, 81.0, 62), (20.0, 80.0, 120)]
    one, two, three = [(Span("age", (low, 0), (high, 0), count),) for low, high, count in spans]
    assert not refused(two, one) and not refused(three, one) and not refused(three, two)
    assert refused(three, one, two)


def test_a_column_of_its_own_tells_nothing_of_another() -> None:
    assert not refused((Span("age", (0, 0), (50, 0), 40),), (Span("pulse", (0, 0), (51, 0), 42),))


def counted(rows: Sequence[tuple[str, str]], columns: tuple[str, ...], *names: tuple[str, ...]) -> tuple[Figure, ...]:
    """What a table with these categories shows of rows of (sex, smokes)."""
    places = [("sex", "smokes").index(column) for column in columns]
    across = names[1] if len(names) == 2 else ("",)
    cells = [
        [
            sum(
                all(row[place] == said for place, said in zip(places, (name, other)[: len(places)], strict=True))
                for row in rows
            )
            for other in across
        ]
        for name in names[0]
    ]
    total = sum(map(sum, cells))
    exact = TableAnswer(
        row_names=names[0],
        column_names=names[1] if len(names) == 2 else (),
        counts=tuple(map(tuple, cells)),
        row_totals=tuple(map(sum, cells)),
        column_totals=tuple(map(sum, zip(*cells, strict=True))),
        n=total,
        missing=len(rows) - total,
        notes=(),
    )
    job = Crosstab(rows=columns[0], across=columns[1] if len(columns) == 2 else None)
    return job.figures(exact.disclosed(Rules()), exact)


def test_a_table_that_counts_fewer_categories_tells_of_those_that_it_leaves_out() -> None:
    rows = [("f", "no")] * 40 + [("m", "no")] * 40 + [("d", "no")] * 4
    with_others = [*rows, *[("?", "no")] * 20]
    first, second = counted(with_others, ("sex",), ("f", "m")), counted(with_others, ("sex",), ("f", "m", "d"))
    assert not refused(first) and not refused(second)
    assert refused(second, first), "missing of the one, less missing of the other: four"


def test_a_crossed_table_tells_who_misses_the_other_column() -> None:
    rows = [("f", "no")] * 40 + [("f", "yes")] * 30 + [("m", "no")] * 40 + [("m", "yes")] * 30 + [("m", "?")] * 3
    alone = counted(rows, ("sex",), ("f", "m"))
    both = counted(rows, ("sex", "smokes"), ("f", "m"), ("no", "yes"))
    assert not refused(alone) and not refused(both)
    assert refused(both, alone) and refused(alone, both)
    enough = [*rows, *[("m", "?")] * 9]
    assert not refused(
        counted(enough, ("sex", "smokes"), ("f", "m"), ("no", "yes")), counted(enough, ("sex",), ("f", "m"))
    )


def test_a_histogram_and_a_table_of_the_same_numbers_are_held_together() -> None:
    table = Crosstab(rows="age")
    exact = TableAnswer(
        row_names=("50",), column_names=(), counts=((12,),), row_totals=(12,), column_totals=(12,), n=12, missing=0
    )
    figures = table.figures(exact, exact)
    assert not refused(figures, (Span("age", (49.0, 0), (51.0, 0), 14),)), "their ends are not tied"
    assert refused(figures, (Span("age", (50.0, 0), (51.0, 0), 14),)), "between 50 and 51 are two"


def test_too_many_tables_are_refused_in_a_sentence() -> None:
    names = tuple(f"{place}" for place in range(300))
    cells = tuple(Cell(("a", "b"), ((one,), (two,)), 20) for one in names[:60] for two in names[:60])
    with pytest.raises(Refused, match="too many tables"):
        refuse_revealing(cells, [cells], MINIMUM)


# ---- nothing that is allowed lets a small count be computed ----


def determined(figures: Sequence[Span], low: tuple[float, int], high: tuple[float, int]) -> Fraction | None:
    """The count of an interval if it follows from those shown, by exact elimination over the elementary intervals."""
    ends = sorted({end for span in figures for end in (span.low, span.high)} | {low, high})
    atoms = list(pairwise(ends))

    def row(begin: tuple[float, int], end: tuple[float, int]) -> list[Fraction]:
        return [Fraction(begin <= atom[0] and atom[1] <= end) for atom in atoms]

    matrix = [[*row(span.low, span.high), Fraction(span.count)] for span in figures]
    target = [*row(low, high), Fraction(0)]
    for place in range(len(atoms)):
        pivot = next((line for line in matrix if line[place]), None)
        if pivot is None:
            continue
        matrix.remove(pivot)
        pivot = [value / pivot[place] for value in pivot]
        matrix = [[a - line[place] * b for a, b in zip(line, pivot, strict=True)] for line in matrix]
        target = [a - target[place] * b for a, b in zip(target, pivot, strict=True)]
    return None if any(target[:-1]) else -target[-1]


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.integers(0, 12), min_size=30, max_size=90),
    asked=st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=4, unique=True), min_size=1, max_size=5),
)
def test_no_interval_below_the_minimum_follows_from_what_a_site_released(
    ages: list[int], asked: list[list[int]]
) -> None:
    rules = Rules(minimum_cell=4)
    released: list[tuple[Figure, ...]] = []
    for edges in asked:
        new = bins([float(age) for age in ages], *map(float, sorted(edges)), rules=rules)
        if not refused(new, *released, minimum=4):
            released.append(new)
    spans = [figure for figures in released for figure in figures if isinstance(figure, Span)]
    ends = sorted({end for span in spans for end in (span.low, span.high)} | {LEFT, RIGHT})
    for low, high in combinations(ends, 2):
        count = determined(spans, low, high)
        assert count is None or not 0 < count < 4


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("fmd?"), st.sampled_from("nys?")), min_size=20, max_size=80),
    asked=st.lists(st.integers(0, 4), min_size=2, max_size=4),
)
def test_no_cell_below_the_minimum_follows_from_what_a_site_released(
    rows: list[tuple[str, str]], asked: list[int]
) -> None:
    tables: list[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = [
        (("sex",), (("f", "m"),)),
        (("sex",), (("f", "m", "d"),)),
        (("smokes",), (("n", "y", "s"),)),
        (("sex", "smokes"), (("f", "m"), ("n", "y"))),
        (("sex", "smokes"), (("f", "m", "d"), ("n", "y", "s"))),
    ]
    released: list[tuple[Figure, ...]] = []
    for number in asked:
        columns, names = tables[number]
        new = counted(rows, columns, *names)
        if not refused(new, *released):
            released.append(new)
    shown = [figure for figures in released for figure in figures if isinstance(figure, Cell)]
    atoms = [(sex, smokes) for sex in "fmd?" for smokes in "nys?"]

    def held(figure: Cell) -> list[float]:
        inside = [
            all(
                dict(zip(("sex", "smokes"), atom, strict=True))[c] in said
                for c, said in zip(figure.columns, figure.names, strict=True)
            )
            for atom in atoms
        ]
        return [float(one != figure.outside) for one in inside]

    if not shown:
        return
    matrix = np.array([held(figure) for figure in shown])
    rank = np.linalg.matrix_rank(matrix)
    for place, atom in enumerate(atoms):
        wanted = np.eye(len(atoms))[place]
        if np.linalg.matrix_rank(np.vstack([matrix, wanted])) == rank:
            assert not 0 < sum(row == atom for row in rows) < MINIMUM
