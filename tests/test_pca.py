"""Principal components over sites are those of the pooled rows, to eight digits and with the same signs."""

import math
from typing import Any

import numpy as np
import pytest

from hansa.errors import Refused
from hansa.jobs.base import Array, Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.pca import EXAMPLE, Pca, PcaAnswer, scores
from hansa.privacy.disclosure import Rules
from tests.real_rows import ask, ask_while_leaving, dealt, hospitals, joined, read

HEART = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
HEALTH = ("mdvis", "lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")


def components(tables: dict[str, Table], **parameters: Any) -> PcaAnswer:
    answer = ask(Pca(**parameters), tables)
    assert isinstance(answer, PcaAnswer)
    return answer


def by_singular_values(rows: Array, matrix: str, count: int) -> tuple[Array, Array]:
    """Variances and loadings of the pooled rows, without a covariance matrix."""
    centred = rows - rows.mean(axis=0)
    if matrix == "correlation":
        centred = centred / centred.std(axis=0, ddof=1)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(vectors[np.arange(vectors.shape[0]), np.abs(vectors).argmax(axis=1)])
    return (singular**2 / (rows.shape[0] - 1))[:count], (vectors * signs[:, None])[:count]


def pooled(tables: dict[str, Table], columns: tuple[str, ...]) -> Array:
    values = np.column_stack([joined(tables).numbers(column) for column in columns])
    return values[~np.isnan(values).any(axis=1)]


@pytest.mark.parametrize("matrix", ["correlation", "covariance"])
@pytest.mark.parametrize("source", ["heart", "health"])
def test_four_sites_get_the_singular_values_of_all_rows(source: str, matrix: str) -> None:
    tables = hospitals() if source == "heart" else dealt(read("randhie.csv"), 4)
    columns = HEART if source == "heart" else HEALTH
    found = components(tables, of=columns, components=10, matrix=matrix)
    rows = pooled(tables, columns)
    variances, loadings = by_singular_values(rows, matrix, 10)
    assert found.n == rows.shape[0]
    assert found.variance == pytest.approx(variances, rel=1e-8)
    assert np.array(found.loadings) == pytest.approx(loadings, abs=1e-8)
    assert found.means == pytest.approx(rows.mean(axis=0), rel=1e-12)
    assert found.sds == pytest.approx(rows.std(axis=0, ddof=1), rel=1e-12)
    assert sum(found.ratio) == pytest.approx(1.0)
    assert np.max(np.abs(np.array(found.variance) - variances)) <= (found.precision + 1e-13) * variances[0]


def test_scores_of_ones_own_rows_vary_as_the_components_say() -> None:
    tables = hospitals()
    found = components(tables, of=HEART, components=3)
    every = np.concatenate([scores(found, table) for table in tables.values()])
    assert np.cov(every.T) == pytest.approx(np.diag(found.variance), abs=1e-10)


def test_a_wide_table_takes_the_same_four_steps() -> None:
    grid = np.add.outer(np.arange(60) ** 2 * 7, np.arange(200) ** 3 * 11)
    values = np.sin(grid) + 0.1 * np.cos(np.outer(np.arange(60), np.arange(200)))
    columns = {f"c{place}": values[:, place] for place in range(200)}
    found = components(dealt(columns, 3), of=tuple(columns), components=8, matrix="covariance")
    variances, loadings = by_singular_values(values, "covariance", 8)
    assert found.variance == pytest.approx(variances, rel=1e-8)
    assert np.abs(np.sum(np.array(found.loadings) * loadings, axis=1)) == pytest.approx(np.ones(8), abs=1e-8)
    with pytest.raises(Refused, match="parameters per hundred records"):
        found.disclosed(Rules())


def test_numbers_far_from_zero_lose_no_digit() -> None:
    base = pooled(hospitals(), HEART[:1] + HEART[3:5])
    moved = base * [1e-6, 1.0, 1e6] + [1e3, -1e9, 1e12]
    found = components(dealt({name: moved[:, place] for place, name in enumerate("abc")}, 3), of=tuple("abc"))
    variances, loadings = by_singular_values(base, "correlation", 3)
    assert found.variance == pytest.approx(variances, rel=1e-6)
    assert np.array(found.loadings) == pytest.approx(loadings, abs=1e-6)


def test_columns_that_repeat_each_other_have_fewer_components_and_it_is_said() -> None:
    x = [float(37 * row % 101) for row in range(50)]
    z = [float(53 * row % 29) for row in range(50)]
    found = components(dealt({"x": x, "z": z, "twice": [2 * a for a in x]}, 2), of=("x", "z", "twice"), components=3)
    assert len(found.variance) == 3 or "only 2 components have any variance" in found.notes
    assert sum(one > 1e-9 for one in found.variance) == 2


def test_components_of_equal_variance_are_named() -> None:
    corners = {"x": [1.0, 1.0, -1.0, -1.0], "z": [1.0, -1.0, 1.0, -1.0]}
    found = components(dealt(corners, 2), of=("x", "z"))
    assert any("PC1, PC2: of equal variance" in note for note in found.notes)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_exact(step: int) -> None:
    tables = hospitals()
    found = ask_while_leaving(Pca(of=HEART, components=10), tables, {step: "cleveland"})
    assert isinstance(found, PcaAnswer)
    rest = {site: table for site, table in tables.items() if site != "cleveland"}
    variances, loadings = by_singular_values(pooled(rest, HEART), "correlation", 10)
    assert found.variance == pytest.approx(variances, rel=1e-8)
    assert np.array(found.loadings) == pytest.approx(loadings, abs=1e-8)


def test_a_site_of_two_rows_and_one_that_misses_everything_take_part() -> None:
    two = numbers_table(height=[150.0, 199.0], weight=[60.0, 61.0], age=[20.0, 90.0])
    none = numbers_table(height=[None, 1.0], weight=[2.0, None], age=[1.0, 1.0])
    found = components({**EXAMPLE.tables, "two": two, "none": none}, of=("height", "weight", "age"))
    assert (found.n, found.dropped) == (14, 3)


def test_a_left_out_count_of_dropped_rows_stands_nowhere() -> None:
    tables = {**dealt({"x": [float(row % 7) for row in range(40)], "z": [float(row % 11) for row in range(40)]}, 2)}
    tables["c"] = dealt({"x": [math.nan, 1.0], "z": [1.0, math.nan]}, 1)["0"]
    found = components(tables, of=("x", "z")).disclosed(Rules())
    assert isinstance(found, PcaAnswer)
    assert found.dropped is None and not [note for note in found.notes if "2" in note]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "constant": ({"x": [3.0] * 9, "z": list(range(9))}, "column 'x' is constant over the complete rows"),
    "zeros": ({"x": [0.0] * 9, "z": list(range(9))}, "it is zero in every complete row"),
    "nothing": ({"x": [None] * 9, "z": list(range(9))}, "no rows are complete"),
    "one row": ({"x": [1.0, None], "z": [1.0, 2.0]}, "only one row is complete"),
    "infinite": ({"x": [math.inf] * 9, "z": list(range(9))}, "infinite"),
}


@pytest.mark.parametrize(("columns", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_components_is_refused(columns: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused, match=due):
        components(dealt(columns, 2), of=("x", "z"))


def test_text_and_a_column_named_twice_are_refused() -> None:
    with pytest.raises(Refused, match="holds text"):
        components({"a": mixed_table({"x": ("u",)}, x=["u"], z=[1.0])}, of=("x", "z"))
    with pytest.raises(Refused, match="named twice"):
        Pca(of=("x", "x")).columns()
