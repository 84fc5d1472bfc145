"""Survival curves over sites equal R's on the pooled rows, and show rows in groups only."""

from typing import Any

import msgspec
import numpy as np
import pytest

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Table
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Curves
from hansa.jobs.kaplan_meier import KaplanMeier, State
from hansa.jobs.survival import grid, grouping
from hansa.jobs.survival.km_answer import Group, KaplanMeierAnswer
from hansa.privacy.disclosure import Rules
from hansa.simulator import simulate
from tests.real_rows import Chance, ask, ask_while_leaving, dealt, read, read_json, split

REFERENCE = read_json("reference_survival.json")
TEN = Rules()


def rossi() -> dict[str, Table]:
    return dealt(read("rossi.csv"), 4)


def lung() -> dict[str, Table]:
    rows = read("lung.csv")
    return split(rows, rows["inst"])


def nodes() -> dict[str, Table]:
    rows = read("nodes.csv")
    return split(rows, rows["node"])


QUESTIONS: dict[str, tuple[KaplanMeier, Any]] = {
    "rossi": (KaplanMeier(time="week", event="arrest", width=1.0, by="fin"), rossi),
    "lung": (KaplanMeier(time="time", event="status", width=1.0, by="sex"), lung),
    "v6": (KaplanMeier(time="time", event="died", width=1.0), nodes),
}


def survive(job: KaplanMeier, tables: dict[str, Table]) -> KaplanMeierAnswer:
    answer = ask(job, tables)
    assert isinstance(answer, KaplanMeierAnswer)
    return answer


def at(group: Group, time: float) -> dict[str, float | None]:
    """The last step until `time`."""
    own = group.curve
    place = sum(step <= time for step in own.times) - 1
    return {
        "surv": own.survival[place],
        "se": own.std_errors[place],
        "lower": own.lows[place],
        "upper": own.highs[place],
    }


@pytest.mark.parametrize("name", QUESTIONS)
def test_curves_medians_and_means_are_those_that_r_gets_on_the_pooled_rows(name: str) -> None:
    job, tables = QUESTIONS[name]
    expected = REFERENCE["v6"]["km"] if name == "v6" else REFERENCE[f"{name}_km"]
    answer = survive(job, tables())
    own = {group.name: group for group in answer.groups}
    names = [str(stratum).partition("=")[2] for stratum in expected["strata"]] or ["all"] * len(expected["time"])
    for place, (stratum, time) in enumerate(zip(names, expected["time"], strict=True)):
        group = own[stratum]
        for figure, value in at(group, time).items():
            assert value == pytest.approx(expected[figure][place], rel=1e-9)
        if time in group.curve.times:
            assert group.curve.at_risk[group.curve.times.index(time)] == expected["risk"][place]
    table = expected["table"]
    for place, group in enumerate(answer.groups):
        curve = group.curve
        assert (group.n, group.events) == (table["records"][place], table["events"][place])
        for figure, value in (
            ("rmean", curve.mean),
            ("se(rmean)", curve.mean_std_error),
            ("median", curve.median),
            ("0.95LCL", curve.median_low),
            ("0.95UCL", curve.median_high),
        ):
            assert value is table[figure][place] is None or value == pytest.approx(table[figure][place], rel=1e-9)


@pytest.mark.parametrize("name", ["rossi", "lung"])
def test_the_log_rank_test_is_that_of_r(name: str) -> None:
    job, tables = QUESTIONS[name]
    found, expected = survive(job, tables()).logrank, REFERENCE[f"{name}_logrank"]
    assert found is not None
    assert (found.df, list(found.observed)) == (expected["df"], expected["obs"])
    assert found.chi_squared == pytest.approx(expected["chisq"], rel=1e-11)
    assert list(found.expected) == pytest.approx(expected["exp"], rel=1e-11)


def log_rank(time: np.ndarray, died: np.ndarray, group: np.ndarray, strata: np.ndarray) -> float:
    """Of two groups, time by time: a second way to the same."""
    difference = variance = 0.0
    for stratum in np.unique(strata):
        for moment in np.unique(time[died == 1]):
            here = (strata == stratum) & (time >= moment)
            events = here & (time == moment) & (died == 1)
            n, first, d = here.sum(), (here & group).sum(), events.sum()
            if n > 1:
                difference += (events & group).sum() - d * first / n
                variance += d * (first / n) * (1 - first / n) * (n - d) / (n - 1)
    return float(difference**2 / variance)


def test_the_log_rank_test_compares_within_strata() -> None:
    rows = read("rossi.csv")
    answer = survive(KaplanMeier(time="week", event="arrest", width=1.0, by="fin", strata="race"), rossi())
    assert answer.logrank is not None
    expected = log_rank(rows["week"], rows["arrest"], rows["fin"] == 1, rows["race"])
    assert answer.logrank.chi_squared == pytest.approx(expected, rel=1e-10)
    plain = survive(QUESTIONS["rossi"][0], rossi())
    assert [group.curve for group in answer.groups] == [group.curve for group in plain.groups]


@pytest.mark.parametrize("step", [0, 1])
def test_whoever_leaves_at_whichever_step_the_rest_get_their_own_curves(step: int) -> None:
    job, tables = QUESTIONS["v6"]
    every = tables()
    answer = ask_while_leaving(job, every, {step: "1.0"})  # who has the longest time
    assert answer == survive(job, {site: table for site, table in every.items() if site != "1.0"})


def test_late_entries_are_at_risk_from_when_they_come() -> None:
    rows = read("stanford_heart.csv")
    job = KaplanMeier(time="stop", event="event", start="start", width=0.5)
    curve = survive(job, dealt(rows, 3)).groups[0].curve
    survival = 1.0
    for time, at_risk, events, shown in zip(curve.times, curve.at_risk, curve.events, curve.survival, strict=True):
        here = (rows["start"] < time) & (time <= rows["stop"])
        died = int(((rows["stop"] == time) & (rows["event"] == 1)).sum())
        survival *= 1 - died / here.sum()
        assert (at_risk, events) == (here.sum(), died)
        assert shown == pytest.approx(survival, rel=1e-12)
    assert sum(curve.events) == rows["event"].sum()


def test_wide_intervals_give_the_curve_of_times_rounded_up() -> None:
    rows = read("rossi.csv")
    wide = survive(KaplanMeier(time="week", event="arrest", width=7.0), rossi())
    rounded = {**rows, "week": np.ceil(rows["week"] / 7) * 7}
    exact = survive(KaplanMeier(time="week", event="arrest", width=1.0), dealt(rounded, 2))
    steps = [dict(zip(a.groups[0].curve.times, a.groups[0].curve.survival, strict=True)) for a in (wide, exact)]
    assert all(steps[0][time] == pytest.approx(steps[1][time]) for time in set(steps[0]) & set(steps[1]))
    assert wide.horizon == 56 and "rounded up to multiples of 7" in wide.notes[0]


def test_a_multiple_of_a_width_that_no_float_is_stays_in_its_own_interval() -> None:
    tenths = [k * 0.1 for k in range(1, 200)] + [k / 10 for k in range(1, 200)]
    table = dealt({"t": tenths, "e": np.ones(398), "s": [time - 0.1 for time in tenths]}, 1)["0"]
    axis = grid.Axis("t", "e", "s", 0.1, None)
    rows = grid.follow(table, axis, np.ones(398, dtype=np.bool_))
    assert rows.exit.tolist() == [*range(1, 200), *range(1, 200)]
    assert rows.entry.tolist() == [*range(199), *range(199)]


def test_follow_up_ends_at_the_horizon_and_events_beyond_it_are_not_seen() -> None:
    rows = read("rossi.csv")
    short = survive(KaplanMeier(time="week", event="arrest", width=1.0, horizon=26.0), rossi())
    cut = {**rows, "week": np.minimum(rows["week"], 26), "arrest": rows["arrest"] * (rows["week"] <= 26)}
    expected = survive(KaplanMeier(time="week", event="arrest", width=1.0), dealt(cut, 2))
    assert short.groups == expected.groups and short.horizon == expected.horizon == 26


def test_who_enters_after_the_horizon_is_left_out_and_counted() -> None:
    rows = read("stanford_heart.csv")
    answer = survive(KaplanMeier(time="stop", event="event", start="start", width=0.5, horizon=50.0), dealt(rows, 3))
    late = int((rows["start"] >= 50).sum())
    assert (answer.dropped, answer.groups[0].n) == (late, 172 - late) and late > 0


def test_groups_of_text_may_be_at_one_site_only_or_nowhere() -> None:
    names = ("north", "south", "nowhere")
    answer = survive(
        KaplanMeier(time="t", event="e", width=1.0, by="ward"),
        {
            "a": mixed_table({"ward": names}, t=[1.0, 2.0, 3.0], e=[1.0, 0.0, 1.0], ward=["north"] * 3),
            "b": mixed_table({"ward": names}, t=[2.0, 5.0, None], e=[1.0, 1.0, 1.0], ward=["south"] * 3),
        },
    )
    assert [(group.name, group.n, group.events) for group in answer.groups] == [
        ("north", 3, 2), ("south", 2, 2), ("nowhere", 0, 0)
    ]  # fmt: skip
    assert answer.groups[2].curve.times == () and answer.dropped == 1
    assert answer.logrank is not None and answer.logrank.df == 1


def test_one_group_alone_has_no_test_and_all_censored_a_flat_curve() -> None:
    one = survive(
        KaplanMeier(time="t", event="e", width=1.0, by="g"), dealt({"t": [1, 2], "e": [1, 1], "g": [7, 7]}, 2)
    )
    assert one.logrank is None and one.groups[0].name == "7"
    flat = survive(KaplanMeier(time="t", event="e", width=1.0), dealt({"t": [0, 4, 9], "e": [0, 0, 0]}, 2))
    assert set(flat.groups[0].curve.survival) == {1.0} and flat.groups[0].curve.median is None
    assert flat.groups[0].curve.mean == 9.0


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no rows": ({"t": [None] * 4, "e": [1.0] * 4}, {}, "no rows are complete"),
    "negative": ({"t": [-1.0, 2.0], "e": [1.0, 1.0]}, {}, "'t' is negative or infinite"),
    "infinite": ({"t": [np.inf, 2.0], "e": [1.0, 1.0]}, {}, "'t' is negative or infinite"),
    "a two": ({"t": [1.0, 2.0], "e": [2.0, 1.0]}, {}, "event 'e' holds values other than 0 and 1"),
    "backwards": ({"t": [1.0, 2.0], "e": [1.0, 1.0], "s": [1.0, 0.0]}, {"start": "s"}, "start 's' is negative"),
    "far": ({"t": [1.0, 5000.0], "e": [1.0, 1.0]}, {}, "beyond 4096 intervals of width 1"),
    "half horizon": ({"t": [1.0], "e": [1.0]}, {"horizon": 2.5}, "not a multiple of the width"),
    "fine": ({"t": [1.0], "e": [1.0]}, {"horizon": 5000.0}, "more than 4096 intervals up to the horizon"),
    "twice": ({"t": [1.0], "e": [1.0]}, {"by": "t"}, "named twice"),
    "itself": ({"t": [1.0], "e": [1.0]}, {"start": "t"}, "not columns of their own"),
    "no column": ({"t": [1.0], "e": [1.0]}, {"by": "g"}, "no column 'g'"),
    "halves": ({"t": [1.0], "e": [1.0], "g": [0.5]}, {"by": "g"}, "declare its categories"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "parameters", "due"), REFUSALS.values(), ids=list(REFUSALS))
def test_what_has_no_curve_is_refused_in_one_sentence(
    columns: dict[str, Any], parameters: dict[str, Any], due: str
) -> None:
    with pytest.raises(Refused, match=due) as refusal:
        survive(KaplanMeier(time="t", event="e", width=1.0, **parameters), dealt(columns, 2))
    sentence = str(refusal.value)
    assert "\n" not in sentence and ". " not in sentence and not sentence.endswith(".")


def test_text_for_a_time_or_for_undeclared_groups_is_refused() -> None:
    table = mixed_table({"w": ()}, t=[1.0], e=[1.0], w=["x"])
    with pytest.raises(Refused, match="holds text where numbers are due"):
        survive(KaplanMeier(time="w", event="e", width=1.0), {"a": table})
    with pytest.raises(Refused, match="declare its categories"):
        survive(KaplanMeier(time="t", event="e", width=1.0, by="w"), {"a": table})


@pytest.mark.parametrize(
    "state",
    [
        State((("all",), ("all",)), (3, 2), 10),
        State((("all",), ("all",)), (3, 20), 10),
        State((("all",), ("all",)), (), 10),
        State((("all",), ()), (3,), 10),
        State((("x",), ("all",)), (3,), 10),
    ],
)
def test_a_site_refuses_intervals_that_no_honest_hub_asks_for(state: State) -> None:
    job, tables = QUESTIONS["v6"]
    table = tables()["3.0"]
    step = msgspec.structs.replace(
        job.begin([table.schema], 1), state=msgspec.msgpack.encode(state, order="deterministic")
    )
    with pytest.raises(ProtocolViolation):
        job.encode(table, step)


def test_under_masks_it_is_the_same_answer() -> None:
    job, tables = QUESTIONS["rossi"]
    named = {f"site-{site}": table for site, table in tables().items()}
    assert simulate(job, named, Chance()).answer == survive(job, tables())


# ---- what is shown ----


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_shown_count_moves_by_nothing_or_by_enough_rows(name: str) -> None:
    job, tables = QUESTIONS[name]
    exact = survive(job, tables())
    shown = exact.disclosed(TEN)
    assert exact.disclosed(Rules(minimum_cell=1)) == exact
    for group, true in zip(shown.groups, exact.groups, strict=True):
        curve = group.curve
        for count in (*curve.events, *curve.censored, *curve.within, curve.censored_before):
            assert count == 0 or count >= 10
        assert min(curve.at_risk) >= 10
        assert group.events == true.events
        assert sum(curve.events) == true.events or sum(curve.events) <= true.events - 10
        assert len(curve.times) < len(true.curve.times)
        assert sum(curve.censored) + curve.censored_before == true.censored
        near = [at(true, time)["surv"] for time in curve.times]
        assert np.abs(np.array(curve.survival) - np.array(near, dtype=np.float64)).max() < 0.04
    assert any("groups of at least 10" in note for note in shown.notes)
    assert shown.logrank == exact.logrank


def test_rows_of_a_small_group_and_few_events_are_not_shown_at_all() -> None:
    columns = {
        "t": [float(k % 9) for k in range(60)],
        "e": [1.0] * 9 + [float(k < 4) for k in range(51)],
        "g": [0.0] * 9 + [1.0] * 51,
    }
    shown = survive(KaplanMeier(time="t", event="e", width=1.0, by="g"), dealt(columns, 2)).disclosed(TEN)
    few, rare = shown.groups
    assert (few.n, few.events, few.censored, few.curve.times) == (None, None, None, ())
    assert (rare.n, rare.events, rare.censored, rare.curve.times) == (51, None, None, ())
    assert shown.logrank is None
    assert shown.exhibit().plots == () and "counts from 1 to 9 are left out" in " ".join(shown.notes)


def test_a_handful_of_censored_rows_can_not_be_told_from_the_minimum() -> None:
    """97 of 100 have the event: neither their number nor who is at risk tells the three others."""

    def shown(others: int) -> KaplanMeierAnswer:
        columns = {"t": [float(1 + k % 8) for k in range(97 + others)], "e": [1.0] * 97 + [0.0] * others}
        return survive(KaplanMeier(time="t", event="e", width=1.0), dealt(columns, 2)).disclosed(TEN)

    assert shown(3).groups == shown(7).groups
    assert (shown(3).groups[0].n, shown(3).groups[0].censored) == (None, None)


def test_the_longest_time_is_not_shown_unless_the_question_gave_it() -> None:
    job, tables = QUESTIONS["lung"]
    assert survive(job, tables()).disclosed(TEN).horizon < 1022
    given = msgspec.structs.replace(QUESTIONS["rossi"][0], horizon=52.0)
    assert survive(given, rossi()).disclosed(TEN).horizon == 52


def test_a_running_count_moves_by_enough_and_leaves_enough() -> None:
    chance = np.random.default_rng(5)
    for minimum in (1, 2, 10):
        for _ in range(200):
            counts = np.cumsum(chance.integers(0, 6, chance.integers(1, 40)))
            total = int(counts[-1] + chance.integers(0, 15))
            steps = np.diff([0, *grouping.running(counts.tolist(), total, minimum), total])
            assert all(step == 0 or step >= min(minimum, total) for step in steps.tolist())
            assert minimum > 1 or grouping.running(counts.tolist(), total, 1) == counts.tolist()


@pytest.mark.parametrize("minimum", [1, 2, 5, 10])
def test_whatever_the_rows_no_count_below_the_minimum_is_shown(minimum: int) -> None:
    for seed in range(60):
        chance = np.random.default_rng(seed)
        n = int(chance.integers(1, 80))
        time = chance.integers(0, chance.integers(2, 30), n) + 1.0
        columns = {
            "t": time,
            "e": (chance.random(n) < chance.random()) * 1.0,
            "s": np.floor(time * chance.random(n)),
            "g": chance.integers(0, 2, n) * 1.0,
        }
        start = "s" if seed % 2 else None
        exact = survive(KaplanMeier(time="t", event="e", width=1.0, start=start, by="g"), dealt(columns, 2))
        for unit in (1, 3):
            shown = exact.disclosed(Rules(minimum_cell=minimum, round_to=unit))
            assert shown == exact or minimum > 1 or unit > 1
            for group in shown.groups:
                curve = group.curve
                counts = (*curve.events, *curve.censored, *curve.within, curve.censored_before)
                alone = [
                    count for count in (group.n, group.events, group.censored, *group.at_risk) if count is not None
                ]
                assert unit > 1 or all(count == 0 or count >= minimum for count in (*counts, *alone))
                assert list(curve.survival) == sorted(curve.survival, reverse=True)
                assert all(0 <= survival <= 1 for survival in curve.survival)
            shown.exhibit()


def test_late_entries_come_in_groups_too_and_rounded_counts_are_all_that_is_used() -> None:
    rows = read("stanford_heart.csv")
    exact = survive(KaplanMeier(time="stop", event="event", start="start", width=0.5), dealt(rows, 3))
    for minimum in (2, 5, 10, 30):
        curve = exact.disclosed(Rules(minimum_cell=minimum)).groups[0].curve
        assert all(count == 0 or count >= minimum for count in (*curve.events, *curve.censored))
        assert all(0 <= survival <= 1 for survival in curve.survival)
    rounded = survive(*((QUESTIONS["rossi"][0]), rossi())).disclosed(Rules(round_to=5))
    assert all(count % 5 == 0 for group in rounded.groups for count in (*group.curve.events, *group.curve.at_risk))
    assert rounded.logrank is None


def test_a_picture_has_a_stair_for_each_group_and_the_rows_at_risk_beneath() -> None:
    exhibit = survive(QUESTIONS["rossi"][0], rossi()).exhibit()
    (plot,) = exhibit.plots
    assert isinstance(plot, Curves) and plot.stairs and plot.beneath is not None
    assert plot.beneath.headings == ("fin", "0", "10", "20", "30", "40", "50")
    assert plot.beneath.rows[0][:3] == ("0", 216, 208)
    assert all(len(line.x) == len(line.y) == len(line.low) == len(line.high) for line in plot.lines)
    assert exhibit.sheets[0].title == "Survival"
