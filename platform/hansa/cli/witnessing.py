"""`hansa site entries|receipt|head|kept|alarms|review`: an institution's own view of the hub's log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]
Final = Annotated[bool, typer.Option("--final", help="The newest that a quorum cosigned.")]
Log = Annotated[str, typer.Option("--log", help="The origin of a log that is over; default: the one that goes on.")]
Out = Annotated[Path, typer.Option("--out", help="The file to write.")]


def register(app: typer.Typer) -> None:
    for command in (entries, receipt, head, kept, alarms, review):
        app.command()(command)


@contextmanager
def _opened(home: Path, *, reading: bool = True) -> "Iterator[Session]":
    from sqlalchemy.orm import Session

    from hansa.mail.database import open_engine
    from hansa_site.settings import read_settings

    engine = open_engine(read_settings(home).database, reading=reading)
    with Session(engine) as db, db.begin():
        yield db
    engine.dispose()


def entries(home: Home) -> None:
    """List what this site has entered in the log, and where it stands there."""
    from hansa.cli.printing import print_own_entries
    from hansa_site import log_state

    with _opened(home) as db:
        print_own_entries(log_state.own(db))


def receipt(home: Home, sequence: Annotated[int, typer.Argument(min=0)], out: Out, of_log: Log = "") -> None:
    """Write the receipt of one of this site's entries, a C2SP tlog-proof."""
    from hansa_site import log_state

    with _opened(home) as db:
        out.write_bytes(log_state.receipt(db, sequence, of_log))
    typer.echo(str(out))


def head(home: Home, out: Out, final: Final = False, of_log: Log = "") -> None:
    """Write the newest checkpoint that this site cosigned, to be compared with an export or another member's."""
    from hansa_site import log_state

    with _opened(home) as db:
        note = log_state.head(db, final=final, origin=of_log)
    out.write_bytes(note)
    typer.echo(f"{out}; to compare it: hansa audit compare {out} EXPORT-OR-FILE")


def kept(
    home: Home, of_log: Annotated[str, typer.Argument(metavar="ORIGIN", help="Of a log that is over.")], out: Out
) -> None:
    """Write all that this site wrote in a log that is over, whatever its hub has lost of it."""
    from hansa_site import log_state

    with _opened(home) as db:
        out.write_bytes(log_state.copy(db, of_log))
    typer.echo(f"{out}; what the hub has lost of it: hansa audit lost EXPORT {out}")


def alarms(home: Home, close: Annotated[int, typer.Option(help="The number of one that is settled.")] = 0) -> None:
    """List what is or was wrong with the hub's log; exit code 1 while an alarm is open."""
    from hansa.cli.answers import table
    from hansa_site import log_state

    if close:
        with _opened(home, reading=False) as db:
            log_state.close(db, close, time.time())
    with _opened(home) as db:
        rows = log_state.alarms(db, time.time())
        is_open = bool(log_state.open_alarms(db))
    table("alarms", ["number", "when", "what"], [[str(number), span, text] for number, span, text in rows])
    raise typer.Exit(1 if is_open else 0)


def review(
    home: Home,
    note: Annotated[str, typer.Option(help="What the reviewer found; the log holds its commitment only.")],
    person: Annotated[str, typer.Option("--as", help="An auditor here, who signs it; without, nobody is named.")] = "",
) -> None:
    """Sign off the log as far as this site cosigned it: an entry of this member's own."""
    from hansa_site import doing, reviewing

    if not person:
        size = reviewing.sign_off(home, note, time.time())
        typer.echo(f"signed off up to entry {size}; the entry is sent when the site runs")
        return
    signed = doing.sign(home, doing.signing_off(home, person, note), time.time())
    typer.echo("signed off" if doing.hand_in(home, signed, time.time()) else "handed in, for when the site runs")
