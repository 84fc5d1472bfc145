"""The report of one answer, to print or to file: what was asked and how, what came out, who learned what, how to check.

Pure: everything it says comes in. It says no more than the page does to the person for whom it was made.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd
from msgspec import Struct

from hansa.hub.job_detail import JobDetail
from hansa.jobs import KINDS, form
from hansa.jobs.exhibit import Method
from hansa_dashboard import paper
from hansa_dashboard.drawing.picture import Picture
from hansa_dashboard.methods import GAUSSIAN, SECURE_SUM, method
from hansa_dashboard.paper import Block, Chapter, Code, Figure, Grid, Listing, Text
from hansa_dashboard.words import bare, listed, some, subject, title
from hansa_dashboard.words import size as bytes_of

MOST_ROWS: Final = 500  # of a table on paper; the file has all


class Beside(Struct, frozen=True, kw_only=True):
    """What a report says that is not the job's: where and by what it was made, and for whom."""

    consortium: str
    charter: str  # "version 3"
    software: str  # "Hansa 0.2.0"
    reader: str  # "ada of east"
    made_at: float
    learned: tuple[str, ...]  # who learned what, and what stands between the answer and a person, as the page says it
    evidence: str = ""  # its SHA-256; empty where it is not for who reads, or is not there


def report(detail: JobDetail, picture: Picture | None, plots: Sequence[str], beside: Beside) -> bytes:
    """`plots` are the picture's, as SVG. Of a job that has an answer which its reader may see."""
    view = detail.view
    about = subject(view.kind, detail.parameters)
    heading = f"{title(view.kind)}{f': {about}' if about else ''}"
    lead = [
        f"Table {view.table}, asked by {view.person} of {view.proposer} on {_time(view.created_at)}"
        + (f" for: {detail.purpose}." if detail.purpose else "."),
        f"Consortium {beside.consortium}, charter {beside.charter}. Job {view.run}. Made by {beside.software} for "
        f"{beside.reader} on {_time(beside.made_at)}.",
    ]
    chapters = [
        Chapter("Question", _question(detail)),
        Chapter("Answer", _answer(detail, picture, plots)),
        Chapter("Who is in it", _who(detail)),
        Chapter("Method", _method(detail)),
        Chapter("Protection, and who learned what", (Listing(tuple(map(bare, beside.learned))),)),
        Chapter("Disclosure rules and noise", _rules(detail)),
        Chapter("How to check it", _check(detail, beside)),
    ]
    return paper.html(heading, lead, chapters)


def _time(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _question(detail: JobDetail) -> tuple[Block, ...]:
    kind, given = detail.view.kind, detail.parameters
    fields = {field.name: field.title for field in form(kind)} if kind in KINDS else {}
    rows = tuple((fields.get(name, name), _said(value)) for name, value in given.items() if value not in (None, {}, []))
    about = subject(kind, given)
    of = f": {about}" if about else ""
    return (
        Text(f"{title(kind)}{of}, over the table {detail.view.table} of {some(len(detail.sites), 'institution')}."),
        Grid(("Parameter", "Asked"), rows),
    )


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said(one) for one in value)
    return str(value)


def _answer(detail: JobDetail, picture: Picture | None, plots: Sequence[str]) -> tuple[Block, ...]:
    found: list[Block] = [Text(remark, "warning") for remark in detail.remarks]
    if picture is None:
        found.append(Text("This version has no table for answers of this kind; the JSON file is the answer."))
    else:
        found.append(Grid(("Figure", "Value"), picture.facts))
        found += [Figure(svg, plot.says) for svg, plot in zip(plots, picture.plots, strict=True)]
        found += _table(picture.table)
        for heading, table in picture.more:
            found += [Text(f"{heading[:1].upper()}{heading[1:]}"), *_table(table)]
    notes = detail.answer.get("notes", ()) if detail.answer else ()
    return (*found, *(Text(f"Note: {note}.") for note in notes))


def _table(table: pd.DataFrame) -> list[Block]:
    shown = table.head(MOST_ROWS)
    rows = tuple(tuple(map(_cell, row)) for row in shown.astype(object).itertuples(index=False, name=None))
    found: list[Block] = [Grid(tuple(map(str, table.columns)), rows)]
    if len(table) > MOST_ROWS:
        found.append(Text(f"These are the first {MOST_ROWS} of {len(table)} rows; the CSV file has all."))
    return found


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "not shown"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _who(detail: JobDetail) -> tuple[Block, ...]:
    rows = tuple((site.site, site.stage, site.reason, bytes_of(site.bytes_moved)) for site in detail.sites)
    inside = [site.site for site in detail.sites if site.took_part]
    return (
        Text(
            f"The answer holds the numbers of {listed(inside)}: {len(inside)} of {len(detail.sites)} that were asked."
        ),
        Grid(("Institution", "Stage", "Reason", "Letters, both ways"), rows),
        Text(
            f"Ended {_time(detail.view.ended_at)}. At least {detail.minimum_sites} had to take part. "
            + ("Recipients: " + listed(detail.recipients) if detail.recipients else "The plan names no recipients")
            + "."
        ),
    )


def _method(detail: JobDetail) -> tuple[Block, ...]:
    found = method(detail.view.kind, detail.answer or {}, detail.noise)
    if found is None:
        return (Text("The kind is not of this version's catalogue; whoever made it says what it computes."),)
    return (*_of(found), Text(SECURE_SUM.text), Text(f"After {'; '.join(SECURE_SUM.sources)}."))


def _of(found: Method) -> tuple[Block, ...]:
    blocks: list[Block] = [Text(found.text)]
    if found.formulas:
        blocks.append(Code("\n".join(found.formulas)))
    if found.sources:
        blocks.append(Text(f"After {'; '.join(found.sources)}."))
    return tuple(blocks)


def _rules(detail: JobDetail) -> tuple[Block, ...]:
    rules, noise = detail.disclosure, detail.noise
    if noise is not None:
        epsilon, delta = noise.written
        rows: tuple[tuple[str, str], ...] = (("ε", epsilon), ("δ", delta), ("hides", noise.hides))
        deviations = (detail.answer or {}).get("noise", {}).get("deviations", {})
        rows += tuple(
            (f"standard deviation in each number of '{name}'", f"{value:.6g}") for name, value in deviations.items()
        )
        return (Text("The totals carry noise."), Grid(("Noise", "Value"), rows), *_of(GAUSSIAN))
    none = Text("No noise was added: the figures are exact up to rounding, but for what was left out or rounded.")
    if rules is None:
        return (none, Text("The plan is of Hansa 0.1 and has no rules of disclosure: small counts are shown."))
    held = (
        ("least count that is shown, but for 0", str(rules.minimum_cell)),
        ("counts are rounded to multiples of", str(rules.round_to)),
        ("parameters of a model per hundred records, at most", str(rules.parameters_percent)),
        ("one row's part of a column's sum at a site, at most", f"{rules.dominance_percent} %"),
        ("rows that a site must have in the question", str(rules.minimum_rows)),
    )
    return (none, Grid(("Rule", "Value"), held))


def _check(detail: JobDetail, beside: Beside) -> tuple[Block, ...]:
    run = detail.view.run
    digests = [("plan", detail.plan_digest), ("answer: the SHA-256 of its JSON file", detail.answer_digest)]
    if beside.evidence:
        digests.append(("evidence: the SHA-256 of the file `evidence` in it", beside.evidence))
    return (
        Grid(("Digest of", "Value"), tuple(digests)),
        Text("Whoever has the evidence and a member's own charter recomputes every total and this answer, offline:"),
        Code(
            f"hansa audit evidence {run} --out evidence.zip      (at the hub)\n"
            "hansa audit replay --file evidence.zip --charter YOUR-OWN-CHARTER"
        ),
        Text("Whoever has an export of the log checks that this question was signed, consented to and released:"),
        Code("hansa audit export EXPORT      (at the hub)\nhansa audit verify EXPORT --charter YOUR-OWN-CHARTER"),
        Text("This page was made by the hub, and proves nothing by itself."),
    )
