"""One battery for every kind: whatever the rows, the answer is that of the pooled rows, or a sentence says why not.

Each kind is asked over the tables of one made-up study, in states that real tables are found in. Nothing but `Refused`
may come out of it, at whichever step a site leaves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from hansa import jobs
from hansa.errors import Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Column, Job, Schema, Step, Table
from hansa.jobs.survival.cox_answer import CoxAnswer
from tests.real_rows import Chance, ask, ask_while_leaving, joined
from tests.test_kinds import same

NUMBERS, GROUPS = ("age", "dose", "ill", "code", "weeks"), ("drug", "placebo")
SCHEMA = Schema("study", (*(Column(name, "number") for name in NUMBERS), Column("arm", "text", categories=GROUPS)))
ASKED: dict[str, dict[str, Any]] = {
    "summary": {"columns": ["age", "dose"]},
    "quality": {"columns": ["age", "dose", "arm"]},
    "histogram": {"column": "age"},
    "quantiles": {"columns": ["age", "dose"], "by": "arm"},
    "table": {"rows": "arm", "columns": "ill"},
    "correlation": {"columns": ["age", "dose", "weeks"]},
    "t_test": {"column": "dose", "by": "arm"},
    "anova": {"column": "dose", "by": "code"},
    "glm": {"formula": "ill ~ age + dose + arm", "family": "binomial"},
    "assessment": {"formula": "ill ~ age", "coefficients": {"(Intercept)": -4.0, "age": 0.08}},
    "meta_analysis": {"formula": "dose ~ age", "family": "gaussian"},
    "kaplan_meier": {"time": "weeks", "event": "ill", "width": 1, "by": "arm"},
    "cox": {"time": "weeks", "event": "ill", "width": 1, "formula": "age + dose + arm"},
    "pca": {"columns": ["age", "dose", "weeks"]},
    "k_means": {"columns": ["age", "dose"], "clusters": 2},
    "gradient_boosting": {"outcome": "ill", "columns": ["age", "dose", "arm"], "trees": 3, "depth": 2},
}
OF_SITES = ("meta_analysis",)  # what stands in which table matters to these, and to a Cox regression by site
Tables = dict[str, Table]


def study(sites: int = 6) -> Tables:
    chance = np.random.default_rng(17)
    found = {}
    for place in range(sites):
        rows = 40 + 5 * place
        age, dose = chance.normal(55, 12, rows).round(1), chance.gamma(4, 5, rows).round(2)
        arm = chance.choice(GROUPS, rows).astype(object)
        ill = (chance.random(rows) < 1 / (1 + np.exp(4 - 0.06 * age - 0.3 * (arm == "drug")))) * 1.0
        columns = {"age": age, "dose": dose, "ill": ill, "code": chance.integers(1, 4, rows) * 1.0, "arm": arm}
        columns["weeks"] = np.ceil(chance.exponential(30, rows)).clip(1, 90)
        found[f"s{place}"] = Table(SCHEMA, rows, columns)
    return found


def changed(tables: Tables, **columns: Callable[[np.ndarray], Any]) -> Tables:
    return {
        site: msgspec.structs.replace(
            table, columns={**table.columns, **{name: new(table.columns[name]) for name, new in columns.items()}}
        )
        for site, table in tables.items()
    }


def kept(table: Table, rows: np.ndarray) -> Table:
    return Table(table.schema, int(rows.sum()), {name: values[rows] for name, values in table.columns.items()})


def every(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.full(values.shape, value, dtype=values.dtype)


STATES: dict[str, Callable[[Tables], Tables]] = {
    "as they are": lambda tables: tables,
    "a table without rows": lambda tables: {**tables, "s0": kept(tables["s0"], np.zeros(tables["s0"].rows, np.bool_))},
    "a table of two rows": lambda tables: {**tables, "s0": kept(tables["s0"], np.arange(tables["s0"].rows) < 2)},
    "a table with one group only": lambda tables: {
        **tables, "s1": kept(tables["s1"], tables["s1"].columns["arm"] == "drug")
    },
    "one group only": lambda tables: changed(tables, arm=every("drug")),
    "one class only": lambda tables: changed(tables, ill=every(0.0)),
    "only the other class": lambda tables: changed(tables, ill=every(1.0)),
    "a constant column": lambda tables: changed(tables, age=every(61.5)),
    "a column of zeros": lambda tables: changed(tables, dose=every(0.0)),
    "numbers beyond all others": lambda tables: changed(tables, age=lambda age: np.where(age > 70, 1e12, age)),
    "all missing": lambda tables: changed(tables, age=every(np.nan), dose=every(np.nan)),
    "much missing": lambda tables: changed(tables, dose=lambda dose: np.where(np.arange(dose.size) % 3, dose, np.nan)),
    "categories with blanks behind": lambda tables: changed(
        tables, arm=lambda arm: np.where(np.arange(arm.size) == 3, "drug ", arm)
    ),
    "infinite numbers": lambda tables: changed(tables, age=lambda age: np.where(age > 70, np.inf, age)),
}  # fmt: skip


def outcome(job: Job, tables: Tables, leaving: Mapping[int, str] | None = None) -> Answer | str:
    """The answer, or the sentence that says why there is none."""
    try:
        return ask_while_leaving(job, tables, leaving) if leaving else ask(job, tables)
    except Refused as refusal:
        sentence = str(refusal)
        assert 20 < len(sentence) < 400 and "Traceback" not in sentence and "nan" not in sentence.split()
        return sentence


def alike(one: Answer | str, two: Answer | str, tolerance: float = 1e-6) -> bool:
    if isinstance(one, str) or isinstance(two, str):
        return isinstance(one, str) and isinstance(two, str)
    return same(one, two, tolerance)


def steps_of(job: Job, tables: Tables) -> int:
    """How many there are."""
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    number = 0
    while isinstance(step, Step):
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
        number += 1
    return number


def question(kind: str) -> Job:
    return jobs.parse(kind, ASKED[kind])


def test_the_battery_asks_every_kind() -> None:
    assert set(ASKED) == set(jobs.KINDS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", ASKED)
def test_in_whatever_state_the_tables_are_the_answer_is_that_of_all_rows_or_a_sentence(kind: str, state: str) -> None:
    tables, job = STATES[state](study()), question(kind)
    found = outcome(job, tables)
    if state == "as they are":
        assert not isinstance(found, str), found
    if kind in OF_SITES:
        return
    if kind == "cox":
        job = jobs.parse(kind, {**ASKED[kind], "baseline": "common"})
        found = outcome(job, tables)
    coarse = state == "numbers beyond all others"  # fixed point is as fine as the largest number allows
    assert alike(found, outcome(job, {"all": joined(tables)}), 1e-4 if coarse else 1e-6), found


@pytest.mark.parametrize("kind", ASKED)
def test_columns_that_depend_on_each_other_are_named_or_do_no_harm(kind: str) -> None:
    tables = {
        site: msgspec.structs.replace(table, columns={**table.columns, "dose": 2 * table.columns["age"] + 1})
        for site, table in study().items()
    }
    found = outcome(question(kind), tables)
    if kind in ("glm", "cox"):
        assert isinstance(found, str) and "'dose'" in found


@pytest.mark.parametrize("kind", ["glm", "cox", "gradient_boosting", "assessment"])
def test_a_column_that_separates_the_classes_is_named_or_does_no_harm(kind: str) -> None:
    tables = {
        site: msgspec.structs.replace(table, columns={**table.columns, "age": 40 + 30 * table.columns["ill"]})
        for site, table in study().items()
    }
    found = outcome(question(kind), tables)
    if kind == "glm":
        assert isinstance(found, str) and "'age'" in found


@pytest.mark.parametrize("kind", ASKED)
def test_whoever_leaves_at_whichever_step_the_rest_have_their_answer_or_a_sentence(kind: str) -> None:
    tables, job = study(), question(kind)
    rest = {site: table for site, table in tables.items() if site != "s2"}
    due = outcome(job, rest)
    for step in range(1, min(steps_of(job, tables), 6)):
        found = outcome(job, tables, {step: "s2"})
        if kind in ("histogram", "quantiles", "summary", "quality", "k_means", "gradient_boosting", "meta_analysis"):
            assert type(found) is type(due)  # brackets, bins and starts are found with those who were there
        else:
            assert alike(path_free(found), path_free(due)), (step, found)


def path_free(found: Answer | str) -> Answer | str:
    """Without what tells of the way to the fit: a score test is of the first iteration, over all who were there."""
    return msgspec.structs.replace(found, score_test=None, iterations=0) if isinstance(found, CoxAnswer) else found
