"""What `quality` answers and shows: a sheet of counts, one of figures, one of findings, what is missing as bars."""

from msgspec import UNSET, field
from msgspec.structs import replace

from hansa.jobs import checks
from hansa.jobs.agreement import Finding
from hansa.jobs.base import Answer
from hansa.jobs.brackets import PERCENT
from hansa.jobs.checks import CHECKS, Checked
from hansa.jobs.exhibit import Bars, Cell, Exhibit, Sheet
from hansa.jobs.under_noise.ranges import Ends
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

_HEADINGS = {
    "missing": "missing",
    "unusable": "infinite",
    "whole": "whole numbers",
    "zero": "zero",
    "below": "below range",
    "above": "above range",
    "undeclared": "not declared",
    "blanks": "blank at an end",
}


class QualityAnswer(Answer, frozen=True, tag="quality", kw_only=True):
    """`ranges` and `categories` are those that the columns were held against."""

    rows: int | None
    columns: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    ranges: dict[str, Ends] = field(default_factory=dict)
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def disclosed(self, rules: Rules) -> "QualityAnswer":
        """Refused over few rows; a column of few values has no mean, and small counts are left out."""
        disclosure.refuse_few(self.rows or 0, "what the columns hold", rules)
        found = tuple(checks.shown(one, self.ranges.get(one.column), rules) for one in self.columns)
        left_out = any(getattr(one, name) is None for one in found for name in ("n", *CHECKS))
        rows = disclosure.shown(self.rows or 0, rules)
        return replace(self, rows=rows, columns=found, notes=self.notes + disclosure.note(rules, left_out))

    def exhibit(self) -> Exhibit:
        return _exhibit(self)


def _exhibit(answer: QualityAnswer) -> Exhibit:
    facts = (
        ("Rows", "not shown" if answer.rows is None else f"{answer.rows:,}"),
        ("Columns", f"{len(answer.columns)}"),
        ("Findings in the schemas", f"{len(answer.findings)}"),
    )
    used = [check for check in CHECKS if any(getattr(one, check) is not UNSET for one in answer.columns)]
    counts = tuple((one.column, one.n, *(_cell(one, check) for check in used), _unseen(one)) for one in answer.columns)
    headings = ("column", "values", *(_HEADINGS[check] for check in used), "categories without a row")
    sheets = [Sheet("Columns", headings, counts)]
    numbers = [one for one in answer.columns if one.type == "number"]
    if numbers:
        shares = tuple(f"{percent}%" for percent in PERCENT)
        rows = tuple((one.column, _cell(one, "mean"), _cell(one, "sd"), *_brackets(one, shares)) for one in numbers)
        sheets.append(Sheet("Numbers", ("column", "mean", "sd", *shares), rows))
    drifts = [(one.column, one.drift) for one in numbers if one.drift]
    if drifts:
        told = tuple((name, d.f, d.df_between, d.df_within, d.p, d.eta_squared, d.i_squared) for name, d in drifts)
        heads = ("column", "F", "df between", "df within", "p", "eta squared", "I squared")
        sheets.append(Sheet("Drift between tables", heads, told))
    if answer.findings:
        found = tuple((one.column, one.about, one.says) for one in answer.findings)
        sheets.append(Sheet("Where tables differ", ("column", "about", "finding"), found))
    return Exhibit(facts, tuple(sheets), (_missing(answer),) if answer.columns else ())


def _missing(answer: QualityAnswer) -> Bars:
    shares = tuple(
        100 * one.missing / answer.rows if one.missing is not None and answer.rows else None for one in answer.columns
    )
    known = [(share, one.column) for share, one in zip(shares, answer.columns, strict=True) if share is not None]
    says = f"How many per cent of the rows have no value, for each of {len(shares)} columns."
    if known:
        most, column = max(known)
        says += f" Most, {most:.3g} %, in {column}."
    left_out = len(shares) - len(known)
    says += f" {left_out} of them are left out, and are small but not zero." if left_out else ""
    return Bars(says=says, x="missing, % of rows", labels=tuple(one.column for one in answer.columns), values=shares)


def _cell(one: Checked, name: str) -> Cell:
    value = getattr(one, name)
    return None if value is UNSET else value


def _unseen(one: Checked) -> str:
    return ", ".join(one.unseen) if isinstance(one.unseen, tuple) else ""


def _brackets(one: Checked, shares: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(one.quantiles, dict):
        return ("",) * len(shares)
    found = [one.quantiles[share] for share in shares]
    return tuple(f"{bracket.low:.6g} to {bracket.high:.6g}" for bracket in found)
