"""What may be asked. One file a kind; `KINDS` is the catalogue.

    base.py               the shape of a job: begin, encode, advance; blocks, steps, totals, tables
    exhibit.py            what an answer shows: facts, sheets of figures, plots
    summary.py            `summary`: count, mean, variance, brackets of quantiles
    quality.py            `quality`: what columns hold, and where tables differ; checks.py, agreement.py, drift.py
    histogram.py          `histogram`: counts in intervals
    quantiles.py          `quantiles`: any of them, each as an interval of at least so many rows
    table.py              `table`: counts of categories, one or two columns; strata.py, odds.py for a third
    correlation.py        `correlation`: Pearson's, of each pair of columns
    t_tests.py            `t_test`: Welch's and Student's tests of means
    anova.py              `anova`: one-way analysis of variance; groups.py is what the two have in common
    glm.py                `glm`: linear, logistic, Poisson, gamma regression; regression/ is what it is made of
    assessment.py         `assessment`: ROC, AUC and calibration of a fitted logistic model
    meta_analysis.py      `meta_analysis`: each site's own regression, combined
    kaplan_meier.py       `kaplan_meier`: survival curves and the log-rank test; survival/ is what it is made of
    cox.py                `cox`: proportional hazards regression
    pca.py                `pca`: principal components; multivariate/ is what it and k_means are made of
    k_means.py            `k_means`: clusters of rows by their nearest centre
    gradient_boosting.py  `gradient_boosting`: boosted trees; trees/ is what it is made of
    magnitude.py          how large numbers are, found without seeing them
    centring.py           sums of squares and products that lose no digits
    levels.py             the categories of a column, declared or found
    brackets.py           quantiles between two bounds
    under_noise/          the kinds under noise
    verification.py       whether a step follows from the total before it
    example.py            the tiny tables of the examples

A new kind is a file with a `Job`, an `Answer` and an `EXAMPLE`, and its module in `_MODULES`. Another house's is the
same in a package of its own: `hansa.installed` brings it here.
"""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import (
    anova,
    assessment,
    correlation,
    cox,
    glm,
    gradient_boosting,
    histogram,
    k_means,
    kaplan_meier,
    meta_analysis,
    pca,
    quality,
    quantiles,
    summary,
    t_tests,
    table,
)
from hansa.jobs.base import Answer, Example, Job

_MODULES = (
    summary,
    quality,
    histogram,
    quantiles,
    table,
    correlation,
    t_tests,
    anova,
    glm,
    assessment,
    meta_analysis,
    kaplan_meier,
    cox,
    pca,
    k_means,
    gradient_boosting,
)

_examples: dict[str, Example] = {str(type(one.EXAMPLE.job).__struct_config__.tag): one.EXAMPLE for one in _MODULES}
_kinds: dict[str, type[Job]] = {kind: type(example.job) for kind, example in _examples.items()}
EXAMPLES: Mapping[str, Example] = MappingProxyType(_examples)
KINDS: Mapping[str, type[Job]] = MappingProxyType(_kinds)


def add(kind: str, module: ModuleType) -> None:
    """Takes up another house's kind that was imported into this process (`hansa.installed`), or says what it lacks."""
    example = getattr(module, "EXAMPLE", None)
    if not isinstance(example, Example):
        raise Refused(f"the module {module.__name__} holds no EXAMPLE of a kind")
    tags = {type(one).__struct_config__.tag for one in (example.job, example.answer)}
    if tags != {kind}:
        raise Refused(f"the job and the answer of {module.__name__} don't carry the tag '{kind}', as its entry point")
    if kind in _kinds:
        raise Refused(f"there is a kind '{kind}' already")
    _examples[kind], _kinds[kind] = example, type(example.job)


class Field(Struct, frozen=True, kw_only=True):
    """One parameter of a kind, as a form shows it; `levels` maps columns to their categories, `ranges` to two
    numbers."""

    name: str
    title: str
    description: str
    type: Literal[
        "text",
        "number",
        "integer",
        "choice",
        "list",
        "levels",
        "ranges",
        "column",
        "columns",
        "formula",
        "numbers",
        "coefficients",
    ]
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None


def _class(kind: str) -> type[Job]:
    if kind not in KINDS:
        raise Refused(f"there is no kind '{kind}'; there are {', '.join(KINDS)}")
    return KINDS[kind]


def parse(kind: str, parameters: Mapping[str, object]) -> Job:
    """The job that a form's or a plan's parameters mean, or one sentence that says which of them is wrong."""
    cls = _class(kind)
    fields = {field.name: field for field in form(kind)}
    for name in parameters:
        if name not in fields:
            raise Refused(f"'{kind}' has no parameter '{name}'; it has {', '.join(fields)}")
    for field in fields.values():
        if field.required and field.name not in parameters:
            raise Refused(f"'{kind}' needs the parameter '{field.name}'")
    types = {field.encode_name: field.type for field in msgspec.structs.fields(cls)}
    for name, value in parameters.items():
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise Refused(f"the parameter '{name}' of '{kind}' is due as {_due(fields[name])}") from error
    job = msgspec.convert({"kind": kind, **parameters}, cls)
    job.columns()
    return job


def form(kind: str) -> tuple[Field, ...]:
    """The parameters of a kind, in the order in which a form asks for them."""
    return tuple(_field(field) for field in msgspec.structs.fields(_class(kind)))


def encode_answer(answer: Answer) -> bytes:
    """JSON, with coefficients and columns in the order of the question."""
    return msgspec.json.encode(answer)


def decode_answer(data: bytes) -> Answer:
    """The answer of whichever kind `data` (JSON) names."""
    try:
        every: Any = Union[tuple(type(example.answer) for example in EXAMPLES.values())]  # noqa: UP007
        answer: Answer = msgspec.json.decode(data, type=every)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolViolation("what was given is not the answer of a known kind") from error
    return answer


def _field(field: msgspec.structs.FieldInfo) -> Field:
    type_, metas = _plain(field.type)
    meta: dict[str, Any] = {}
    for found in metas:
        for name in ("title", "description", "ge", "le", "extra"):
            if getattr(found, name) is not None:
                meta.setdefault(name, getattr(found, name))
    choices = tuple(str(choice) for choice in get_args(type_)) if get_origin(type_) is Literal else ()
    sort: Any = meta.get("extra", {}).get("form") or _sort(type_)
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if default is UNSET:  # left out of a plan that does not use it, so that a plan of before keeps its bytes
        default = None if sort == "column" else {}
    return Field(
        name=field.encode_name,
        title=meta.get("title", field.encode_name),
        description=meta.get("description", ""),
        type=sort,
        choices=choices,
        default=None if field.required else default,
        required=field.required,
        minimum=meta.get("ge"),
        maximum=meta.get("le"),
    )


def _plain(type_: Any) -> tuple[Any, list[Meta]]:
    """A type without Annotated and without `| None` or `| UnsetType`, and the Meta met on the way, outermost first."""
    metas: list[Meta] = []
    while True:
        if get_origin(type_) is Annotated:
            metas += [meta for meta in type_.__metadata__ if isinstance(meta, Meta)]
            type_ = type_.__origin__
            continue
        some = [part for part in get_args(type_) if part not in (type(None), UnsetType)]
        if len(some) == len(get_args(type_)) or len(some) != 1:
            return type_, metas
        type_ = some[0]


def _sort(type_: Any) -> str:
    if get_origin(type_) is Literal:
        return "choice"
    return {int: "integer", float: "number", str: "text", tuple: "list", dict: "levels"}[get_origin(type_) or type_]


def _due(field: Field) -> str:
    """What a form's field wants, in words."""
    words = {
        "text": "text",
        "formula": "a formula of at most 500 characters",
        "number": "a number",
        "integer": "a whole number",
        "choice": f"one of {', '.join(field.choices)}",
        "list": "a list of texts",
        "numbers": "a list of numbers",
        "coefficients": "a mapping from the names of terms to numbers",
        "levels": "a mapping from column names to lists of categories",
        "ranges": "a mapping from column names to two numbers each, the least and the largest",
        "column": "the name of a column",
        "columns": "a list of column names",
    }
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", field.minimum), ("at most", field.maximum))
        if limit is not None
    ]
    few = " (1 to 64 of them)" if field.type == "columns" else ""
    return " ".join([words[field.type] + few, " and ".join(limits)]).strip()
