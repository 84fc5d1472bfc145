"""Answers as tables of text, one layout a kind."""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
WIDEST_TABLE = 12  # columns of counts that fit a terminal; more are shown as rows


_NUMBER = re.compile(r"[-+–]?[\d.–]+(e[-+]?\d+)?( [±…] .*)?$")


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    drawn = Table(title=title, title_justify="left", show_header=any(headings))
    for place, heading in enumerate(headings):
        numbers = all(_NUMBER.match(row[place]) for row in rows)
        drawn.add_column(heading, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    out.print(drawn, crop=False)


def number(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def within(value: float, bound: float) -> str:
    """A value and the bound on its error, the bound rounded up and the value to the digits that it warrants."""
    if not bound:
        return f"{value:.17g}"
    exponent = math.floor(math.log10(bound))
    leading = math.ceil(bound / 10.0**exponent * (1 - 1e-12))
    size = math.floor(math.log10(abs(value))) if value else exponent
    return f"{value:.{min(max(size - exponent + 1, 1), 17)}g} ± {leading}e{exponent:+03d}"


def print_answer(kind: str, answer: Mapping[str, Any]) -> None:
    """The answer of any kind: as its kind lays it out."""
    if kind in _LAYOUTS:
        _LAYOUTS[kind](answer)
    else:
        _declared(kind, answer)
    if (noise := answer.get("noise")) is not None:
        _noise(answer, noise)
    for note in answer.get("notes", ()):
        out.print(f"  {note}")


def _noise(answer: Mapping[str, Any], noise: Mapping[str, Any]) -> None:
    """How loud the noise is, wherever the answer tells it."""
    from hansa.privacy.noise import hidden  # numpy is not needed for other answers

    rows = [
        ["for", hidden(noise["unit"], noise["id_column"], noise["rows_per_person"])],
        ["epsilon", number(noise["epsilon"])],
        ["delta", number(noise["delta"])],
    ]
    rows += [
        [f"standard error of {what}", number(answer[name])]
        for name, what in (("std_error", "a count"), ("n_std_error", "all rows"))
        if name in answer
    ]
    for column, figures in answer["columns"].items() if "columns" in answer else ():
        rows += [
            [f"standard error of {name.removesuffix('_error')}, {column}", number(figures[name])]
            for name in ("count_error", "mean_error", "variance_error")
            if figures.get(name) is not None
        ]
    table("noise", ["", ""], rows)


def _summary(answer: Mapping[str, Any]) -> None:
    columns: dict[str, dict[str, Any]] = answer["columns"]
    rows = [
        [
            name,
            number(figures["count"]),
            number(figures["missing"]),
            within(figures["mean"], figures["mean_precision"]),
            within(figures["variance"], figures["variance_precision"]),
            f"{figures['sd']:.12g}",
        ]
        for name, figures in columns.items()
    ]
    table("summary (± what fixed point may have rounded)", ["", "count", "missing", "mean", "variance", "sd"], rows)
    chances = list(next(iter(columns.values()))["quantiles"]) if columns else []
    brackets = [
        [name, *(_bracket(figures["quantiles"][chance]) for chance in chances)] for name, figures in columns.items()
    ]
    table("quantiles, each within its bracket", ["", *chances], brackets)


def _bracket(bracket: Mapping[str, Any]) -> str:
    """Both ends with the digits that tell them apart."""
    low, high = bracket["low"], bracket["high"]
    digits = next((some for some in range(6, 18) if f"{low:.{some}g}" != f"{high:.{some}g}"), 17)
    return f"{low:.{digits}g} … {high:.{digits}g}"


def _glm(answer: Mapping[str, Any]) -> None:
    statistic = "t" if answer["family"] in ("gaussian", "gamma") else "z"
    error = "robust error" if answer.get("errors") == "robust" else "std. error"
    rows = [
        [name, f"{found['estimate']:.9g}", f"{found['std_error']:.9g}", number(found["z"]), number(found["p"])]
        for name, found in answer["coefficients"].items()
    ]
    table(f"{answer['family']}: {answer['formula']}", ["", "estimate", error, statistic, "p"], rows)
    facts = ("n", "dropped", "df", "deviance", "null_deviance", "aic", "dispersion", "iterations", "precision")
    table("fit", ["", ""], [[name.replace("_", " "), _figure(answer[name])] for name in facts])


def _figure(value: float | None) -> str:
    return number(None) if value is None else f"{value:.9g}"


def _histogram(answer: Mapping[str, Any]) -> None:
    edges, counts = answer["edges"], answer["counts"]
    longest = max([1, *(count or 0 for count in counts)])
    rows = [["below", number(answer["below"]), ""]]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        rows.append([f"{number(low)} … {number(high)}", number(count), "█" * round(40 * (count or 0) / longest)])
    rows += [["above", number(answer["above"]), ""], ["missing", number(answer["missing"]), ""]]
    table(f"histogram of {number(answer['n'])} rows", ["", "rows", "share"], rows)


def _counts(answer: Mapping[str, Any]) -> None:
    names, totals = list(answer["column_names"]), answer["row_totals"]
    if len(names) > WIDEST_TABLE:
        cells = [
            [f"{row} × {column}", number(count)]
            for row, line in zip(answer["row_names"], answer["counts"], strict=True)
            for column, count in zip(names, line, strict=True)
        ]
        table(f"counts of {number(answer['n'])} rows", ["", "rows"], cells)
    else:
        lines = zip(answer["row_names"], answer["counts"], totals, strict=True)
        rows = [[name, *map(number, line), number(total)] for name, line, total in lines]
        rows.append(["total", *map(number, answer["column_totals"]), number(answer["n"])])
        table(f"counts of {number(answer['n'])} rows", ["", *names, "total"], rows)
    facts = ("missing", "chi_squared", "df", "p")
    table("test", ["", ""], [[name.replace("_", " "), number(answer[name])] for name in facts])


def _declared(kind: str, answer: Mapping[str, Any]) -> None:
    """As the kind declares it; name by name if the kind isn't installed here."""
    import msgspec

    from hansa.errors import ProtocolViolation
    from hansa.jobs import decode_answer  # numpy is not needed for other answers

    try:
        exhibit = decode_answer(msgspec.json.encode({"kind": kind, **answer})).exhibit()
    except ProtocolViolation:
        table("answer", ["", ""], [[name.replace("_", " "), str(value)] for name, value in answer.items()])
        return
    for sheet in exhibit.sheets:
        table(sheet.title, sheet.headings, [[number(cell) for cell in row] for row in sheet.rows])
    if exhibit.facts:
        table("figures", ["", ""], exhibit.facts)


_LAYOUTS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "summary": _summary,
    "glm": _glm,
    "histogram": _histogram,
    "table": _counts,
}
