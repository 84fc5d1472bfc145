"""One battery for every kind of job: its example, its steps, its parameters, and what a site must refuse."""

from collections.abc import Iterator
from math import isclose
from typing import Any

import msgspec
import numpy as np
import pytest

from hansa import jobs
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Example, Flags, Step, Table
from hansa.jobs.meta_analysis import MetaAnalysis
from tests.real_rows import Chance, ask, joined

EXAMPLES = list(jobs.EXAMPLES.values())
every_kind = pytest.mark.parametrize("example", EXAMPLES, ids=list(jobs.EXAMPLES))


def steps(example: Example) -> Iterator[tuple[Step, dict[str, dict[str, Any]]]]:
    """Every step of an example with its contributions."""
    tables = example.tables
    step: Step | Answer = example.job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        shares = {site: dict(example.job.encode(table, step)) for site, table in tables.items()}
        yield step, shares
        vectors = [base.to_ring(step, share, Chance(site)) for site, share in shares.items()]
        step = example.job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))


def alike(one: Any, two: Any, tolerance: float) -> bool:
    """Equal but for rounding; declared precisions may differ with the number of sites, so they are left out."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = [key for key in one if "precision" not in key]
        return one.keys() == two.keys() and all(alike(one[key], two[key], tolerance) for key in keys)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(alike(*pair, tolerance) for pair in zip(one, two, strict=True))
    if isinstance(one, float) and isinstance(two, float):
        return isclose(one, two, rel_tol=tolerance, abs_tol=tolerance)
    return bool(one == two)


def same(one: Answer, two: Answer, tolerance: float = 1e-10) -> bool:
    return alike(msgspec.to_builtins(one), msgspec.to_builtins(two), tolerance)


@every_kind
def test_an_example_gives_its_answer(example: Example) -> None:
    assert same(ask(example.job, example.tables), example.answer)


@every_kind
def test_it_does_not_matter_who_holds_which_row(example: Example) -> None:
    if isinstance(example.job, MetaAnalysis):
        pytest.skip("each site fits its own rows, so it does matter who holds them")
    every = joined(example.tables)
    schema = msgspec.structs.replace(
        every.schema,
        columns=tuple(
            msgspec.structs.replace(
                column,
                categories=tuple(
                    dict.fromkeys(
                        name
                        for table in example.tables.values()
                        for name in table.schema.column(column.name).categories
                    )
                ),
            )
            for column in every.schema.columns
        ),
    )
    for sites in (1, 2, 5):
        tables = {
            str(site): Table(
                schema,
                len(range(site, every.rows, sites)),
                {name: values[site::sites] for name, values in every.columns.items()},
            )
            for site in range(sites)
        }
        assert same(ask(example.job, tables), example.answer)


@every_kind
def test_a_site_without_rows_changes_nothing(example: Example) -> None:
    some = next(iter(example.tables.values()))
    nothing = Table(some.schema, 0, {name: values[:0] for name, values in some.columns.items()})
    assert same(ask(example.job, {**example.tables, "empty": nothing}), example.answer)


@every_kind
def test_the_same_rows_step_and_chance_give_the_same_bytes(example: Example) -> None:
    for step, _ in steps(example):
        for table in example.tables.values():
            once, again = (base.to_ring(step, example.job.encode(table, step), Chance()) for _ in range(2))
            assert once.tobytes() == again.tobytes()


@every_kind
def test_a_share_has_the_shapes_that_its_step_names(example: Example) -> None:
    for step, shares in steps(example):
        base.check_step(step, len(example.tables))
        for share in shares.values():
            assert {block.name: block.shape for block in step.blocks} == {
                name: np.shape(values) for name, values in share.items()
            }


@every_kind
def test_numbers_instead_of_flags_are_not_given(example: Example) -> None:
    for step, _ in steps(example):
        counted = tuple(
            base.reals(block.name, block.shape, 1.0, 2) if isinstance(block, Flags) else block for block in step.blocks
        )
        if counted != step.blocks:
            with pytest.raises(ProtocolViolation):
                example.job.encode(next(iter(example.tables.values())), msgspec.structs.replace(step, blocks=counted))


@every_kind
def test_a_state_of_another_shape_is_refused(example: Example) -> None:
    table = next(iter(example.tables.values()))
    wrong = [b"", b"\xc0", b"\x80", b"\x93\x01\x02\x03", b"\x81\xa4turn\x09", b"\xff" * 40, b"\x91" * 2000]
    for step, _ in steps(example):
        for state in [*wrong, step.state + b"\x00", step.state[:-1]]:
            with pytest.raises((ProtocolViolation, Refused)):
                example.job.encode(table, msgspec.structs.replace(step, state=state))


@every_kind
def test_a_state_with_any_byte_changed_never_breaks_a_site(example: Example) -> None:
    table = next(iter(example.tables.values()))
    for step, _ in steps(example):
        for place in range(0, len(step.state), max(1, len(step.state) // 150)):
            for flipped in (0x01, 0x80, 0x10):
                state = bytearray(step.state)
                state[place] ^= flipped
                other = msgspec.structs.replace(step, state=bytes(state))
                try:
                    base.to_ring(other, example.job.encode(table, other), Chance())
                except (ProtocolViolation, Refused):
                    continue


@every_kind
def test_an_answer_and_a_question_survive_json(example: Example) -> None:
    assert jobs.decode_answer(jobs.encode_answer(example.answer)) == example.answer
    parameters = msgspec.to_builtins(example.job)
    kind = parameters.pop("kind")
    assert jobs.parse(kind, parameters) == example.job


@every_kind
def test_a_kind_says_what_it_is_and_what_it_reveals(example: Example) -> None:
    assert example.job.title and example.job.learns
    for field in jobs.form(str(type(example.job).__struct_config__.tag)):
        assert field.title and field.description.endswith(".")
        assert field.required or field.default is not None or field.type in ("number", "column")


def test_the_catalogue_lists_the_kinds() -> None:
    assert {"summary", "histogram", "table", "glm"} <= set(jobs.KINDS)


BAD = {
    "an unknown kind": ("horoscope", {}, "there is no kind 'horoscope'"),
    "an unknown parameter": ("summary", {"columns": ["age"], "colour": 1}, "no parameter 'colour'"),
    "a missing parameter": ("summary", {}, "needs the parameter 'columns'"),
    "text for a list": ("summary", {"columns": "age"}, "a list of column names"),
    "an empty list": ("summary", {"columns": []}, "a list of column names"),
    "a column twice": ("summary", {"columns": ["age", "age"]}, "twice"),
    "text for a number": ("histogram", {"column": "age", "bins": "many"}, "'bins'"),
    "yes for a number": ("histogram", {"column": "age", "bins": True}, "'bins'"),
    "too few bins": ("histogram", {"column": "age", "bins": 1}, "at least 2"),
    "half a range": ("histogram", {"column": "age", "low": 1.0}, "both ends"),
    "a range backwards": ("histogram", {"column": "age", "low": 2.0, "high": 1.0}, "not below"),
    "not a number": ("histogram", {"column": "age", "low": float("nan"), "high": 1.0}, "'low'"),
    "one column against itself": ("table", {"rows": "a", "columns": "a"}, "twice"),
    "categories of a stranger": ("table", {"rows": "a", "levels": {"b": ["x"]}}, "column 'b'"),
    "a category twice": ("table", {"rows": "a", "levels": {"a": ["x", "x"]}}, "twice"),
    "no category": ("table", {"rows": "a", "levels": {"a": []}}, "'levels'"),
    "an unknown family": ("glm", {"formula": "y ~ x", "family": "tweedie"}, "gaussian, binomial, poisson"),
    "too many iterations": ("glm", {"formula": "y ~ x", "family": "poisson", "max_iterations": 1000}, "at most 100"),
    "no outcome": ("glm", {"formula": "~ x", "family": "poisson"}, "no outcome"),
    "two outcomes": ("glm", {"formula": "y ~ x", "family": "poisson", "outcome": "z"}, "differently"),
}


@pytest.mark.parametrize(("kind", "parameters", "due"), BAD.values(), ids=list(BAD))
def test_bad_parameters_are_refused_in_one_sentence(kind: str, parameters: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused) as refusal:
        jobs.parse(kind, parameters)
    sentence = str(refusal.value)
    assert due in sentence and "\n" not in sentence and ". " not in sentence and not sentence.endswith(".")


def test_importing_the_catalogue_loads_nothing_slow() -> None:
    import subprocess
    import sys
    from pathlib import Path

    program = "import sys, hansa.jobs; print([m for m in ('pandas', 'scipy', 'formulaic') if m in sys.modules])"
    platform = Path(jobs.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=platform, text=True)
    assert ran.stdout.strip() == "[]"
