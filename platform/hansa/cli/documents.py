"""`hansa audit record`, `impact`, `crate`: documents from an export that holds."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.cli.verifying import held
from hansa.errors import Refused
from hansa.export_folder import beside, source_of

if TYPE_CHECKING:
    from hansa.documents.told import Log

Export = Annotated[Path, typer.Argument(metavar="EXPORT", help="A folder that `hansa audit export` wrote.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The job, or how its id begins.")]
Own = Annotated[Path | None, typer.Option("--charter", help="Your own signed charter, to hold the export to.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of Markdown.")]


def register(app: typer.Typer) -> None:
    for command in (record, impact, crate):
        app.command()(command)


def record(export: Export, charter: Own = None, as_json: AsJson = False) -> None:
    """Print the record of processing activities (GDPR, article 30) that the log allows to write."""
    from hansa.documents import record as records

    log = _read(export, charter)
    _print(records.data(log) if as_json else records.markdown(log))


def impact(export: Export, run: Run, charter: Own = None, as_json: AsJson = False) -> None:
    """Print what a data-protection impact assessment of a job starts from."""
    from hansa.documents import impact as impacts

    log = _read(export, charter)
    told = log.job(run)
    _print(impacts.data(log, told) if as_json else impacts.markdown(log, told))


def crate(
    export: Export,
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="A folder to make.")],
    charter: Own = None,
) -> None:
    """Write a job as a Five Safes RO-Crate: plan, answer, evidence, sign-offs and the head of the log."""
    from hansa.documents import crate as crates

    log = _read(export, charter)
    told = log.job(run)
    if out.exists():
        raise Refused(f"{out} is there already")
    kept = beside(export, told.run, log.verdict.charter, told.run in log.verdict.replayed)
    found = crates.files(log, told, kept)
    for name, content in found.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    typer.echo(f"{out}: {len(found)} files, Five Safes RO-Crate of job {told.run}")


def _read(export: Path, charter: Path | None) -> "Log":
    from hansa.documents.told import read

    return read(source_of(export), held(export, charter))


def _print(found: str | dict[str, Any]) -> None:
    typer.echo(found if isinstance(found, str) else json.dumps(found, indent=1, allow_nan=False))
