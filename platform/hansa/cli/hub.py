"""`hansa hub`: the coordinator's side, as its operator runs it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli.processes import follow_parent

app = typer.Typer(help="Run a hub.", no_args_is_help=True)
Home = Annotated[Path, typer.Option("--home", envvar="HANSA_HOME", help="The hub's home folder.")]


@app.command()
def run(
    home: Home,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """Run the hub: gateway, poster and coordinator, until SIGTERM or Ctrl-C."""
    from hansa.hub.app import run_hub

    if with_parent:
        follow_parent()
    run_hub(home)


@app.command()
def worker(
    home: Home,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """Run a further worker of the hub beside `hansa hub run`: large totals are added up by all of them together."""
    from hansa.hub.app import run_worker_of_hub

    if with_parent:
        follow_parent()
    run_worker_of_hub(home)


@app.command("add-person")
def add_person(
    home: Home,
    name: str,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
    member: Annotated[str, typer.Option(help="Whose person it is; nobody's if the role is operator.")] = "",
    roles: Annotated[
        str, typer.Option(help="Of analyst, steward, approver, auditor, administrator; or operator alone.")
    ] = "analyst, auditor",
) -> None:
    """Let a person sign in at the page, with these roles."""
    from hansa.hub import actions

    actions.add_person(actions.Hub(home), name, member, password, roles)
    typer.echo(f"{name} may sign in" + (f" as a person of {member}" if member else " and operate the hub"))


@app.command()
def invite(
    home: Home,
    name: str,
    member: Annotated[str, typer.Option(help="Whose person it is; nobody's if the role is operator.")] = "",
    roles: Annotated[str, typer.Option(help="As for add-person.")] = "administrator",
) -> None:
    """Make a token that lets one person in, once, within a day: a member's first administrator invites the others."""
    from hansa.hub import accounts, actions

    token = accounts.invite(actions.Hub(home), None, name, member, roles)
    typer.echo(f"{name} comes in with this token at the page, under “I was invited”. It is good once, for a day:")
    typer.echo(token)


@app.command()
def erase(home: Home, run_id: Annotated[str, typer.Argument(metavar="RUN")]) -> None:
    """Erase what may be erased of a job that has ended: plan, reasons, evidence, answer. Proofs still hold."""
    from hansa.hub import actions

    actions.erase(actions.Hub(home), run_id)
    typer.echo("erased; what the log says of the job stays, as digests and commitments")


@app.command()
def status(home: Home, as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False) -> None:
    """Say what runs, what waits, what is wrong and how to mend it; exit code 1 if anything is wrong."""
    from hansa.cli.printing import print_findings
    from hansa.hub.status import look

    raise typer.Exit(print_findings(look(home, time.time()), as_json))
