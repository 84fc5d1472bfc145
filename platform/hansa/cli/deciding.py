"""`hansa site people|pending|consent|release|…`: what an institution's people decide, at its own site."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from hansa_site.doing import Act

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]
As = Annotated[str, typer.Option("--as", help="The person who decides; the passphrase of that person's key is asked.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The job, as `hansa site pending` shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="For the other members, in one line.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Where the person's passphrase lies; made if it isn't there."),
]


def register(app: typer.Typer) -> None:
    for command in (people, pending, consent, release, figures, refuse, stop, withdraw):
        app.command()(command)
    app.command("add-person")(add_person)
    app.command("remove-person")(remove_person)


@contextmanager
def _opened(home: Path, *, reading: bool = True) -> "Iterator[tuple[Session, Any]]":
    from sqlalchemy.orm import Session

    from hansa.mail.database import open_engine
    from hansa_site.settings import read_settings

    settings = read_settings(home)
    engine = open_engine(settings.database, reading=reading)
    with Session(engine) as db, db.begin():
        yield db, settings
    engine.dispose()


def people(home: Home) -> None:
    """List this institution's people at its site, and what each may do."""
    from hansa.cli.answers import table
    from hansa_site import people as persons

    with _opened(home) as (db, _settings):
        rows = [[row.name, row.roles, "removed" if row.removed_at else ""] for row in persons.everybody(db)]
    table("people", ["name", "roles", ""], rows)


def add_person(
    home: Home,
    name: str,
    roles: Annotated[str, typer.Option(help="Of analyst, steward, approver, auditor, administrator.")],
    administrator: Annotated[str, typer.Option("--as", help="An administrator; the first person needs none.")] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Draw a person's key, wrapped under that person's own passphrase, and let it decide as the roles say."""
    from hansa.wrapping import Way
    from hansa_site import people as persons

    way = Way(passphrase_file="" if passphrase_file is None else str(passphrase_file.resolve()))
    with _opened(home, reading=False) as (db, settings):
        if any(row.removed_at is None for row in persons.everybody(db)):
            if not administrator:
                raise Refused("another person is let in by an administrator: say which with --as")
            persons.prove(db, home, administrator, settings.name)
        row = persons.add(db, home, name, roles, time.time(), way)
        typer.echo(f"{row.name} may decide here as {row.roles}; the log will know {row.pseudonym}")


def remove_person(
    home: Home, name: str, administrator: Annotated[str, typer.Option("--as", help="An administrator.")]
) -> None:
    """End what a person may do here; the name is not used again."""
    from hansa_site import people as persons

    with _opened(home, reading=False) as (db, settings):
        persons.prove(db, home, administrator, settings.name)
        persons.remove(db, name, time.time())
    typer.echo(f"{name} decides nothing here any more")


def pending(home: Home, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what waits for a person here: the plan, who would learn what, and what the policy says of it."""
    from hansa.cli.pending import as_text, print_json
    from hansa_site import pending as waiting
    from hansa_site.vault import read_charter

    with _opened(home) as (db, settings):
        ground = waiting.ground_of(settings, read_charter(home, settings.name), home)
        found = waiting.look(db, ground, time.time())
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(as_text(one))
    if not found:
        typer.echo("nothing waits for a person here")


def consent(home: Home, run_id: Run, person: As) -> None:
    """Say yes: to a proposal of this member's own people, or to another member's question."""
    from hansa_site import doing

    run_id, what, about = _waiting(home, run_id)
    if what == "release":
        raise Refused("an answer waits to be released: `hansa site release` agrees to that")
    _decide(home, doing.Act(person, "sign proposal" if what == "proposal" else "consent", about, run_id))


def release(home: Home, run_id: Run, person: As) -> None:
    """Agree that an answer with this site's rows in it is released, as `hansa site pending` shows it."""
    from hansa_site import doing

    run_id, what, about = _waiting(home, run_id)
    if what != "release":
        raise Refused(f"a {what} waits, and no release: `hansa site consent` agrees to that")
    _decide(home, doing.Act(person, "release", about, run_id))


def figures(home: Home, run_id: Run, person: As) -> None:
    """Print the exact figures of an answer that waits to be released, before any is left out; the log says who saw
    them."""
    from hansa_site import doing

    run_id, what, about = _waiting(home, run_id)
    if what != "release":
        raise Refused(f"a {what} waits, and no release: there are no figures yet")
    signed = doing.sign(home, doing.Act(person, "see figures", about, run_id), time.time())
    typer.echo(doing.see_figures(home, signed, time.time()).decode())


def refuse(home: Home, run_id: Run, person: As, reason: Reason = "") -> None:
    """Say no to what waits; the other members read the reason."""
    from hansa_site import doing

    run_id, _what, about = _waiting(home, run_id)
    _decide(home, doing.Act(person, "refuse", about, run_id, reason))


def stop(home: Home, run_id: Run, person: As, reason: Reason = "") -> None:
    """End this site's part in a job that runs; what it holds for the job is erased."""
    from hansa_site import doing
    from hansa_site import pending as waiting
    from hansa_site.vault import read_charter

    with _opened(home) as (db, settings):
        run_id = waiting.whole(db, run_id)
        about = waiting.plan_of(db, run_id, read_charter(home, settings.name)).digest
    _decide(home, doing.stopping(person, run_id, about, reason))


def withdraw(home: Home, table: str, person: As, reason: Reason = "") -> None:
    """Take a table back: nothing is answered over it any more, and what runs over it stops."""
    from hansa_site import doing
    from hansa_site import pending as waiting

    act = doing.withdrawing(home, person, table, reason)
    with _opened(home) as (db, _settings):
        released = waiting.released_over(db, table)
    _decide(home, act)
    typer.echo(f"answers over {table} that were given before can't be recalled: {released} of them")


def _waiting(home: Path, run_id: str) -> tuple[str, str, bytes]:
    """(the run that begins so, what of it waits, the digest that a decision about it names)."""
    from hansa_site import pending as waiting

    with _opened(home) as (db, _settings):
        run_id = waiting.whole(db, run_id)
        return run_id, *waiting.open_one(db, run_id)


def _decide(home: Path, act: "Act") -> None:
    """Signs, hands in, and waits until the site's process has worked it off."""
    from hansa_site import doing

    if doing.hand_in(home, doing.sign(home, act, time.time()), time.time()):
        typer.echo("done")
    else:
        typer.echo("handed in; the site's process is not running, and works it off when it is (for an hour)")
