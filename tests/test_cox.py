"""Cox regression over sites equals R's on the pooled rows, and says in a sentence when there is none."""

from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Step, Table, encode_state
from hansa.jobs.cox import Cox, State
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.exhibit import Intervals
from hansa.jobs.survival.cox_answer import CoxAnswer
from hansa.privacy.disclosure import Rules
from hansa.simulator import simulate
from tests.real_rows import Chance, ask, ask_while_leaving, dealt, read, read_json, split

Ties = Literal["efron", "breslow"]
REFERENCE = read_json("reference_survival.json")["rossi"]
RIGHT = "fin + age + race + wexp + mar + paro + prio"
both = pytest.mark.parametrize("ties", ["efron", "breslow"])
TEN = Rules()


def rossi() -> dict[str, Table]:
    return dealt(read("rossi.csv"), 4)


def recidivism(**parameters: Any) -> Cox:
    parameters = {"formula": RIGHT, "width": 1.0, "baseline": "common", **parameters}
    return Cox(time="week", event="arrest", **parameters)


def regress(job: Cox, tables: dict[str, Table]) -> CoxAnswer:
    answer = ask(job, tables)
    assert isinstance(answer, CoxAnswer)
    return answer


class Pooled:
    """Newton on all rows, one event time after another, each with its whole risk set: a second way to the same."""

    def __init__(
        self,
        x: np.ndarray,
        time: np.ndarray,
        died: np.ndarray,
        strata: Any = 0,
        start: Any = -1.0,
        ties: Ties = "efron",
    ) -> None:
        self.x, self.time, self.died, self.ties = x - x.mean(axis=0), time, died == 1, ties
        self.strata, self.start = np.broadcast_to(strata, time.shape), np.broadcast_to(start, time.shape)
        beta = np.zeros(x.shape[1])
        for _ in range(9):
            self.loglik, score, information = self.at(beta)
            beta = beta + np.linalg.solve(information, score)
        self.beta, self.errors = beta, np.sqrt(np.diag(np.linalg.inv(information)))
        self.null = self.at(np.zeros_like(beta))[0]

    def at(self, beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        eta, loglik = self.x @ beta, 0.0
        score, information = np.zeros_like(beta), np.zeros((beta.size, beta.size))
        for stratum in np.unique(self.strata):
            for moment in np.unique(self.time[self.died & (self.strata == stratum)]):
                risk = (self.strata == stratum) & (self.start < moment) & (moment <= self.time)
                dead = np.flatnonzero(risk & self.died & (self.time == moment))
                loglik, score = loglik + eta[dead].sum(), score + self.x[dead].sum(axis=0)
                for number in range(dead.size):
                    weight = np.exp(eta) * risk
                    weight[dead] *= 1 - number / dead.size if self.ties == "efron" else 1
                    mean = weight @ self.x / weight.sum()
                    away = self.x - mean
                    loglik, score = loglik - np.log(weight.sum()), score - mean
                    information += (away.T * weight) @ away / weight.sum()
        return float(loglik), score, information


def agree(found: CoxAnswer, expected: Pooled, rel: float = 1e-8) -> None:
    estimates = [one.estimate for one in found.coefficients.values()]
    assert estimates == pytest.approx(expected.beta.tolist(), rel=rel)
    assert [one.std_error for one in found.coefficients.values()] == pytest.approx(expected.errors.tolist(), rel=rel)
    assert (found.loglik_null, found.loglik) == pytest.approx((expected.null, expected.loglik), rel=1e-10)


@both
def test_sites_together_get_what_r_gets_on_the_pooled_rows(ties: Ties) -> None:
    expected = REFERENCE[ties]
    found = regress(recidivism(ties=ties), rossi())
    assert list(found.coefficients) == list(expected["coef"])
    for label, coefficient in found.coefficients.items():
        assert coefficient.estimate == pytest.approx(expected["coef"][label], rel=1e-10)
        assert coefficient.std_error == pytest.approx(expected["se"][label], rel=1e-10)
    assert [found.loglik_null, found.loglik] == pytest.approx(expected["loglik"], rel=1e-12)
    assert found.score_test is not None and found.score_test.chi_squared == pytest.approx(expected["score"], rel=1e-10)
    assert found.wald.chi_squared == pytest.approx(expected["wald"], rel=1e-10)
    assert (found.n, found.events, found.dropped) == (expected["n"], expected["nevent"], 0)
    for test, (statistic, df, p) in zip(found.proportional.values(), expected["zph"], strict=True):
        assert (test.chi_squared, test.df, test.p) == pytest.approx((statistic, df, p), rel=1e-8)
    assert found.precision < 1e-8


def design(rows: dict[str, np.ndarray]) -> np.ndarray:
    return np.column_stack([rows[name] for name in RIGHT.split(" + ")])


@both
def test_a_baseline_for_each_site_is_the_fit_stratified_by_site(ties: Ties) -> None:
    rows = read("rossi.csv")
    expected = Pooled(design(rows), rows["week"], rows["arrest"], strata=np.arange(432) % 4, ties=ties)
    found = regress(recidivism(baseline="site", ties=ties), rossi())
    agree(found, expected)
    assert found.proportional == {} and found.baseline == ()
    assert "baseline hazard of its own" in " ".join(found.notes)


@pytest.mark.parametrize("baseline", ["common", "site"])
def test_strata_of_text_have_baselines_of_their_own(baseline: str) -> None:
    rows = read("rossi.csv")
    words = np.array(["white", "black"], dtype=object)[rows["race"].astype(int)]
    site = np.arange(432) % 3
    tables = split({**rows, "colour": words}, site, {"colour": ("white", "black", "neither")})
    found = regress(recidivism(formula="fin + age", strata="colour", baseline=baseline), tables)
    x = np.column_stack([rows["fin"], rows["age"]])
    strata = rows["race"] if baseline == "common" else rows["race"] * 3 + site
    agree(found, Pooled(x, rows["week"], rows["arrest"], strata=strata))
    if baseline == "common":
        assert [one.stratum for one in found.baseline] == ["white", "black", "neither"]
        assert sum(found.baseline[0].events) + sum(found.baseline[1].events) == 114  # type: ignore[arg-type]
        assert len(found.proportional) == 3


def test_strata_of_whole_numbers_are_found() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(formula="fin + age", strata="race"), rossi())
    x = np.column_stack([rows["fin"], rows["age"]])
    agree(found, Pooled(x, rows["week"], rows["arrest"], strata=rows["race"]))


@pytest.mark.parametrize("baseline", ["common", "site"])
def test_late_entries_are_at_risk_from_when_they_come(baseline: str) -> None:
    rows = read("stanford_heart.csv")
    job = Cox(
        time="stop",
        event="event",
        start="start",
        width=0.5,
        baseline=baseline,  # type: ignore[arg-type]  # one of the two
        formula="age + year + surgery + transplant",
    )
    found = regress(job, dealt(rows, 3))
    x = np.column_stack([rows[name] for name in ("age", "year", "surgery", "transplant")])
    strata = 0 if baseline == "common" else np.arange(172) % 3
    agree(found, Pooled(x, rows["stop"], rows["event"], strata=strata, start=rows["start"]))
    if baseline == "common":  # Therneau and Grambsch 2000, and the help page of R's heart data
        published = [0.0272, -0.1463, -0.6372, -0.0103]
        assert [one.estimate for one in found.coefficients.values()] == pytest.approx(published, abs=6e-5)


def test_institutions_with_two_patients_and_a_row_without_one_take_part() -> None:
    rows = read("lung.csv")
    tables = split(rows, rows["inst"])
    assert min(table.rows for table in tables.values()) <= 2
    kept = ~np.isnan(rows["ph.ecog"])
    x = np.column_stack([rows["age"], rows["sex"] == 2, rows["ph.ecog"]])[kept]
    job = Cox(time="time", event="status", width=1.0, formula="age + C(sex) + ph.ecog", baseline="common")
    found = regress(job, tables)
    agree(found, Pooled(x, rows["time"][kept], rows["status"][kept]))
    assert (found.n, found.dropped) == (227, 1) and "C(sex)2" in found.coefficients
    sites = np.nan_to_num(rows["inst"], nan=-1.0)[kept]
    own = regress(msgspec.structs.replace(job, baseline="site"), tables)
    agree(own, Pooled(x, rows["time"][kept], rows["status"][kept], strata=sites))


def test_a_baseline_at_a_zero_that_is_out_of_sight_is_not_told() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(formula="fin"), dealt({**rows, "fin": rows["fin"] + 1e5}, 3))
    near = regress(recidivism(formula="fin"), rossi())
    assert found.baseline == () and found.loglik == pytest.approx(near.loglik, rel=1e-12)


def test_products_and_functions_are_those_of_any_formula() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(formula="log(age) * fin + C(race)", ties="breslow"), rossi())
    log_age = np.log(rows["age"])
    x = np.column_stack([log_age, rows["fin"], rows["race"], log_age * rows["fin"]])
    agree(found, Pooled(x, rows["week"], rows["arrest"], ties="breslow"))
    same = regress(recidivism(formula="arrest ~ log(age) * fin + C(race) - 1", ties="breslow"), rossi())
    assert same.loglik == pytest.approx(found.loglik, rel=1e-12) and list(same.coefficients) == list(found.coefficients)


def test_wide_intervals_give_the_fit_of_times_rounded_up() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(width=4.0), rossi())
    agree(found, Pooled(design(rows), np.ceil(rows["week"] / 4), rows["arrest"]))


def test_events_beyond_the_horizon_are_not_seen() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(horizon=30.0), rossi())
    agree(found, Pooled(design(rows), np.minimum(rows["week"], 30), rows["arrest"] * (rows["week"] <= 30)))


def names_and_answer(job: Cox, tables: dict[str, Table]) -> tuple[list[str], CoxAnswer]:
    names = []
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        names.append(step.name)
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    assert isinstance(step, CoxAnswer)
    return names, step


@pytest.mark.parametrize("baseline", ["common", "site"])
def test_strong_effects_need_room_and_lose_nothing(baseline: str) -> None:
    chance = np.random.default_rng(11)
    x = chance.normal(0, 1, (240, 2))
    time = np.ceil(chance.exponential(60 * np.exp(-(x @ np.array([4.0, -2.0])))).clip(0, 2000))
    died = (time < 2000) * 1.0
    columns = {"x": x[:, 0] * 1e4 + 7e6, "w": x[:, 1], "t": time + 1, "e": died}
    job = Cox(time="t", event="e", formula="x + w", width=1.0, baseline=baseline)  # type: ignore[arg-type]
    names, found = names_and_answer(job, dealt(columns, 3))
    assert any("how far" in name for name in names) == (baseline == "common")
    scaled = np.column_stack([columns["x"], columns["w"]])
    strata = 0 if baseline == "common" else np.arange(240) % 3
    expected = Pooled(np.column_stack([x[:, 0], x[:, 1]]), time, died, strata=strata)
    estimates = [one.estimate for one in found.coefficients.values()]
    assert estimates == pytest.approx([expected.beta[0] / 1e4, expected.beta[1]], rel=1e-7)
    assert scaled.shape == (240, 2) and found.loglik == pytest.approx(expected.loglik, rel=1e-9)


def test_no_sums_are_asked_twice_at_the_same_trial() -> None:
    """Sums with and without a site, at one trial, would tell that site's own."""
    chance = np.random.default_rng(3)
    x = chance.normal(0, 1, 90)
    time = np.ceil(chance.exponential(30 * np.exp(-4 * x)).clip(0, 900)) + 1
    tables, trials = dealt({"x": x, "t": time, "e": np.ones(90)}, 3), []
    job = Cox(time="t", event="e", formula="x", width=1.0, baseline="common")
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        if any(block.name == "risk" for block in step.blocks):
            trials.append(msgspec.msgpack.decode(step.state, type=State).now.trial)  # type: ignore[union-attr]
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    assert len(set(trials)) == len(trials) > 4


@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("baseline", ["common", "site"])
def test_whoever_leaves_at_whichever_step_the_rest_get_their_own_fit(step: int, baseline: str) -> None:
    job, tables = recidivism(baseline=baseline, formula="fin + age + prio"), rossi()
    answer = ask_while_leaving(job, tables, {step: "2"})
    assert isinstance(answer, CoxAnswer)
    expected = regress(job, {site: table for site, table in tables.items() if site != "2"})
    assert (answer.n, answer.events) == (expected.n, expected.events)
    for label, coefficient in answer.coefficients.items():
        assert coefficient.estimate == pytest.approx(expected.coefficients[label].estimate, rel=1e-9)
        assert coefficient.std_error == pytest.approx(expected.coefficients[label].std_error, rel=1e-9)
    assert (answer.loglik_null, answer.loglik) == pytest.approx((expected.loglik_null, expected.loglik), rel=1e-11)
    for one, other in zip(answer.baseline, expected.baseline, strict=True):
        assert (one.times, one.events) == (other.times, other.events)
        assert one.hazard == pytest.approx(other.hazard, rel=1e-9)
    assert answer.score_test is None or answer.score_test.chi_squared == pytest.approx(
        expected.score_test.chi_squared,
        rel=1e-9,  # type: ignore[union-attr]
    )
    for label, test in answer.proportional.items():
        assert test.chi_squared == pytest.approx(expected.proportional[label].chi_squared, rel=1e-6)


def test_who_leaves_at_the_last_step_causes_another_and_takes_the_score_test_along() -> None:
    job, tables = recidivism(formula="fin + age"), rossi()
    names, _ = names_and_answer(job, tables)
    answer = ask_while_leaving(job, tables, {len(names) - 1: "0"})
    expected = regress(job, {site: table for site, table in tables.items() if site != "0"})
    assert isinstance(answer, CoxAnswer)
    assert answer.score_test is None and answer.iterations > len(names) - 3
    for label, test in expected.proportional.items():
        assert answer.proportional[label].chi_squared == pytest.approx(test.chi_squared, rel=1e-8)


def test_the_baseline_hazard_is_breslows_where_all_columns_are_zero() -> None:
    rows = read("rossi.csv")
    found = regress(recidivism(formula="fin + age", ties="breslow"), rossi())
    beta = np.array([one.estimate for one in found.coefficients.values()])
    x = np.column_stack([rows["fin"], rows["age"]])
    weight, hazard = np.exp(x @ beta), 0.0
    (own,) = found.baseline
    for time, events, shown in zip(own.times, own.events, own.hazard, strict=True):
        assert events == ((rows["week"] == time) & (rows["arrest"] == 1)).sum()
        hazard += events / weight[rows["week"] >= time].sum()
        assert shown == pytest.approx(hazard, rel=1e-9)


N = 24
T = [float(1 + (5 * n) % 11) for n in range(N)]
E = [float(n % 3 != 0) for n in range(N)]
X = [float((7 * n) % 9) for n in range(N)]

REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no parse": ({}, {"formula": "x +"}, "does not parse"),
    "nothing": ({}, {"formula": "1"}, "nothing on its right side"),
    "no column": ({}, {"formula": "x + w"}, "no column 'w'"),
    "time in it": ({}, {"formula": "x + t"}, "column 't' also stands in the formula"),
    "event in it": ({}, {"formula": "x + e"}, "'e' also stands on the right side"),
    "strata in it": ({"g": X}, {"formula": "x + g", "strata": "g"}, "column 'g' also stands in the formula"),
    "twice": ({}, {"strata": "t"}, "named twice"),
    "no rows": ({"x": [None] * N}, {}, "no rows are complete"),
    "no strata": ({"g": [None] * N}, {"strata": "g"}, "no rows are complete"),
    "no event": ({"e": [0.0] * N}, {}, "there is no event"),
    "a two": ({"e": [2.0, *E[1:]]}, {}, "'e' holds values other than 0 and 1"),
    "negative": ({"t": [-1.0, *T[1:]]}, {}, "'t' is negative"),
    "backwards": ({"s": T}, {"start": "s"}, "'s' is negative in some row, or not before"),
    "zeros": ({"w": [0.0] * N}, {"formula": "x + w"}, "column 'w' is constant"),
    "constant": ({"w": [0.1] * N}, {"formula": "x + w"}, "column 'w' is constant"),
    "dependent": ({"w": [3 * x + 1e5 for x in X]}, {"formula": "x + w"}, "column 'w' depends linearly"),
    "strata": ({"g": [x % 2 for x in X], "w": [x % 2 for x in X]}, {"formula": "w", "strata": "g"}, "'w' is the same"),
    "one category": ({"w": [3.0] * N}, {"formula": "C(w)"}, "one category only"),
    "monotone": ({"w": [float(e == 1) for e in E]}, {"formula": "x + w"}, "'w' may have no finite estimate"),
    "monotone, for long": ({"w": E}, {"formula": "w", "max_iterations": 100}, "'w' may have no finite estimate"),
    "few rows": ({"x": [1.0, 2.0] + [None] * (N - 2)}, {"formula": "x + log1p(x)"}, "no more complete rows than the 2"),
    "far": ({"t": [5000.0, *T[1:]]}, {}, "beyond 4096 intervals"),
    "halves as strata": ({"g": [x / 2 for x in X]}, {"strata": "g"}, "declare its categories"),
}  # fmt: skip


@pytest.mark.parametrize("baseline", ["common", "site"])
@pytest.mark.parametrize(("columns", "parameters", "due"), REFUSALS.values(), ids=list(REFUSALS))
def test_what_has_no_regression_is_refused_in_one_sentence(
    columns: dict[str, Any], parameters: dict[str, Any], due: str, baseline: Literal["common", "site"]
) -> None:
    tables = dealt({"t": T, "e": E, "x": X, **columns}, 2)
    if baseline == "site" and due == "declare its categories":
        return  # nobody else has to know the strata of a site
    with pytest.raises(Refused, match=due) as refusal:
        regress(Cox(time="t", event="e", width=1.0, baseline=baseline, **{"formula": "x", **parameters}), tables)
    sentence = str(refusal.value)
    assert "\n" not in sentence and ". " not in sentence and not sentence.endswith(".")


def test_text_where_it_has_no_meaning_is_refused() -> None:
    tables = {"a": mixed_table({"h": ()}, t=[1.0, 2.0], e=[1.0, 0.0], x=[1.0, 2.0], h=["u", "v"])}
    for parameters in ({"time": "h"}, {"formula": "log(h)"}, {"formula": "h"}, {"strata": "h", "baseline": "common"}):
        with pytest.raises(Refused, match=r"column 'h'.* holds text"):
            regress(Cox(**{"time": "t", "event": "e", "width": 1.0, "formula": "x", **parameters}), tables)
    declared = mixed_table({"h": ("u", "v")}, t=[1.0, 2.0], e=[1.0, 0.0], h=["u", "v"])
    mixed = {"a": declared, "b": numbers_table(t=[1.0], e=[1.0], h=[1.0])}
    with pytest.raises(Refused, match="text in one table and numbers in another"):
        regress(Cox(time="t", event="e", width=1.0, formula="h"), mixed)


def test_a_site_refuses_what_no_honest_hub_asks_for() -> None:
    job, tables = recidivism(formula="fin + age"), rossi()
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step) and not step.name.startswith("iteration 3"):
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    assert isinstance(step, Step)
    now: Any = msgspec.msgpack.decode(step.state, type=State).now
    lies = (
        {"trial": (float("inf"), 0.0)},
        {"trial": (0.0,)},
        {"reach": 3},
        {"reach": 40},
        {"bound": 0.0},
        {"exponents": (999, 0)},
        {"tied": (5, 3)},
        {"tied": (4000,)},
        {"weights": (0.5,)},
        {"frame": msgspec.structs.replace(now.frame, cells=((3, 2),))},
        {"frame": msgspec.structs.replace(now.frame, cells=())},
        {"frame": msgspec.structs.replace(now.frame, strata=("other",))},
    )
    for lie in lies:
        state = encode_state(State(msgspec.structs.replace(now, **lie)))
        with pytest.raises(ProtocolViolation):
            job.encode(tables["0"], msgspec.structs.replace(step, state=state))


@pytest.mark.parametrize("baseline", ["common", "site"])
def test_under_masks_it_is_the_same_answer(baseline: str) -> None:
    job = recidivism(baseline=baseline, formula="fin + age")
    named = {f"site-{site}": table for site, table in rossi().items()}
    found, plain = simulate(job, named, Chance()).answer, regress(job, rossi())
    assert isinstance(found, CoxAnswer)
    for label, coefficient in found.coefficients.items():
        assert coefficient.estimate == pytest.approx(plain.coefficients[label].estimate, rel=1e-11)


# ---- what is shown ----


def test_the_baseline_is_shown_after_groups_of_events_and_nothing_else_is_lost() -> None:
    exact = regress(recidivism(), rossi())
    assert exact.disclosed(Rules(minimum_cell=1)) == exact
    shown = exact.disclosed(TEN)
    (own,), (true,) = shown.baseline, exact.baseline
    assert all(events is not None and events >= 10 for events in own.events) and len(own.times) < len(true.times)
    assert sum(events or 0 for events in own.events) == shown.events == 114
    hazards = dict(zip(true.times, true.hazard, strict=True))
    assert all(hazards[time] == hazard for time, hazard in zip(own.times, own.hazard, strict=True))
    assert shown.coefficients == exact.coefficients


def test_few_rows_few_events_or_many_coefficients_are_not_released() -> None:
    rare = {"t": T * 3, "e": [1.0] * 6 + [0.0] * (3 * N - 6), "x": X * 3}
    answer = regress(Cox(time="t", event="e", width=1.0, formula="x", baseline="common"), dealt(rare, 2))
    with pytest.raises(Refused, match="hazard rests on fewer than 10"):
        answer.disclosed(TEN)
    with pytest.raises(Refused, match="parameters per hundred records"):
        regress(recidivism(), rossi()).disclosed(Rules(parameters_percent=1))
    often = {"t": T * 3, "e": [0.0] * 6 + [1.0] * (3 * N - 6), "x": X * 3}
    shown = regress(Cox(time="t", event="e", width=1.0, formula="x", baseline="common"), dealt(often, 2)).disclosed(TEN)
    assert shown.events is None and set(shown.baseline[0].events) == {None}


def test_a_picture_has_hazard_ratios_and_a_baseline() -> None:
    exhibit = regress(recidivism(), rossi()).exhibit()
    forest = exhibit.plots[0]
    assert isinstance(forest, Intervals) and forest.log and forest.null == 1.0
    assert forest.estimates[0] == pytest.approx(np.exp(REFERENCE["efron"]["coef"]["fin"]), rel=1e-9)
    assert [sheet.title for sheet in exhibit.sheets][:2] == ["Hazard ratios", "Tests"]
    assert len(exhibit.plots) == 2
    assert len(regress(recidivism(baseline="site"), rossi()).exhibit().plots) == 1
