"""`hansa site people|pending|consent|release|…`: what an institution's people decide, at its own site."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]
As = Annotated[str, typer.Option("--as", help="The person who decides; the passphrase of that person's key is asked.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The job, as `hansa site pending` shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="For the other members, in one line.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Where the person's passphrase lies; made if it isn't there."),
]
WAIT_SECONDS = 15.0  # for the site's process to work off a decision


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
        found = waiting.look(db, settings, read_charter(home, settings.name), home, time.time())
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(as_text(one))
    if not found:
        typer.echo("nothing waits for a person here")


def consent(home: Home, run_id: Run, person: As) -> None:
    """Say yes: to a proposal of this member's own people, or to another member's question."""
    from hansa_site import pending as waiting

    with _opened(home) as (db, _settings):
        run_id = waiting.whole(db, run_id)
        what, about = waiting.open_one(db, run_id)
    if what == "release":
        raise Refused("an answer waits to be released: `hansa site release` agrees to that")
    _decide(home, person, "sign proposal" if what == "proposal" else "consent", run_id, about, "")


def release(home: Home, run_id: Run, person: As) -> None:
    """Agree that an answer with this site's rows in it is released, as `hansa site pending` shows it."""
    from hansa_site import pending as waiting

    with _opened(home) as (db, _settings):
        run_id = waiting.whole(db, run_id)
        what, about = waiting.open_one(db, run_id)
    if what != "release":
        raise Refused(f"a {what} waits, and no release: `hansa site consent` agrees to that")
    _decide(home, person, "release", run_id, about, "")


def figures(home: Home, run_id: Run, person: As) -> None:
    """Print the exact figures of an answer that waits to be released, before any is left out; the log says who saw
    them."""
    from hansa_site import figures as exact

    typer.echo(exact.show(home, run_id, person, time.time()).decode())


def refuse(home: Home, run_id: Run, person: As, reason: Reason = "") -> None:
    """Say no to what waits; the other members read the reason."""
    from hansa_site import pending as waiting

    with _opened(home) as (db, _settings):
        run_id = waiting.whole(db, run_id)
        _what, about = waiting.open_one(db, run_id)
    _decide(home, person, "refuse", run_id, about, reason)


def stop(home: Home, run_id: Run, person: As, reason: Reason = "") -> None:
    """End this site's part in a job that runs; what it holds for the job is erased."""
    from hansa_site import pending as waiting
    from hansa_site.vault import read_charter

    with _opened(home) as (db, settings):
        run_id = waiting.whole(db, run_id)
        about = waiting.plan_of(db, run_id, read_charter(home, settings.name)).digest
    _decide(home, person, "stop", run_id, about, reason)


def withdraw(home: Home, table: str, person: As, reason: Reason = "") -> None:
    """Take a table back: nothing is answered over it any more, and what runs over it stops."""
    from hansa_site import pending as waiting
    from hansa_site.deciding import table_digest

    with _opened(home) as (db, settings):
        settings.source(table)
        released = waiting.released_over(db, table)
    _decide(home, person, "withdraw", "", table_digest(table), reason)
    typer.echo(f"answers over {table} that were given before can't be recalled: {released} of them")


def _decide(home: Path, person: str, what: str, run: str, about: bytes, reason: str) -> None:
    """Signs, hands in, and waits until the site's process has worked it off."""
    import msgspec

    from hansa_site import people as persons

    with _opened(home) as (_db, settings):
        member = settings.name
    now = time.time()
    fields = [member, person, what, run, about, reason.strip(), int(now) + 3600, secrets.token_bytes(16)]
    try:
        decision = msgspec.convert(fields, persons.Decision)
    except msgspec.ValidationError as error:
        raise Refused("a reason is one line of at most 400 characters, and a person's name is one") from error
    data, signature = persons.sign(home, decision)
    with _opened(home, reading=False) as (db, _settings):
        key = persons.hand_in(db, data, signature, now)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with _opened(home) as (db, _settings):
            outcome = persons.outcome(db, key)
        if outcome is not None:
            if outcome:
                raise Refused(outcome)
            typer.echo("done")
            return
        time.sleep(0.1)
    typer.echo("handed in; the site's process is not running, and works it off when it is (for an hour)")
