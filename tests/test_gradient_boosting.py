"""Trees over sites are those that XGBoost grows on the pooled rows, and what may not be learnt from few rows isn't."""

import csv
import functools
import io
import json
import lzma
import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Array, Step, Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.gradient_boosting import EXAMPLE, GradientBoosting
from hansa.jobs.trees import cuts
from hansa.jobs.trees.model import GradientBoostingAnswer, predict
from hansa.jobs.trees.tree import LEAF
from hansa.jobs.trees.xgboost_json import render
from hansa.privacy.disclosure import Rules
from hansa.simulator import simulate
from tests.real_rows import DATA, Chance, ask, ask_while_leaving, dealt, joined, read_json, split

REFERENCE = read_json("reference_xgboost.json")


@functools.cache
def credit() -> dict[str, Array]:
    with lzma.open(DATA / "credit_default.csv.xz", "rt") as file:
        names, *rows = csv.reader(io.StringIO(file.read()))
    every = np.array(rows, dtype=np.float64)
    return {name: every[:, place] for place, name in enumerate(names)}


def train_and_test() -> tuple[dict[str, Table], Table]:
    """Three banks, and the rows whose ID is a multiple of five."""
    columns, held = credit(), credit()["ID"] % 5 == 0
    train = {name: values[~held] for name, values in columns.items()}
    test = {name: values[held] for name, values in columns.items()}
    return dealt(train, 3), dealt(test, 1)["0"]


def few_values() -> dict[str, Array]:
    """Columns of so few values that every value has a bin of its own, some of them missing."""
    rows = credit()
    found = {name: rows[name] for name in ("SEX", "EDUCATION", "MARRIAGE", "LIMIT_BAL", "default")}
    found["AGE"] = np.clip(np.round(rows["AGE"] / 5) * 5, 25, 60)
    for name in ("PAY_0", "PAY_2", "PAY_3", "PAY_4"):
        found[name] = np.clip(rows[name], -2, 4)
    for name in ("PAY_3", "PAY_4"):
        found[name] = np.where(found[name] == 1, 2, found[name])
    found["PAY_0"] = np.where(rows["ID"] % 7 == 0, np.nan, found["PAY_0"])
    found["PAY_2"] = np.where(rows["LIMIT_BAL"] < 30000, np.nan, found["PAY_2"])
    found["limit"] = found.pop("LIMIT_BAL") / 10000
    return found


def area_under_curve(scores: Array, outcome: Array) -> float:
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(scores.size)
    ranks[order] = np.arange(1, scores.size + 1)
    for value in np.unique(scores[order][:-1][np.diff(scores[order]) == 0]):
        ranks[scores == value] = ranks[scores == value].mean()
    ones = outcome.sum()
    return float((ranks[outcome == 1].sum() - ones * (ones + 1) / 2) / (ones * (outcome.size - ones)))


def boost(tables: dict[str, Table], **parameters: Any) -> GradientBoostingAnswer:
    answer = ask(GradientBoosting(**parameters), tables)
    assert isinstance(answer, GradientBoostingAnswer)
    return answer


def shaped(rows: int = 400) -> dict[str, list[float | None]]:
    """x decides, z does a little, `same` nothing; made by arithmetic, without chance."""
    x = [(37 * row % 101) / 10 for row in range(rows)]
    z = [(53 * row % 29) / 7 - 2 for row in range(rows)]
    y = [float((a > 5) != (row % 9 == 0)) for row, a in enumerate(x)]
    number = [3 * a + b * b + (row % 5) / 10 for row, (a, b) in enumerate(zip(x, z, strict=True))]
    return {"x": x, "z": z, "same": [4.0] * rows, "y": y, "number": number}  # type: ignore[dict-item]


SMALL = {"outcome": "y", "of": ("x", "z"), "trees": 5, "depth": 2}


# ---- equal to others ----


def test_three_banks_predict_default_as_well_as_xgboost_on_all_their_rows() -> None:
    expected = REFERENCE["credit_20"]
    tables, test = train_and_test()
    found = boost(tables, outcome="default", of=tuple(expected["columns"]), trees=20, depth=3, bins=32)
    assert (len(found.trees), found.n) == (20, 24_000)
    auc = area_under_curve(predict(found, test), test.numbers("default"))
    assert auc == pytest.approx(expected["auc"], rel=0.005)
    assert found.loss[-1] == pytest.approx(expected["train_log_loss"], rel=0.005)


@pytest.mark.parametrize(("family", "outcome"), [("binomial", "default"), ("gaussian", "limit")])
def test_with_the_same_bins_the_trees_are_those_of_xgboost(family: str, outcome: str) -> None:
    expected = REFERENCE[f"few_{family}"]
    rows = few_values()
    answer = boost(
        dealt(rows, 4), outcome=outcome, of=tuple(expected["columns"]), family=family, trees=10, depth=4, bins=64,
        l2=2.0, gamma=1.0, minimum_child_weight=20.0,
    )  # fmt: skip
    assert [tree.feature.count(LEAF) for tree in answer.trees] == expected["leaves"]
    predicted = predict(answer, dealt(rows, 1)["0"])
    assert predicted[:25] == pytest.approx(expected["first_rows"], rel=2e-5)
    assert np.mean(predicted**2) == pytest.approx(expected["mean_square"], rel=1e-6)
    names = {f"f{place}": name for place, name in enumerate(expected["columns"])}
    gains = {names[feature]: gain for feature, gain in expected["total_gain"].items()}
    assert {name: one.gain for name, one in answer.importance.items()} == pytest.approx(gains, rel=1e-4)


def test_the_model_file_has_the_fields_that_xgboost_reads() -> None:
    answer = boost(dealt(shaped(), 3), **SMALL)
    learner = json.loads(render(answer))["learner"]
    assert learner["objective"]["name"] == "binary:logistic"
    assert float(learner["learner_model_param"]["base_score"]) == pytest.approx(np.mean(shaped()["y"]), abs=1e-8)  # type: ignore[arg-type]
    for tree, own in zip(learner["gradient_booster"]["model"]["trees"], answer.trees, strict=True):
        assert (
            len({len(tree[name]) for name in ("left_children", "right_children", "parents", "split_conditions")}) == 1
        )
        for node, left in enumerate(tree["left_children"]):
            assert (left == -1) == (own.feature[node] == LEAF)
            if left >= 0:
                assert tree["parents"][left] == tree["parents"][tree["right_children"][node]] == node


def test_under_masks_the_same_trees_grow() -> None:
    tables = {"abcd"[int(site)]: table for site, table in dealt(shaped(), 4).items()}
    job = GradientBoosting(**SMALL, validation=5)  # type: ignore[arg-type]
    assert simulate(job, tables, Chance()).answer == ask(job, tables)


# ---- validation and stopping ----


def test_the_held_rows_are_every_kth_of_each_site_and_teach_nothing() -> None:
    columns = shaped()
    tables = dealt(columns, 2)
    without = {
        site: Table(
            table.schema,
            int((np.arange(1, table.rows + 1) % 4 != 0).sum()),
            {name: values[np.arange(1, table.rows + 1) % 4 != 0] for name, values in table.columns.items()},
        )
        for site, table in tables.items()
    }
    found, alone = boost(tables, validation=4, **SMALL), boost(without, **SMALL)
    assert found.n_validation == 100 and found.n == alone.n == 300
    assert [tree.threshold for tree in found.trees] == [tree.threshold for tree in alone.trees]
    assert found.loss == pytest.approx(alone.loss)
    held = {name: np.array(values)[np.arange(400) // 2 % 4 == 3] for name, values in columns.items()}
    probability, outcome = predict(found, dealt(held, 1)["0"]), held["y"]
    assert found.validation_loss[-1] == pytest.approx(
        -np.log(np.where(outcome == 1, probability, 1 - probability)).mean()
    )


def test_boosting_stops_when_the_held_rows_are_no_better_predicted() -> None:
    found = boost(dealt(shaped(), 3), validation=3, early_stopping=4, **{**SMALL, "trees": 200, "learning_rate": 1.0})
    best = int(np.argmin(found.validation_loss))
    assert 0 < len(found.trees) == best == len(found.validation_loss) - 1 - 4
    assert any("boosting stopped" in note for note in found.notes)


# ---- what is missing, constant, infinite or alone ----


def test_a_missing_number_goes_where_it_lowers_the_loss() -> None:
    columns = shaped()
    missing = {
        **columns,
        "x": [
            None if y == 1 and row % 2 else x for row, (x, y) in enumerate(zip(columns["x"], columns["y"], strict=True))
        ],
    }
    found = boost(dealt(missing, 3), **SMALL)
    assert found.trees[0].feature[0] == 0 and found.trees[0].default_left[0] is False
    turned = {**missing, "x": [None if x is None else -x for x in missing["x"]]}
    assert boost(dealt(turned, 3), **SMALL).trees[0].default_left[0] is True


def test_constant_and_missing_columns_are_named_and_used_by_no_tree() -> None:
    columns = {**shaped(), "none": [None] * 400}
    found = boost(dealt(columns, 3), **{**SMALL, "of": ("same", "x", "none")})
    assert set(found.importance) == {"x"}
    assert "columns that can't be cut, for their rows hold one value or hardly any: same, none" in found.notes
    with pytest.raises(Refused, match="no column can be cut"):
        boost(dealt(columns, 3), **{**SMALL, "of": ("same", "none")})


def test_a_site_of_two_rows_takes_part() -> None:
    tables = dealt(shaped(), 1)
    two = numbers_table(x=[1.0, 9.0], z=[0.0, None], same=[4.0, 4.0], y=[0.0, 1.0], number=[1.0, 2.0])
    found = boost({**tables, "two": two}, **SMALL)
    assert found.n == 402
    assert found.loss == pytest.approx(boost({"all": joined({**tables, "two": two})}, **SMALL).loss)


def test_numbers_of_any_scale_are_cut() -> None:
    columns = shaped()
    plain = boost(dealt(columns, 3), **SMALL)
    for scale, shift in ((1e-20, 0.0), (1e20, 0.0), (1.0, 1e6), (-1e-3, -5.0)):
        moved = {**columns, "x": [x * scale + shift for x in columns["x"]]}  # type: ignore[operator]
        assert boost(dealt(moved, 3), **SMALL).loss[-1] == pytest.approx(plain.loss[-1], rel=0.05)


def test_one_outlier_spoils_no_bin() -> None:
    columns = shaped()
    plain = boost(dealt(columns, 3), **SMALL)
    assert boost(dealt({**columns, "x": [1e15, *columns["x"][1:]]}, 3), **SMALL).loss[-1] == pytest.approx(
        plain.loss[-1], rel=0.05
    )


def test_categories_are_features_of_their_own() -> None:
    wards = ["north", "south", "west", None]
    text: dict[str, Any] = {
        "ward": [wards[row % 4] for row in range(200)],
        "y": [float(row % 4 == 1) for row in range(200)],
    }
    table = mixed_table({"ward": ("north", "south", "west")}, **text)
    found = boost({"a": table}, outcome="y", of=("ward",), trees=3, depth=2)
    assert found.features == ("ward=north", "ward=south", "ward=west")
    assert found.trees[0].feature[0] == 1
    assert np.corrcoef(predict(found, table), text["y"])[0, 1] > 0.99
    blank = mixed_table({"ward": ("north", "south", "west")}, ward=["south "], y=[1.0])
    with pytest.raises(Refused, match="column 'ward' of table 'made_up' holds a category that is not declared"):
        boost({"a": table, "b": blank}, outcome="y", of=("ward",), trees=1)


LINEAR = {"outcome": "number", "family": "gaussian"}
BAD = {
    "one class": ({**shaped(), "y": [1.0] * 400}, {}, "one class only"),
    "zeros only": ({**shaped(), "y": [0.0] * 400}, {}, "one class only"),
    "not a class": ({**shaped(), "y": [2.0] * 400}, {}, "other than 0 and 1"),
    "no outcome": ({**shaped(), "y": [None] * 400}, {}, "no rows have an outcome"),
    "a constant number": ({**shaped(), "number": [0.1] * 400}, LINEAR, "constant"),
    "infinite": ({**shaped(), "x": [math.inf] * 400}, {}, "infinite"),
    "infinite outcome": ({**shaped(), "number": [-math.inf] * 400}, LINEAR, "infinite"),
    "too few rows": (shaped(15), {}, "no column can be cut"),
    "nothing to gain": (shaped(), {"gamma": 1e6}, "no split of any column lowers the loss"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "parameters", "due"), BAD.values(), ids=list(BAD))
def test_what_can_not_be_learnt_is_refused(columns: dict[str, Any], parameters: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused, match=due):
        boost(dealt(columns, 3), **{**SMALL, **parameters})


@pytest.mark.parametrize(
    ("parameters", "due"),
    [
        ({"of": ("x", "x")}, "named twice"),
        ({"of": ("x", "y")}, "also one of the columns"),
        ({"early_stopping": 3}, "early stopping needs rows held"),
        ({"validation": 1}, "every row would be held"),
        ({"levels": {"number": ("1",)}}, "categories are given for column 'number'"),
    ],
)
def test_questions_that_contradict_themselves_are_refused(parameters: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused, match=due):
        GradientBoosting(**{**SMALL, **parameters}).columns()


# ---- few rows ----


def test_no_bin_of_a_column_and_no_leaf_rests_on_few_rows() -> None:
    columns = shaped(90)
    found = boost(dealt(columns, 3), **{**SMALL, "depth": 6, "minimum_leaf": 10, "minimum_child_weight": 0.0})
    x = np.array(columns["x"], dtype=np.float64)
    edges = sorted(
        {cut for tree in found.trees for cut, one in zip(tree.threshold, tree.feature, strict=True) if one == 0}
    )
    assert min(np.histogram(x, [-math.inf, *edges, math.inf])[0]) >= 10
    assert found.smallest_leaf is not None and found.smallest_leaf >= 10


def test_a_cell_of_few_rows_is_never_divided() -> None:
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    assert [part.parts for part in cuts.refine(edges, np.array([19.0, 20.0, 0.0]), 2)] == [1, 9]


def test_an_answer_with_small_leaves_or_many_of_them_is_not_released() -> None:
    found = boost(dealt(shaped(), 3), validation=10, **SMALL)
    assert found.disclosed(Rules()).n == 361
    with pytest.raises(Refused, match="a leaf of the model"):
        found.disclosed(Rules(minimum_cell=(found.smallest_leaf or 0) + 1))
    with pytest.raises(Refused, match="parameters per hundred records"):
        found.disclosed(Rules(parameters_percent=3))
    with pytest.raises(Refused, match="held for validation"):
        replace(found, n_validation=9).disclosed(Rules())
    coarse = found.disclosed(Rules(round_to=5))
    assert isinstance(coarse, GradientBoostingAnswer)
    assert all(cover % 5 == 0 for tree in coarse.trees for cover in tree.cover) and (coarse.n or 0) % 5 == 0


# ---- sites that leave, hubs that lie ----


def rows_totalled(job: GradientBoosting, tables: dict[str, Table]) -> int:
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    number = 0
    while isinstance(step, Step):
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
        number += 1
    return number


@pytest.mark.parametrize("family", ["binomial", "gaussian"])
def test_a_site_may_leave_before_any_step(family: str) -> None:
    tables = dealt(shaped(), 4)
    outcome = "y" if family == "binomial" else "number"
    job = GradientBoosting(outcome=outcome, of=("x", "z"), family=family, trees=3, depth=2, validation=5)  # type: ignore[arg-type]
    steps = rows_totalled(job, tables)
    whole = ask(job, tables)
    assert steps == 5 + 3 * 2 + 1 and isinstance(whole, GradientBoostingAnswer)
    for step in range(1, steps):
        found = ask_while_leaving(job, tables, {step: "2"})
        assert isinstance(found, GradientBoostingAnswer)
        assert found.n == 240 and len(found.trees) == 3
        assert found.loss[-1] == pytest.approx(whole.loss[-1], rel=0.2)


def test_a_node_that_lost_its_rows_is_worth_nothing() -> None:
    """All rows with x above 5 leave after the first split of the first tree."""
    columns = {name: np.array(values, dtype=np.float64) for name, values in shaped().items()}
    tables = split(columns, [x > 5 for x in columns["x"]])
    job = GradientBoosting(outcome="y", of=("x", "z"), trees=1, depth=2)
    found = ask_while_leaving(job, tables, {6: "True"})
    assert isinstance(found, GradientBoostingAnswer)
    tree = found.trees[0]
    assert tree.feature[2] == LEAF and tree.value[2] == 0.0
    assert found.smallest_leaf is not None and found.smallest_leaf >= 20


def test_a_made_up_tree_or_edge_is_the_hubs_fault() -> None:
    job, table = EXAMPLE.job, next(iter(EXAMPLE.tables.values()))
    assert isinstance(job, GradientBoosting)
    step: Step | Answer = job.begin([one.schema for one in EXAMPLE.tables.values()], 2)
    while isinstance(step, Step) and step.name != "tree 2, level 1":
        vectors = [base.to_ring(step, job.encode(one, step), Chance(site)) for site, one in EXAMPLE.tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), 2))
    assert isinstance(step, Step)
    now = job._read(step)
    assert not isinstance(now, Answer)
    tree = now.trees[0]  # type: ignore[union-attr]
    for trees in (
        (replace(tree, features=(7, -1, -1)),),
        (replace(tree, bins=(5, 0, 0)),),
        (replace(tree, values=(0.0, math.inf, 0.0)),),
        (replace(tree, features=(0, 0, -1)),),
        (replace(tree, lefts=(True,)),),
        (tree,) * 3,
    ):
        forged = base.encode_state(_state(replace(now, trees=trees)))
        with pytest.raises(ProtocolViolation):
            job.encode(table, replace(step, state=forged))


def _state(now: Any) -> Any:
    from hansa.jobs.gradient_boosting import State

    return State(now)
