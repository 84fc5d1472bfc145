"""`hansa audit show`: entries of the log, of a hub or of an export."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli.job import open_hub
from hansa.cli.verifying import CODES, Own, held, print_verdict, when
from hansa.errors import Refused
from hansa.export_folder import source_of

if TYPE_CHECKING:
    from hansa.verify.findings import Finding
    from hansa.verify.shown import Shown
    from hansa.verify.verdict import Verdict

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_PAYLOADS = {
    "erased": "(what it says was erased, or is not in the export)",
    "false": "(what lies there for it does not match its commitment, and is not shown)",
}


def show(
    export: Annotated[
        Path | None,
        typer.Argument(metavar="[EXPORT]", help="A folder of `audit export`; without it, at the hub."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", envvar="HANSA_HOME", help="The hub's home; default: what is up here.")
    ] = None,
    run: Annotated[str, typer.Option(help="Only the acts of this job; how its id begins is enough.")] = "",
    member: Annotated[str, typer.Option(help="Only what this member did, or 'hub'.")] = "",
    act: Annotated[str, typer.Option(help="Only this act, such as 'consent given'.")] = "",
    since: Annotated[datetime | None, typer.Option(formats=_DATES, help="By the author's clock, in UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DATES, help="Before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 50,
    charter: Own = None,
    as_json: Annotated[bool, typer.Option("--json", help="Of an export: verdict and entries as JSON.")] = False,
) -> None:
    """The newest acts, oldest of them first. An export is verified first, offline; exit codes are those of `verify`."""
    if export is None:
        if charter is not None or as_json:
            raise Refused("--charter and --json are for an export: name its folder")
        _at_hub(home, run, member, act, (since, until), limit)
        return
    from hansa.verify.shown import Wanted
    from hansa.verify.shown import show as shown

    verdict = held(export, charter)
    wanted = Wanted(member, run, act, _milliseconds(since) or 0, _milliseconds(until))
    entries = shown(source_of(export), verdict.size, wanted, limit)
    (_print_json if as_json else _print)(verdict, entries)
    raise typer.Exit(CODES[verdict.outcome])


def _at_hub(
    home: Path | None,
    run: str,
    member: str,
    act: str,
    times: tuple[datetime | None, datetime | None],
    limit: int,
) -> None:
    from hansa.cli.printing import print_log
    from hansa.hub import reviewing
    from hansa.hub.log_pages import Wanted

    since, until = (None if time is None else time.replace(tzinfo=UTC).timestamp() for time in times)
    wanted = Wanted(member, act, since or 0.0, inf if until is None else until)
    print_log(reviewing.log(open_hub(home), limit, run, wanted))


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)


def _print(verdict: "Verdict", entries: "Sequence[Shown]") -> None:
    from hansa.verify.shown import of_entries

    print_verdict(verdict, verdict.own_charter)
    typer.echo("")
    if verdict.outcome == "false":
        typer.echo("THIS EXPORT DOES NOT HOLD. What follows is what it says, and not what happened:")
    else:
        whole = "" if verdict.outcome == "holds" else ", as far as the export goes"
        typer.echo(f"verified{whole}; the newest {len(entries)} entries that were asked for:")
    found = of_entries(verdict.findings)
    for entry in entries:
        _print_entry(entry, found.get(entry.place, ()))


def _print_entry(entry: "Shown", findings: "Sequence[Finding]") -> None:
    if entry.wrong:
        typer.echo(f"{entry.place:>7}  can't be read: {entry.wrong}")
        return
    run = f"  job {entry.run[:8]}" if entry.run else ""
    typer.echo(f"{entry.place:>7}  {when(entry.milliseconds // 1000)}  {entry.by:<12} {entry.act}{run}")
    lines = [f"{name} {value}" for name, value in entry.details.items()]
    if entry.payload != "none":
        lines.append(_PAYLOADS.get(entry.payload) or f"says: {entry.text}")
    for line in lines:
        typer.echo(f"{'':>9}{line}")
    for finding in findings:
        typer.echo(f"{'':>9}{finding.severity.upper()}: {finding.sentence}")


def _print_json(verdict: "Verdict", entries: "Sequence[Shown]") -> None:
    import msgspec

    content: Mapping[str, object] = {"verdict": verdict, "entries": list(entries)}
    typer.echo(json.dumps(msgspec.to_builtins(content), indent=1))
