"""Clusters over sites are those of Lloyd's algorithm on the pooled rows, and no centre shows a row."""

import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Array, Step, Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.k_means import EXAMPLE, SCREENED, Iteration, KMeans, State
from hansa.jobs.multivariate.clusters import KMeansAnswer
from hansa.privacy.disclosure import Rules
from tests.real_rows import Chance, ask, ask_while_leaving, dealt, hospitals, joined

HEART = ("age", "trestbps", "thalach", "oldpeak")


def clusters(tables: dict[str, Table], **parameters: Any) -> KMeansAnswer:
    answer = ask(KMeans(**parameters), tables)
    assert isinstance(answer, KMeansAnswer)
    return answer


def first_centres(job: KMeans, tables: dict[str, Table]) -> tuple[Step, Iteration]:
    """The step that the first iteration is."""
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step) and step.name != "iteration 1":
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    assert isinstance(step, Step)
    now = job._read(step)
    assert isinstance(now, Iteration)
    return step, now


def pooled(tables: dict[str, Table], columns: tuple[str, ...]) -> Array:
    values = np.column_stack([joined(tables).numbers(column) for column in columns])
    return values[~np.isnan(values).any(axis=1)]


def lloyd(rows: Array, centres: Array, times: int) -> tuple[Array, Array, float]:
    """Plain Lloyd: centres that the last assignment used, its labels and its inertia."""
    for turn in range(times):
        away = ((rows[:, None, :] - centres[None]) ** 2).sum(axis=2)
        label, inertia = away.argmin(axis=1), float(away.min(axis=1).sum())
        if turn + 1 < times:
            assert set(label) == set(range(len(centres)))
            centres = np.array([rows[label == place].mean(axis=0) for place in range(len(centres))])
    return centres, label, inertia


@pytest.mark.parametrize(("count", "distance"), [(2, "standardised"), (3, "standardised"), (3, "as they are")])
def test_four_hospitals_get_the_clusters_of_all_their_rows(count: int, distance: str) -> None:
    tables = hospitals()
    job = KMeans(of=HEART, clusters=count, distance=distance, seed=4)  # type: ignore[arg-type]
    _, now = first_centres(job, tables)
    rows = pooled(tables, HEART)
    divisor = rows.std(axis=0, ddof=1) if distance == "standardised" else np.ones(len(HEART))
    starts = (np.array(now.centres) * now.scale.units + np.array(now.scale.centres)) / divisor
    races = []
    for start in starts:
        try:
            races.append(lloyd(rows / divisor, start, SCREENED))
        except AssertionError:  # a start with an empty cluster, which plain Lloyd can't go on from
            continue
    centres, label, inertia = lloyd(rows / divisor, min(races, key=lambda race: race[2])[0], 200)
    found = ask(job, tables)
    assert isinstance(found, KMeansAnswer) and found.converged
    order = np.argsort(-np.bincount(label), kind="stable")
    assert [one.size for one in found.clusters] == np.bincount(label)[order].tolist()
    assert np.array([one.centre for one in found.clusters]) == pytest.approx((centres * divisor)[order], rel=1e-9)
    assert found.inertia == pytest.approx(inertia, rel=1e-9)
    total = (((rows - rows.mean(axis=0)) / divisor) ** 2).sum()
    assert (found.inertia or 0) + (found.between or 0) == pytest.approx(total, rel=1e-9)


def test_clusters_far_apart_are_found_whatever_the_seed() -> None:
    middles = [(0.0, 0.0), (100.0, 0.0), (0.0, 1e4), (100.0, 1e4)]
    rows = [(x + row % 7 - 3, z + 50 * (row % 5 - 2)) for row in range(105) for x, z in middles]
    tables = dealt({"x": [x for x, _ in rows], "z": [z for _, z in rows]}, 3)
    found = [clusters(tables, of=("x", "z"), clusters=4, seed=seed) for seed in range(6)]
    best = min(one.inertia or 0 for one in found)
    assert sum(one.inertia == pytest.approx(best) for one in found) >= 5
    shown = next(one for one in found if one.inertia == pytest.approx(best))
    assert sorted(np.array([one.centre for one in shown.clusters]).tolist()) == pytest.approx(
        np.array(sorted([(x, z) for x, z in middles])), abs=1e-6
    )  # fmt: skip
    assert [one.size for one in shown.clusters] == [105] * 4


def test_the_same_seed_starts_at_the_same_centres_and_none_is_a_row() -> None:
    tables = hospitals()
    one, two, other = (first_centres(KMeans(of=HEART, seed=seed), tables)[1].centres for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize("step", range(1, 11))
def test_a_site_may_leave_before_any_step(step: int) -> None:
    tables = hospitals()
    found = ask_while_leaving(KMeans(of=HEART, clusters=2, seed=4), tables, {step: "cleveland"})
    assert isinstance(found, KMeansAnswer)
    rest = pooled({site: table for site, table in tables.items() if site != "cleveland"}, HEART)
    assert found.n == len(rest) and found.converged
    centres = np.array([one.centre for one in found.clusters])
    moved, label, _ = lloyd(rest / np.array(found.sds), centres / np.array(found.sds), 2)
    assert moved * np.array(found.sds) == pytest.approx(centres, rel=1e-8)
    assert np.bincount(label).tolist() == [one.size for one in found.clusters]


def test_a_cluster_of_few_rows_is_not_shown_nor_what_it_could_be_computed_from() -> None:
    few = [[200.0 + row, 190.0 - row] for row in range(5)]
    many = [[float(row % 10), float(row % 13)] for row in range(80)]
    rows = np.array(few + many)
    found = clusters(dealt({"x": rows[:, 0], "z": rows[:, 1]}, 3), of=("x", "z"), clusters=2)
    assert [one.size for one in found.clusters] == [80, 5]
    shown = found.disclosed(Rules())
    assert isinstance(shown, KMeansAnswer)
    assert shown.clusters[0] == found.clusters[0]
    assert {shown.clusters[1].size, shown.clusters[1].centre, shown.clusters[1].within} == {None}
    assert {shown.n, shown.inertia, shown.between} == {None}
    assert "counts from 1 to 9 are left out, and totals that hold them" in shown.notes
    assert shown.exhibit().facts[0] == ("Rows", "not shown")


def test_more_clusters_than_different_rows_leave_some_empty_and_it_is_said() -> None:
    found = clusters(dealt({"x": [0.0, 1.0] * 20}, 2), of=("x",), clusters=4)
    assert [one.size for one in found.clusters] == [20, 20, 0, 0]
    assert found.clusters[3].centre is None and found.inertia == pytest.approx(0.0, abs=1e-12)
    assert any("fewer clusters than were asked for" in note for note in found.notes)


def test_a_site_of_two_rows_and_one_that_misses_everything_take_part() -> None:
    two = numbers_table(height=[105.0, 180.0], age=[5.0, 44.0])
    none = numbers_table(height=[None, 1.0], age=[1.0, None])
    found = clusters({**EXAMPLE.tables, "two": two, "none": none}, of=("height", "age"), clusters=2)
    assert (found.n, found.dropped) == (14, 3)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "constant": ({"x": [3.0] * 9}, "column 'x' is constant over the complete rows"),
    "zeros": ({"x": [0.0] * 9}, "it is zero in every complete row"),
    "nothing": ({"x": [None] * 9}, "no rows are complete"),
    "two rows": ({"x": [1.0, 2.0]}, "fewer rows are complete than there are to be clusters"),
    "infinite": ({"x": [math.inf] * 9}, "infinite"),
}


@pytest.mark.parametrize(("columns", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_clusters_is_refused(columns: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused, match=due):
        clusters(dealt(columns, 2), of=("x",))


def test_text_and_a_column_named_twice_are_refused() -> None:
    with pytest.raises(Refused, match="holds text"):
        clusters({"a": mixed_table({"x": ("u",)}, x=["u"])}, of=("x",))
    with pytest.raises(Refused, match="named twice"):
        KMeans(of=("x", "x")).columns()


def test_made_up_centres_are_the_hubs_fault() -> None:
    job, table = KMeans(of=("height", "age"), clusters=2), next(iter(EXAMPLE.tables.values()))
    step, now = first_centres(job, dict(EXAMPLE.tables))
    for lie in (
        replace(now, centres=now.centres[:1]),
        replace(now, centres=(((math.nan, 0.0), (0.0, 0.0)),) * 8),
        replace(now, centres=(((9.0, 0.0), (0.0, 0.0)),) * 8),
        replace(now, weights=(1.0, -1.0)),
        replace(now, weights=(1e300, 1.0)),
        replace(now, turn=SCREENED),
    ):
        with pytest.raises(ProtocolViolation):
            job.encode(table, replace(step, state=base.encode_state(State(lie))))
