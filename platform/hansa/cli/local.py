"""`hansa local`: a whole consortium on this machine, each party a process of its own."""

import secrets
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hansa.cli.job import DEFAULT_PERSON, ask, finish, follow, read_plan
from hansa.errors import Refused

app = typer.Typer(help="A whole consortium on this machine.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(metavar="CONSORTIUM.toml")]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write the answer as JSON.")]
FINAL_SECONDS = 60.0  # for every site's cosignature
Home = Annotated[Path | None, typer.Option("--home", help="Where its keys, databases and logs are kept.")]


@app.command()
def run(
    file: File,
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml")],
    json_out: JsonOut = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="In one process, without letters.")] = False,
    home: Home = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="A new folder: the run's log, charter and evidence, to be verified.")
    ] = None,
) -> None:
    """Start what the file names, run the plan over it, print the answer, stop."""
    from hansa.cli import consortium as consortia
    from hansa.cli.printing import status, write_json

    consortium, question = consortia.read_consortium(file), read_plan(plan)
    if export is not None and (simulate or (export.exists() and any(export.iterdir()))):
        raise Refused("--export names a new folder, and a simulation keeps no log to export")
    if simulate:
        outcome = _simulated(consortium, question)
    else:
        with (
            tempfile.TemporaryDirectory(prefix="hansa-") as temporary,
            status("starting") as tell,
            consortia.up(consortium, home or Path(temporary), tell) as running,
        ):
            hub = add_analyst(running)
            tell("asking")
            started = time.monotonic()
            outcome = follow(hub, ask(hub, DEFAULT_PERSON, question), started)
            if export is not None:
                tell("waiting for every member's cosignature")
                write_export(hub, outcome["run"], export)
            tell("stopping")
    write_json(json_out, outcome)
    finish(outcome)


@app.command()
def up(file: File, home: Home = None) -> None:
    """Start what the file names and keep it running until Ctrl-C."""
    from hansa.cli import consortium as consortia
    from hansa.cli.printing import status

    consortium = consortia.read_consortium(file)
    root = home or consortia.default_home(consortium.name)
    note = None
    try:
        with status("starting") as tell, consortia.up(consortium, root, tell) as running:
            password = secrets.token_urlsafe(12)
            add_analyst(running, password)
            note = consortia.note_running(root)
            tell("")
            names = ", ".join(entry.name for entry in consortium.site)
            typer.echo(f"{consortium.name} is up: {names}")
            typer.echo("  ask:   hansa job run PLAN.toml --wait")
            typer.echo(f"  page:  hansa dashboard --home {root / 'hub'}   (name {DEFAULT_PERSON}, password {password})")
            typer.echo("Ctrl-C stops it.")
            running.family.stay(typer.echo)
    except KeyboardInterrupt:
        typer.echo("stopped")
    finally:
        if note is not None:
            note.unlink(missing_ok=True)


def add_analyst(running: Any, password: str | None = None) -> Any:
    """Opens the hub's home, with a person who asks in the name of the first site; a new password at every start."""
    from hansa.hub import actions

    hub = actions.Hub(running.homes.hub)
    first = running.consortium.site[0].name
    actions.set_person(hub, DEFAULT_PERSON, first, password or secrets.token_urlsafe(16))
    return hub


def write_export(hub: Any, run: str, out: Path) -> None:
    """Exports the log once it is final up to the end of the job, or says that it is not."""
    from hansa.hub import exports, queries

    deadline = time.monotonic() + FINAL_SECONDS
    while not _is_told(queries.log(hub, 10_000, run)):
        if time.monotonic() > deadline:
            typer.echo("the log is exported before every member has cosigned it: a site is away or slow", err=True)
            break
        time.sleep(0.1)
    exports.export(hub, out)
    typer.echo(f"to check what happened, anywhere: hansa audit verify {out}", err=True)


def _is_told(entries: Any) -> bool:
    """Whether all of a job is final, and every site that took part has said what it was told of its answer."""
    acts = [entry.act for entry in entries]
    part = {entry.by for entry in entries if entry.act == "consent given"}
    return all(entry.final for entry in entries) and acts.count("release seen") >= len(part) * acts.count("released")


def _simulated(consortium: Any, question: Any) -> dict[str, Any]:
    from hansa.charter import rules_from
    from hansa.cli.consortium import check_tables
    from hansa.cli.simulated import simulate_question
    from hansa.crypto.merkle import EMPTY

    check_tables(consortium)
    started = time.monotonic()
    simulated = simulate_question(consortium, question, rules_from(consortium.rules))
    nothing = {"size": 0, "head": EMPTY.hex(), "final": 0}  # a simulation keeps no log
    return simulated | {"seconds": round(time.monotonic() - started, 3), "audit": nothing}
