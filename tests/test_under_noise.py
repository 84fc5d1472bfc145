"""Kinds under noise: what a row or a person changes at most, what a lying hub gains, and error bars that cover."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa import jobs
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import verification
from hansa.jobs.base import Answer, Column, Flags, Job, Reals, Schema, Step, Table, Total, from_ring, size
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.glm import Glm
from hansa.jobs.histogram import Histogram, HistogramAnswer
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.jobs.summary import Summary, SummaryAnswer
from hansa.jobs.table import Crosstab, TableAnswer
from hansa.jobs.under_noise import noisy, regression
from hansa.jobs.under_noise.logistic import NoisyLogistic
from hansa.jobs.under_noise.noisy import Noisy, from_noisy_ring, to_noisy_ring
from hansa.privacy.accounting import MICRO
from hansa.privacy.noise import Noise
from hansa.simulator import simulate
from tests.real_rows import Chance, ask, dealt, hospitals

ROW = Noise(MICRO, 10**6)
LOUD, QUIET = Noise(MICRO // 10, 10**6), Noise(100 * MICRO, 10**6)
PERSON = Noise(MICRO, 10**6, "person", "who", 2)
MEMBER = Noise(MICRO, 10**6, "member", "", 3)
RANGES = {"x": (-1.0, 3.0), "y": (-50.0, 10.0), "z": (0.5, 9.0)}

JOBS: dict[str, Job] = {
    "histogram": Histogram(column="x", bins=5, low=-1, high=3),
    "one column": Crosstab(rows="k", levels={"k": ("0", "1", "2")}),
    "table": Crosstab(rows="k", across="c", levels={"k": ("0", "1", "2")}),
    "summary": Summary(of=("x", "y"), ranges={"x": (-1, 3), "y": (-50, 10)}),
    "linear": Glm(formula="y ~ x * c + log(z)", family="gaussian", ranges=RANGES),
    "through the origin": Glm(
        formula="y ~ 0 + x:z + factor(k)", family="gaussian", ranges=RANGES, levels={"k": ("0", "2")}
    ),
    "logistic": Glm(formula="b ~ x * c + sqrt(z)", family="binomial", ranges={"x": (-1, 3), "z": (0.5, 9)}),
    "without a constant": Glm(formula="b ~ 0 + x + z", family="binomial", ranges={"x": (-1, 3), "z": (0.5, 9)}),
}  # fmt: skip
every_job = pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))

SCHEMA = Schema(
    "rows",
    (
        *(Column(name, "number") for name in ("x", "y", "z", "b", "k")),
        Column("c", "text", categories=("u", "v", "w")),
        Column("who", "text"),
    ),
)


def table_of(rows: list[dict[str, Any]]) -> Table:
    columns = {
        column.name: np.array(
            [row[column.name] for row in rows], dtype=np.float64 if column.type == "number" else object
        )
        for column in SCHEMA.columns
    }
    return Table(SCHEMA, len(rows), columns)


odd = st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0])
number = st.one_of(st.floats(-60, 20), odd)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "x": number,
            "y": number,
            "z": number,
            "b": st.one_of(st.sampled_from([0.0, 1.0]), odd),
            "k": st.one_of(st.sampled_from([0.0, 1.0, 2.0, 7.5]), odd),
            "c": st.sampled_from(["u", "v", "w", "nobody declared it", None]),
            "who": st.sampled_from(["ann", "bob", "cleo", None]),
        }
    ),
    min_size=1,
    max_size=12,
)


def asked(job: Noisy, slopes: list[float]) -> Step:
    """The first step, or a later one at coefficients of the hub's own choosing."""
    step = job.begin([SCHEMA] * 3, 3)
    if not isinstance(job, NoisyLogistic):
        return step
    state = msgspec.msgpack.decode(step.state, type=regression.State)
    trial = tuple(slopes[place % len(slopes)] for place in range(len(state.trial)))
    turn = regression.STEPS - 1 if len(slopes) == 2 else 0
    return job._ask(msgspec.structs.replace(state, trial=trial, turn=turn), 3)


def check_change(job: Noisy, step: Step, one: Table, other: Table, times: int) -> None:
    first, second = job.encode(one, step), job.encode(other, step)
    bounds = job.sensitivity(step)
    assert set(bounds) == set(first) == {block.name for block in step.blocks}
    for name, bound in bounds.items():
        ours, theirs = np.asarray(first[name]).reshape(-1), np.asarray(second[name]).reshape(-1)
        rounding = 2.0**-50 * (np.abs(ours).sum() + np.abs(theirs).sum())
        assert math.dist(ours, theirs) <= times * bound * (1 + 1e-12) + rounding
        if name in job.whole:
            assert np.array_equal(ours, np.rint(ours))


slopes = st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=3)


@every_job
@settings(max_examples=40)
@given(rows=rows, without=st.integers(0, 11), slopes=slopes)
def test_one_row_changes_no_block_by_more_than_its_sensitivity(
    job: Job, rows: list[dict[str, Any]], without: int, slopes: list[float]
) -> None:
    under = job.under_noise(ROW)
    rest = [row for place, row in enumerate(rows) if place != without % len(rows)]
    check_change(under, asked(under, slopes), table_of(rows), table_of(rest), 1)


@every_job
@settings(max_examples=20)
@given(rows=rows, person=st.sampled_from(["ann", "bob", "cleo"]), slopes=slopes)
def test_one_person_changes_no_block_by_more_than_their_rows_may(
    job: Job, rows: list[dict[str, Any]], person: str, slopes: list[float]
) -> None:
    under = job.under_noise(PERSON)
    rest = [row for row in rows if row["who"] != person]
    check_change(under, asked(under, slopes), table_of(rows), table_of(rest), PERSON.rows_per_person)


@every_job
@settings(max_examples=20)
@given(rows=rows, slopes=slopes)
def test_all_rows_of_a_member_change_a_block_by_no_more_than_as_many_as_count(
    job: Job, rows: list[dict[str, Any]], slopes: list[float]
) -> None:
    under = job.under_noise(MEMBER)
    check_change(under, asked(under, slopes), table_of(rows), table_of([]), MEMBER.rows_per_person)
    assert noisy.kept(table_of(rows), MEMBER).rows == min(len(rows), 3)


@every_job
def test_the_bound_is_nearly_reached_so_no_more_noise_is_made_than_needed(job: Job) -> None:
    under = job.under_noise(ROW)
    extreme: dict[str, Any] = {"x": 1e9, "y": 1e9, "z": 1e9, "b": 1.0, "k": 2.0, "c": "w", "who": None}
    reached = 0.0
    for row in (extreme, {**extreme, "c": "u", "x": -1e9}):
        step = asked(under, [0.0])
        share, nothing = under.encode(table_of([row]), step), under.encode(table_of([]), step)
        for name, bound in under.sensitivity(step).items():
            change = np.asarray(share[name]).reshape(-1) - np.asarray(nothing[name]).reshape(-1)
            reached = max(reached, float(np.linalg.norm(change)) / bound)
    assert 0.6 < reached <= 1


def test_of_each_person_the_first_rows_are_kept_and_rows_without_an_id_are_left_out() -> None:
    people = ["ann", "bob", "ann", None, "ann", "cleo", "bob"]
    by_name = mixed_table({"who": ()}, x=[float(place) for place in range(7)], who=people)
    assert noisy.kept(by_name, PERSON).numbers("x").tolist() == [0.0, 1.0, 2.0, 5.0, 6.0]
    assert noisy.kept(by_name, ROW) is by_name
    by_number = numbers_table(x=[float(place) for place in range(6)], who=[3.0, 0.0, -0.0, None, 0.0, 3.0])
    once = msgspec.structs.replace(PERSON, rows_per_person=1)
    assert noisy.kept(by_number, once).numbers("x").tolist() == [0.0, 1.0]
    assert noisy.kept(noisy.kept(by_name, PERSON), PERSON).rows == 5
    assert noisy.kept(table_of([]), PERSON).rows == 0


# ---- runs ----


def noisy_run(job: Noisy, tables: Mapping[str, Table], seed: str, honest: int) -> Answer:
    """The sites' shares added up without a protocol."""
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    number = 0
    while isinstance(step, Step):
        step = job.advance(step, noisy_total(job, number, step, tables, seed, honest))
        number += 1
    return step


def noisy_total(job: Noisy, number: int, step: Step, tables: Mapping[str, Table], seed: str, honest: int) -> Total:
    def vector(site: str) -> np.ndarray:
        chance = Chance(f"{seed} {site} {number}")
        return to_noisy_ring(job, number, step, job.encode(tables[site], step), chance, honest, len(tables))

    vectors = [vector(site) for site in tables]
    return from_noisy_ring(job, number, step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors), honest)


def test_a_site_can_check_that_a_noisy_step_follows_from_the_total_before() -> None:
    tables = dealt(some_rows(), 3)
    job = Glm(formula="k ~ x", family="binomial", ranges={"x": (20, 80)}).under_noise(QUIET)
    before = job.begin([table.schema for table in tables.values()], 3)
    total = noisy_total(job, 0, before, tables, "follows", 2)
    after = job.advance(before, total)
    assert isinstance(after, Step)
    verification.check_follows(job, before, total, after)
    with pytest.raises(ProtocolViolation):
        verification.check_follows(job, before, total, before)


RUNS = 200
FEWEST = 178  # of 200 that a 95 % interval covers, but for one set of runs in 10^4


def covered(found: float, true: float, error: Any) -> bool:
    return bool(abs(found - true) <= 1.96 * error)


def some_rows(seed: int = 1, size: int = 600) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = chance.normal(50, 9, size)
    return {"x": x, "y": 3 + 0.5 * x + chance.normal(0, 12, size), "k": chance.integers(0, 3, size) * 1.0}


def test_an_answer_for_persons_says_whom_it_does_not_cover() -> None:
    chance = np.random.default_rng(3)
    rows = [
        {"x": chance.normal(1, 1), "y": -9.0, "z": 1.0, "b": 0.0, "k": 0.0, "c": "u", "who": f"p{place // 3}"}
        for place in range(900)
    ]
    tables = {f"s{site}": table_of(rows[site * 300 : site * 300 + 300]) for site in range(3)}
    for name in ("histogram", "one column", "summary"):
        answer = noisy_run(JOBS[name].under_noise(PERSON), tables, name, 2)
        assert any("the first 2 rows" in note for note in answer.notes)
        assert any("several sites" in note for note in answer.notes)
        exact = dict(numbers_of(answer)).get("n", 600)
        assert abs(exact - 600) < 300  # two of each person's three rows


def test_error_bars_of_counts_cover() -> None:
    tables = dealt(some_rows(), 4)
    exact = ask(Histogram(column="x", bins=4, low=30, high=70), tables)
    assert isinstance(exact, HistogramAnswer)
    under, counts, totals = Histogram(column="x", bins=4, low=30, high=70).under_noise(ROW), 0, 0
    for seed in range(RUNS):
        found = noisy_run(under, tables, f"counts {seed}", 2)
        assert isinstance(found, HistogramAnswer)
        counts += covered(found.counts[2], exact.counts[2], found.std_error)
        totals += covered(found.n, exact.n, found.n_std_error)
    assert FEWEST <= counts <= RUNS - 1 and FEWEST <= totals <= RUNS - 1


def test_error_bars_of_a_summary_cover_and_brackets_hold_their_quantiles() -> None:
    tables = dealt(some_rows(), 3)
    values = np.sort(some_rows()["x"])
    job = Summary(of=("x",), ranges={"x": (10.0, 90.0)}).under_noise(ROW)
    hits, brackets = np.zeros(3), 0
    for seed in range(RUNS):
        answer = noisy_run(job, tables, f"summary {seed}", 2)
        assert isinstance(answer, SummaryAnswer)
        found = answer.columns["x"]
        hits += [
            covered(found.count, values.size, found.count_error),
            covered(found.mean, values.mean(), found.mean_error),
            covered(found.variance, values.var(ddof=1), found.variance_error),
        ]
        for percent in (5, 25, 50, 75, 95):
            bracket = found.quantiles[f"{percent}%"]
            brackets += bracket.low <= values[math.ceil(percent / 100 * values.size) - 1] < bracket.high
    assert hits.min() >= FEWEST and hits.max() <= RUNS - 1
    assert brackets >= 0.99 * 5 * RUNS


def test_standard_errors_of_a_linear_regression_cover_the_truth() -> None:
    job = Glm(formula="y ~ x", family="gaussian", ranges={"x": (10, 90), "y": (-40, 100)}).under_noise(ROW)
    hits, wider = np.zeros(2), 0
    for seed in range(RUNS):
        rows = some_rows(seed + 10, 5000)
        answer = noisy_run(job, dealt(rows, 3), f"linear {seed}", 2)
        assert isinstance(answer, GlmAnswer)
        slope, start = answer.coefficients["x"], answer.coefficients["(Intercept)"]
        hits += [covered(slope.estimate, 0.5, slope.std_error), covered(start.estimate, 3.0, start.std_error)]
        wider += slope.std_error > 12 / math.sqrt(5000 * 81)
    assert hits.min() >= FEWEST and hits.max() <= RUNS - 1 and wider == RUNS


def test_standard_errors_of_a_logistic_regression_cover_the_truth() -> None:
    job = Glm(formula="b ~ x", family="binomial", ranges={"x": (-2, 2)}).under_noise(Noise(2 * MICRO, 10**6))
    hits, runs = np.zeros(2), 60
    for seed in range(runs):
        chance = np.random.default_rng(seed)
        x = chance.uniform(-2, 2, 4000)
        rows = {"x": x, "b": (chance.uniform(size=4000) < 1 / (1 + np.exp(0.5 - x))) * 1.0}
        answer = noisy_run(job, dealt(rows, 3), f"logistic {seed}", 2)
        assert isinstance(answer, GlmAnswer)
        slope, start = answer.coefficients["x"], answer.coefficients["(Intercept)"]
        hits += [covered(slope.estimate, 1.0, slope.std_error), covered(start.estimate, -0.5, start.std_error)]
    assert hits.min() >= 50 and hits.max() <= runs


def numbers_of(answer: Any) -> Iterator[tuple[str, float]]:
    """What an exact answer and a noisy one both hold."""
    if isinstance(answer, GlmAnswer):
        for name, coefficient in answer.coefficients.items():
            yield name, coefficient.estimate
        yield from (("n", answer.n), ("deviance", answer.deviance), ("null", answer.null_deviance), ("aic", answer.aic))
    elif isinstance(answer, SummaryAnswer):
        for name, found in answer.columns.items():
            yield from ((name, found.mean), (name + " variance", found.variance), (name + " count", found.count))
    elif isinstance(answer, HistogramAnswer):
        yield from (("middle", answer.counts[2]), ("n", answer.n), ("above", answer.above))
    elif isinstance(answer, TableAnswer):
        yield from (("corner", answer.counts[0][0]), ("n", answer.n))


@pytest.mark.parametrize(
    "job",
    [
        Histogram(column="age", bins=6, low=20, high=80),
        Crosstab(rows="hospital", across="sex", levels={"sex": ("0", "1")}),
        Summary(of=("age", "chol"), ranges={"age": (20, 90), "chol": (0, 700)}),
        Glm(formula="chol ~ age + sex", family="gaussian", ranges={"age": (20, 90), "chol": (0, 700), "sex": (0, 1)}),
        Glm(formula="y ~ age + sex", family="binomial", ranges={"age": (20, 90), "sex": (0, 1)}),
    ],
    ids=lambda job: f"{type(job).__name__} {getattr(job, 'family', '')}",
)
def test_with_a_huge_epsilon_and_many_rows_the_answer_is_the_exact_one(job: Job) -> None:
    tables = {
        site: Table(table.schema, 50 * table.rows, {name: np.tile(v, 50) for name, v in table.columns.items()})
        for site, table in hospitals().items()
    }
    exact = dict(numbers_of(ask(job, tables)))
    found = dict(numbers_of(noisy_run(job.under_noise(QUIET), tables, "huge", 2)))
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        assert found[name] == pytest.approx(value, rel=2e-2, abs=1.0 if isinstance(value, int) else 1e-3)


@every_job
def test_noise_goes_through_the_real_protocols_with_a_site_that_leaves(job: Job) -> None:
    chance = np.random.default_rng(5)
    rows = [
        {
            "x": chance.normal(1, 1),
            "y": chance.normal(-20, 9),
            "z": chance.uniform(1, 8),
            "b": float(chance.integers(2)),
            "k": float(place % 3),
            "c": "uvw"[place % 3],
            "who": f"p{place}",
        }
        for place in range(5000)
    ]
    tables = {f"s{site}": table_of(rows[site::5]) for site in range(5)}
    noise = Noise(50 * MICRO, 10**6)

    def silent(turn: int, site: str) -> bool:
        return site == "s4" and turn > 6

    given = simulate(job, tables, Chance("protocol"), silent, noise=noise)
    added = given.answer.noise
    assert not isinstance(added, msgspec.UnsetType)
    assert (added.epsilon, added.delta, added.unit) == (50.0, 1e-6, "row") and all(added.deviations.values())
    assert jobs.decode_answer(jobs.encode_answer(given.answer)) == given.answer


# ---- a hub that lies ----


def deviation_of(job: Noisy, step: Step, sites: int = 3) -> dict[str, float]:
    total = from_noisy_ring(
        job, 0, step, np.zeros(sum(size(b) for b in step.blocks), dtype=np.uint64), sites, sites - 1
    )
    return dict(total.noise)


@every_job
@pytest.mark.parametrize(("bound", "step"), [(1e-3, 2.0**-40), (4.0, 2.0), (2.0**70, 2.0**20), (2.0**40, 2.0**-19)])
def test_another_bound_or_precision_never_makes_less_noise(job: Job, bound: float, step: float) -> None:
    under = job.under_noise(ROW)
    honest = asked(under, [0.1])
    lied = msgspec.structs.replace(
        honest, blocks=tuple(msgspec.structs.replace(block, bound=bound, step=step) for block in honest.blocks)
    )
    table = table_of([{"x": 1.0, "y": 2.0, "z": 3.0, "b": 1.0, "k": 1.0, "c": "u", "who": "ann"}] * 9)
    for block, due in under.sensitivity(honest).items():
        rho = ROW.nano_rho // under.totals // len(honest.blocks) / 1e9
        assert deviation_of(under, lied)[block] >= due / math.sqrt(2 * rho) * math.sqrt(3 / 2)
    try:
        vector = to_noisy_ring(under, 0, lied, under.encode(table, lied), Chance(), 2, 3)
    except Refused as refusal:
        assert "half the ring" in str(refusal)
        return
    for block in lied.blocks:
        assert isinstance(block, Reals)
    assert vector.size == sum(size(block) for block in lied.blocks)


@every_job
@settings(max_examples=25)
@given(
    rows=rows,
    without=st.integers(0, 11),
    slopes=slopes,
    block=st.sampled_from(
        [(2.0**40, 2.0**-19), (2.5, 0.5), (1e-3, 2.0**-40), (2.0**50, 2.0**10), (3.0, 4.0), (9.1, 1.0)]
    ),
)
def test_what_one_row_changes_on_the_lattice_is_paid_for_whatever_the_hub_asks(
    job: Job, rows: list[dict[str, Any]], without: int, slopes: list[float], block: tuple[float, float]
) -> None:
    """‖change‖² ≤ 2 ρ m s² in lattice units: all of the accounting at once, bounds and precisions made up."""
    under, (bound, precision), honest = job.under_noise(QUIET), block, 2
    step = asked(under, slopes)
    made_up = tuple(msgspec.structs.replace(one, bound=bound, step=precision) for one in step.blocks)
    step = msgspec.structs.replace(step, blocks=made_up)
    rest = [row for place, row in enumerate(rows) if place != without % len(rows)]
    first, second = under.encode(table_of(rows), step), under.encode(table_of(rest), step)
    rho = under.noise.nano_rho / 1e9 / under.totals / len(step.blocks)
    for name, share in noisy.shares(under, 0, step, honest).items():
        one = next(one for one in step.blocks if one.name == name)
        assert isinstance(one, Reals)
        ours, theirs = (
            noisy.on_lattice(np.asarray(side[name], dtype=np.float64).reshape(-1), one, share) // share.lattice
            for side in (first, second)
        )
        assert float(((ours - theirs).astype(np.float64) ** 2).sum()) <= 2 * rho * honest * share.variance


def test_numbers_beyond_the_bound_count_as_the_bound_and_are_not_refused() -> None:
    job = JOBS["histogram"].under_noise(QUIET)
    step = msgspec.structs.replace(job.begin([SCHEMA], 3), blocks=(Reals("cells", (8,), 10.0, 2.0**-30),))
    rows = [{"x": 1.0, "y": 0.0, "z": 1.0, "b": 0.0, "k": 0.0, "c": "u", "who": None}] * 50
    vector = to_noisy_ring(job, 0, step, job.encode(table_of(rows), step), Chance(), 2, 3)
    assert from_ring(step, vector, 1).real("cells").max() < 11


def test_another_total_than_was_agreed_is_not_given() -> None:
    for name, totals in (("histogram", 1), ("linear", 1), ("logistic", regression.STEPS)):
        under = JOBS[name].under_noise(ROW)
        step = under.begin([SCHEMA] * 3, 3)
        assert under.totals == totals
        with pytest.raises(ProtocolViolation, match="more totals are asked"):
            to_noisy_ring(under, totals, step, under.encode(table_of([]), step), Chance(), 2, 3)


@every_job
def test_flags_other_blocks_and_other_states_are_not_given(job: Job) -> None:
    under, table = job.under_noise(ROW), table_of([])
    step = under.begin([SCHEMA] * 3, 3)
    share = under.encode(table, step)
    for blocks in (
        (*step.blocks, Reals("more", (1,), 1.0, 1.0)),
        (Flags(step.blocks[0].name, step.blocks[0].shape), *step.blocks[1:]),
        step.blocks[:-1] or (Reals("other", (1,), 1.0, 1.0),),
    ):
        lied = msgspec.structs.replace(step, blocks=blocks)
        with pytest.raises(ProtocolViolation):
            under.encode(table, lied)
        with pytest.raises(ProtocolViolation):
            to_noisy_ring(under, 0, lied, share, Chance(), 2, 3)
    for state in (b"\xc0", b"\xff" * 30, step.state + b"\x00", step.state[:-1] or b"\x01"):
        lied = msgspec.structs.replace(step, state=state)
        try:
            assert step.state == b"" and under.encode(table, lied).keys() == share.keys()
        except (ProtocolViolation, AssertionError):
            continue


def test_a_state_at_coefficients_out_of_range_is_not_answered() -> None:
    under = JOBS["logistic"].under_noise(ROW)
    for wild in (1e7, -1e7, math.inf, math.nan):
        step = asked(under, [wild])
        with pytest.raises(ProtocolViolation, match="out of range"):
            under.encode(table_of([]), step)


def test_noise_that_has_no_room_in_the_ring_is_refused() -> None:
    under = JOBS["histogram"].under_noise(LOUD)
    step = Step("bins", (Reals("cells", (8,), 1.0, 2.0**-60),))
    with pytest.raises(Refused, match="half the ring"):
        to_noisy_ring(under, 0, step, under.encode(table_of([]), step), Chance(), 2, 3)
    finer = Step("bins", (Reals("cells", (8,), 2.0**-40, 2.0**-100),))
    with pytest.raises(Refused, match="so fine that noise has no room"):
        to_noisy_ring(under, 0, finer, under.encode(table_of([]), finer), Chance(), 2, 3)


def test_each_site_draws_its_own_noise_from_its_chance_alone() -> None:
    under = JOBS["summary"].under_noise(ROW)
    step = under.begin([SCHEMA] * 3, 3)
    share = under.encode(table_of([]), step)
    one, again, other = (to_noisy_ring(under, 0, step, share, Chance(seed), 2, 3) for seed in ("a", "a", "b"))
    assert one.tobytes() == again.tobytes() and (one != other).mean() > 0.99


# ---- what can't be asked ----

REFUSED: dict[str, tuple[Job, str]] = {
    "a histogram without a range": (Histogram(column="x"), "under noise a histogram needs its range"),
    "a summary without ranges": (Summary(of=("x",)), "column 'x' needs a range"),
    "a summary with one range too few": (Summary(of=("x", "y"), ranges={"x": (0, 1)}), "column 'y' needs a range"),
    "a table without categories": (Crosstab(rows="k"), "column 'k' needs its categories"),
    "poisson": (Glm(formula="k ~ x", family="poisson", ranges={"x": (0, 1), "k": (0, 9)}), "no Poisson regression"),
    "a regression without ranges": (Glm(formula="y ~ x", family="gaussian"), "column 'x' needs a range"),
    "an outcome without a range": (Glm(formula="y ~ x", family="gaussian", ranges={"x": (0, 1)}), "column 'y' needs"),
    "categories to be found": (
        Glm(formula="y ~ C(k)", family="gaussian", ranges={"y": (0, 1)}), r"'C\(k\)' needs its categories",
    ),
    "a logarithm of zero": (
        Glm(formula="y ~ log(x)", family="gaussian", ranges={"x": (0, 1), "y": (0, 1)}), "no finite value at an end",
    ),
    "a number that is a category": (
        Glm(formula="y ~ k + C(k)", family="gaussian", ranges={"k": (0, 2), "y": (0, 1)}, levels={"k": ("0", "1")}),
        "both a number and a category",
    ),
    "a range of a stranger": (Summary(of=("x",), ranges={"q": (0, 1)}), "a range is given for column 'q'"),
    "a range backwards": (Summary(of=("x",), ranges={"x": (1, 0)}), "does not end above its start"),
    "a range of no width": (Summary(of=("x",), ranges={"x": (1e15, 1e15 + 1)}), "too narrow"),
    "a product without bound": (
        Glm(formula="y ~ x:z:k:b:x:y2", family="gaussian",
            ranges=dict.fromkeys(("x", "z", "k", "b", "y", "y2"), (0, 1e38))),
        "without bound",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("job", "due"), REFUSED.values(), ids=list(REFUSED))
def test_what_noise_can_not_hide_is_refused_in_one_sentence(job: Job, due: str) -> None:
    schema = Schema("rows", (*SCHEMA.columns, Column("y2", "number")))
    with pytest.raises(Refused, match=due) as refusal:
        job.under_noise(ROW).begin([schema] * 3, 3)
    sentence = str(refusal.value)
    assert "\n" not in sentence and ". " not in sentence and not sentence.endswith(".")


def test_a_kind_that_says_nothing_of_noise_is_refused_under_it() -> None:
    class Plain(Histogram, frozen=True, tag="plain", kw_only=True):
        under_noise = Job.under_noise

    with pytest.raises(Refused, match="nothing says how much one row changes"):
        Plain(column="x").under_noise(ROW)


def test_persons_need_a_column_of_ids_that_the_table_has() -> None:
    job = JOBS["histogram"].under_noise(msgspec.structs.replace(PERSON, id_column="nobody"))
    with pytest.raises(Refused, match="no column 'nobody'"):
        job.check(SCHEMA)
    assert job.columns() == ("x", "nobody")


@pytest.mark.parametrize(
    "job",
    [
        Summary(of=("x",), ranges={"x": (0, 100)}),
        Glm(formula="y ~ x", family="gaussian", ranges={"x": (0, 100), "y": (0, 100)}),
        Glm(formula="k ~ x", family="binomial", ranges={"x": (0, 100)}),
    ],
)
def test_where_the_noise_is_louder_than_the_rows_the_answer_says_so(job: Job) -> None:
    with pytest.raises(Refused, match="the noise is louder"):
        noisy_run(job.under_noise(LOUD), dealt(some_rows(1, 12), 3), "few", 2)


# ---- what stays as it was ----


def test_a_plan_or_an_answer_without_noise_has_no_byte_of_it() -> None:
    for kind, example in jobs.EXAMPLES.items():
        assert "ranges" not in msgspec.to_builtins(example.job) or kind == "quality"  # where they are what is asked
        plain = msgspec.json.decode(jobs.encode_answer(example.answer))
        assert not {"noise", "std_error", "n_std_error"} & set(plain)
        for figure in (b"count", b"mean", b"variance"):
            assert figure + b'_error":' not in jobs.encode_answer(example.answer)


def test_ranges_are_a_parameter_that_is_ignored_without_noise() -> None:
    job = jobs.parse("summary", {"columns": ["x"], "ranges": {"x": [40, 60]}})
    assert job == Summary(of=("x",), ranges={"x": (40.0, 60.0)})
    tables = dealt(some_rows(), 2)
    assert ask(job, tables) == ask(Summary(of=("x",)), tables)
    assert {field.type for field in jobs.form("glm") if field.name == "ranges"} == {"ranges"}
    for wrong in ({"x": [1]}, {"x": "0..1"}, ["x"], {"x": [0, math.inf]}):
        with pytest.raises(Refused, match="'ranges'"):
            jobs.parse("summary", {"columns": ["x"], "ranges": wrong})
