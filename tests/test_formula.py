"""Formulas mean what they mean in R, and nothing in them is ever executed."""

import itertools
import subprocess
import sys
from contextlib import suppress
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import Refused
from hansa.jobs.example import mixed_table
from hansa.jobs.regression import design, formula

CATEGORIES = {"C(c)": ("1", "2", "3"), "h": ("north", "south"), "factor(c)": ("1", "2", "3")}


def names(text: str) -> list[str]:
    return list(design.names(formula.parse(text), CATEGORIES))


MEANINGS = {
    "y ~ a": ["(Intercept)", "a"],
    "y ~ a - 1": ["a"],
    "y ~ 0 + a": ["a"],
    "y ~ -1 + a": ["a"],
    "y ~ 1": ["(Intercept)"],
    "y ~": ["(Intercept)"],
    "y ~ a + log(b)": ["(Intercept)", "a", "log(b)"],
    "y ~ factor( c )": ["(Intercept)", "factor(c)2", "factor(c)3"],
    "y ~ C(c) + h": ["(Intercept)", "C(c)2", "C(c)3", "hsouth"],
    "y ~ 0 + h + C(c)": ["hnorth", "hsouth", "C(c)2", "C(c)3"],
    "y ~ 0 + a + h": ["a", "hnorth", "hsouth"],
    "y ~ a * C(c)": ["(Intercept)", "a", "C(c)2", "C(c)3", "a:C(c)2", "a:C(c)3"],
    "y ~ a:h": ["(Intercept)", "a:hnorth", "a:hsouth"],
    "y ~ h + a:h": ["(Intercept)", "hsouth", "hnorth:a", "hsouth:a"],
    "y ~ h * C(c)": ["(Intercept)", "hsouth", "C(c)2", "C(c)3", "hsouth:C(c)2", "hsouth:C(c)3"],
    "y ~ h + h:C(c)": [
        "(Intercept)", "hsouth", "hnorth:C(c)2", "hsouth:C(c)2", "hnorth:C(c)3", "hsouth:C(c)3",
    ],
    "y ~ h / a": ["(Intercept)", "hsouth", "hnorth:a", "hsouth:a"],
    "y ~ (a + b)^2": ["(Intercept)", "a", "b", "a:b"],
    "y ~ (a + b + d)**2 - a:b": ["(Intercept)", "a", "b", "d", "a:d", "b:d"],
    "y ~ a:b + b": ["(Intercept)", "b", "b:a"],
    "y ~ a + a": ["(Intercept)", "a"],
    "y ~ a:a": ["(Intercept)", "a"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MEANINGS.items())
def test_a_formula_means_the_columns_that_r_gives_it(text: str, expected: list[str]) -> None:
    assert names(text) == expected


HOSTILE = [
    "y ~ __import__('os').system('true')", "y ~ I(a**2)", "y ~ np.log(a)", "y ~ Q('a')", 'y ~ Q("a")',
    "y ~ {a+1}", "y ~ `a`", "y ~ a[0]", "y ~ (lambda: 1)()", "y ~ lambda: 1", "y ~ (a)()", "y ~ a ( )",
    "y ~ a:1", "y ~ log(log(a))", "y ~ log(a)(b)", "y ~ log(a, b)", "y ~ log(a + b)", "y ~ log()",
    "y ~ eval(a)", "y ~ exec(a)", "y ~ open(a)", "y ~ C(a, contr)", "y ~ C(c).x", "y ~ bs(a)",
    "y ~ a.__class__", "y ~ __builtins__.x()", "y ~ log(-a)", "y ~ log(2)", "y ~ C(__class__.x).y",
    "y ~ a; b", "y ~ a\nb", "y ~ a = b", "y ~ a @ b", "y ~ a | b", "y ~ a %in% b", "y ~ ‘a’", "y ~ 2 * a",
    "y ~ a + 3", "y ~ 1e5:a", "y ~ .", "y ~ a ~ b", "[y ~ a] ~ b", "y + z ~ a", "1 ~ a", "C(y) ~ a", "y ~ y",
    "y ~ log(y)", "y ~ 0", "~", "", "y", "y ~ a +", "y ~ (a", "y ~ a)", "y ~ a b", "y ~ a^4", "y ~ a^b",
    "y ~ a^(1+1)", "y ~ a**-1", "y ~ exp (exp (a))", "y ~ log (a) (b)", "y ~ é",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_plain_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        formula.parse(text)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + "*".join("abcdefghijklmnopqrstuvwxz"),
        "y ~ (" + "+".join(f"a{n}" for n in range(60)) + ")^3",
        "y ~ " + ":".join(["(a+b+c)"] * 30),
        "y ~ ((((a+b+c)^3+d)^3+e)^3+f)^3",
        "y ~ " + "(" * 240 + "a" + ")" * 240,
        "y ~ " + "-" * 480 + "a",
        "y ~ a^999999999999999999",
        "y ~ " + "+".join(["a"] * 245),
        "y ~ " + "a" * 1000,
        "y ~ " + "/".join("abcdefghijklmnopqrstuvwxz"),
    ],
)
def test_no_formula_grows_without_end(text: str) -> None:
    begun = perf_counter()
    with suppress(Refused):
        formula.parse(text)
    assert perf_counter() - begun < 2


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="ayCc01 2+-*:/^()~.log_", max_size=30))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        parsed = formula.parse(text, "outcome" if "~" not in text else "")
    except Refused:
        return
    for factor in (parsed.outcome, *parsed.factors()):
        assert factor.function in ("", *formula.CATEGORICAL, *formula.NUMERIC)
        assert factor.column.replace(".", "_").isidentifier()


def test_reading_a_formula_evaluates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("something was evaluated")

    formula.parse("y ~ a")  # imports what it needs
    formula.parse.cache_clear()
    monkeypatch.setattr("builtins.eval", forbidden)
    monkeypatch.setattr("builtins.exec", forbidden)
    formula.parse("y ~ a + log(b) * C(c) + exp(d)")


def matrix(text: str) -> np.ndarray:
    table = mixed_table(
        {"h": ("north", "south")},
        y=[0.0, 1.0, 0.0, 1.0],
        a=[1.0, 2.0, 3.0, None],
        c=[1.0, 2.0, 3.0, 1.0],
        h=["south", "north", "south", "north"],
    )
    model = formula.parse(text)
    return design.matrix(table, model, CATEGORIES, design.complete(table, model))


def test_the_matrix_has_the_columns_that_the_names_promise() -> None:
    assert matrix("y ~ a * C(c)").tolist() == [[1, 0, 0, 0, 0], [2, 1, 0, 2, 0], [3, 0, 1, 0, 3]]
    assert matrix("y ~ 0 + h").tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
    for text in MEANINGS:
        if not any(name in text for name in "bd"):
            assert matrix(text).shape[1] == len([name for name in names(text) if name != "(Intercept)"])


@pytest.mark.parametrize(("function", "value"), [("log2", 3.0), ("log10", 3.0), ("sqrt", 3.0), ("exp", 3.0)])
def test_functions_are_what_they_are_called(function: str, value: float) -> None:
    found = matrix(f"y ~ {function}(a)")[2, 0]
    assert found == pytest.approx(getattr(np, function)(value), abs=0)


def test_log_of_zero_is_refused_without_saying_where() -> None:
    table = mixed_table({}, y=[1.0, 2.0], a=[0.0, 17.5])
    with pytest.raises(Refused, match=r"'log\(a\)' has no finite value") as refusal:
        design.numbers(table, formula.Factor("a", "log"), np.array([True, True]))
    assert "17.5" not in str(refusal.value)


def test_our_coding_equals_formulaics_where_the_model_is_hierarchical() -> None:
    pandas = pytest.importorskip("pandas")
    from formulaic import model_matrix

    rows = list(itertools.product(("1", "2", "3"), ("north", "south"), (0.5, 2.0)))
    frame = pandas.DataFrame(rows, columns=["c", "h", "a"])
    table = mixed_table(
        {"c": ("1", "2", "3"), "h": ("north", "south")},
        y=[0.0] * len(rows),
        c=[row[0] for row in rows],
        h=[row[1] for row in rows],
        a=[row[2] for row in rows],
    )
    for text in ("c + h", "c * h", "a * c", "c * h * a", "0 + c + a", "h / c", "(c + h + a)^2", "0 + c * a"):
        model = formula.parse(f"y ~ {text}")
        categories = {"c": ("1", "2", "3"), "h": ("north", "south")}
        ours = design.matrix(table, model, categories, design.complete(table, model))
        if model.intercept:
            ours = np.column_stack([np.ones(len(rows)), ours])
        theirs = np.asarray(model_matrix(text, frame), dtype=np.float64)
        both = np.column_stack([ours, theirs])
        assert np.linalg.matrix_rank(ours) == np.linalg.matrix_rank(theirs) == np.linalg.matrix_rank(both)


FACTORS = st.sampled_from(["age", "sex", "C(cp)", "factor(ward)", "log(x_1)", "sqrt(b)", "_z", "T", "I", "in_", "e1"])
PRODUCTS = st.lists(FACTORS, min_size=1, max_size=3).map(" : ".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(PRODUCTS, min_size=1, max_size=5), st.sampled_from(["+", " + "]))
def test_a_plain_sum_reads_as_the_grammar_reads_it(products: list[str], plus: str) -> None:
    right = plus.join(products)
    assert formula._SUM.fullmatch(right)
    assert not formula._SUM.fullmatch(f"({right})")
    for left in ("y ~ ", "log(y)~"):
        assert formula.parse(left + right) == formula.parse(f"{left}({right})")
    assert formula.parse(right, "y") == formula.parse(f"({right})", "y")


def test_a_plain_sum_is_read_without_formulaic_and_pandas() -> None:
    code = (
        "import sys; from hansa.jobs.regression import formula; formula.parse('y ~ age + C(cp):sex');"
        "raise SystemExit('formulaic' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
