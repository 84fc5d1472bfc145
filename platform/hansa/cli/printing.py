"""Answers and progress as text, for people at a terminal."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hansa.cli.answers import out, print_answer, table

if TYPE_CHECKING:
    from hansa.hub.queries import JobDetail, JobView
    from hansa.hub.reviewing import LogEntry
    from hansa.jobs.base import Schema
    from hansa.mail.checks import Finding
    from hansa_site.log_state import Own

err = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal, a line per change elsewhere; an empty text ends it."""
    if not err.is_terminal:
        yield lambda now: err.print(f"… {now}") if now else None
        return
    with err.status(text) as spinner:
        yield lambda now: spinner.update(now) if now else spinner.stop()


def write_json(path: Path | None, outcome: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(outcome, indent=1, allow_nan=False) + "\n", encoding="utf-8")


class Progress:
    """A line a site, redrawn while a job runs; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._live = Live(console=err, refresh_per_second=8, transient=True) if err.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, detail: "JobDetail") -> None:
        if self._live is None:
            return
        table = Table(title=f"{detail.view.kind} over {detail.view.table}: {detail.view.step or detail.view.status}")
        for heading in ("site", "stage", "KiB"):
            table.add_column(heading, justify="right" if heading == "KiB" else "left")
        for site in detail.sites:
            table.add_row(site.site, site.stage, f"{site.bytes_moved / 1024:.0f}")
        self._live.update(table)


def print_outcome(outcome: dict[str, Any]) -> None:
    """The answer, then who is in it and what it cost."""
    print_answer(outcome["kind"], outcome["answer"])
    for remark in outcome["remarks"]:
        out.print(f"! {remark}")
    moved = outcome["bytes_per_site"]
    out.print(
        f"{outcome['kind']}: {len(outcome['participants'])} sites ({', '.join(outcome['participants'])}), "
        f"{outcome['seconds']:.1f} s, {max(moved.values(), default=0) / 1024:.0f} KiB at most per site, "
        f"log of {outcome['audit']['size']} entries, head {outcome['audit']['head'][:16]}…"
    )


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_jobs(views: "Sequence[JobView]") -> None:
    rows = [[view.run, view.kind, view.table, view.proposer, view.status, _when(view.created_at)] for view in views]
    table("jobs", ["run", "kind", "table", "proposer", "status", "asked"], rows)


def print_detail(detail: "JobDetail") -> None:
    view = detail.view
    out.print(f"{view.kind} over {view.table}, asked by {view.proposer}: {view.status} {view.reason}")
    out.print(f"plan {detail.plan_digest}")
    rows = [[site.site, site.stage, site.reason, str(site.bytes_moved)] for site in detail.sites]
    table("sites", ["site", "stage", "reason", "bytes"], rows)
    for line in detail.timeline:
        out.print(f"  {_when(line.at)}  {line.site:<16} {line.text}")
    if detail.answer is not None:
        print_answer(view.kind, {name: value for name, value in detail.answer.items() if name != "kind"})
    for remark in detail.remarks:
        out.print(f"! {remark}")


def print_log(entries: "Sequence[LogEntry]") -> None:
    newest = entries[0].log if entries else ""
    rows = [
        [
            _number(entry.number, entry.log, newest),
            _when(entry.at),
            entry.act,
            entry.by,
            entry.run[:8],
            entry.digest[:16],
        ]
        for entry in reversed(entries)
    ]
    table("log", ["number", "at", "act", "by", "run", "digest"], rows)


def _number(number: int, log: str, newest: str) -> str:
    """Of an entry; with its log, if that is over."""
    return str(number) if log == newest else f"{number} of {log}"


def print_own_entries(entries: "Sequence[Own]") -> None:
    newest = entries[-1].entry.log if entries else ""
    rows = [
        [
            _number(own.sequence, own.entry.log, newest),
            _when(own.entry.milliseconds / 1000),
            own.entry.act,
            own.entry.run[:8],
            "no receipt" if own.number is None else str(own.number),
        ]
        for own in entries
    ]
    table("this site's entries", ["entry", "at", "act", "run", "in the log"], rows)


def print_schema(schema: "Schema") -> None:
    rows = [[column.name, column.type, column.unit, ", ".join(column.categories)] for column in schema.columns]
    table(schema.table, ["column", "type", "unit", "categories"], rows)


def print_acts(acts: Sequence[tuple[float, str, str]]) -> None:
    table("acts of this site", ["at", "run", "what"], [[_when(at), run[:8], text] for at, run, text in acts])


def print_findings(findings: "Sequence[Finding]", as_json: bool) -> int:
    """A line each, in JSON a list; gives the exit code."""
    if as_json:
        import msgspec

        out.print(json.dumps(msgspec.to_builtins(findings), indent=1), markup=False)
    else:
        for finding in findings:
            mend = f". To mend it: {finding.mend}" if finding.mend else ""
            out.print(f"{finding.mark:<6}{finding.about}: {finding.says}{mend}", markup=False)
    return int(any(finding.mark == "wrong" for finding in findings))
