"""What a party's database tells: its version, what waits, what was set aside, and whether the clock moved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from alembic.util.exc import CommandError
from sqlalchemy import Engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.mail.checks import Finding, Mark, moment, span
from hansa.mail.database import open_engine, revision

CLOCK_SECONDS: Final = 60.0  # rows so far ahead mean that the clock was set back
PATIENCE: Final = 5  # attempts at a letter, some 45 seconds, after which its receiver is called silent
LATELY_SECONDS, NOW_SECONDS = 7 * 86_400.0, 86_400.0  # letters set aside are told of, and called wrong
SHOWN: Final = 5
_PROBLEMS: Final = (
    ("password authentication failed", "it refuses the password"),
    ("connection refused", "nothing listens there: the connection was refused"),
    ("could not translate host name", "its host name can't be resolved"),
    ("failed to resolve host", "its host name can't be resolved"),
    ("timeout", "it does not answer"),
    ("does not exist", "there is no such database or user"),
    ("not a database", "the file is no database"),
    ("malformed", "the file is damaged"),
    ("unable to open", "the file can't be opened"),
    ("readonly", "the file can't be written by this user"),
)
MEND: Final = "see that the database's server runs and that the settings hold the right address and password"


def opened(url: str, tree: str) -> tuple[Engine | None, Finding]:
    """An engine for reading, if the database can be reached and is of this program's version. Nothing is created."""
    try:
        if (path := _file_of(url)) is not None and not path.is_file():
            says = f"there is no database at {path} yet"
            return None, Finding("wrong", "database", says, f"it is made at the first start: `hansa {tree} run`")
        engine = open_engine(url, reading=True)
        now, newest, known = revision(engine, tree)
    except Refused as refusal:
        return None, Finding("wrong", "database", str(refusal), "correct `database` in the settings")
    except (SQLAlchemyError, ImportError, OSError, CommandError) as error:
        return None, Finding("wrong", "database", f"it can't be used: {_problem(error)}", MEND)
    if not known:
        says = f"it is at migration {now}, which this version of Hansa does not know"
        return None, Finding("wrong", "database", says, "install the version of Hansa that last ran on it, or a newer")
    if now != newest:
        says = f"it is at migration {now or 'none'}, and this version of Hansa needs {newest}"
        return None, Finding("wrong", "database", says, f"back it up, and start `hansa {tree} run`, which migrates it")
    return engine, Finding("ok", "database", f"reached, at migration {now}")


def _file_of(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _problem(error: Exception) -> str:
    """In our words: the driver's may hold the address, and with it the password."""
    said = str(error).lower()
    return next((words for part, words in _PROBLEMS if part in said), type(error).__name__)


def clock(db: Session, columns: Sequence[Any], now: float) -> Finding:
    """`columns` hold moments, in seconds since 1970, at which rows were written by this machine's clock."""
    newest = max((at for column in columns if (at := db.scalar(select(func.max(column)))) is not None), default=None)
    if newest is not None and newest - now > CLOCK_SECONDS:
        says = f"the newest row of the database was written {moment(newest, now)}: the clock was set back, or was ahead"
        return Finding("wrong", "clock", says, "set this machine's clock and run NTP; nothing else needs repair")
    return Finding("ok", "clock", "no row of the database lies in the future")


BOXES: Final = (Inbox.received_at, Inbox.done_at, Outbox.acked_at, SetAside.at)


def waiting(db: Session, receiver: str, mend: str, now: float) -> Finding:
    """Letters that `receiver` has not acknowledged."""
    ours = Outbox.receiver == receiver
    count = db.scalar(select(func.count()).where(ours, Outbox.acked_at.is_(None))) or 0
    acked = db.scalar(select(func.max(Outbox.acked_at)).where(ours))
    last = "it has acknowledged none yet" if acked is None else f"it last acknowledged one {moment(acked, now)}"
    about = f"letters to {receiver}"
    if not count:
        return Finding("ok", about, f"none waits; {last}")
    attempts = db.scalar(select(func.max(Outbox.attempts)).where(ours, Outbox.acked_at.is_(None))) or 0
    says = f"{count} not acknowledged after up to {attempts} attempts; {last}"
    return Finding("wrong", about, says, mend) if attempts >= PATIENCE else Finding("note", about, says)


def aside(db: Session, now: float) -> list[Finding]:
    """Letters not believed in the last seven days; the newest few with their reasons."""
    lately = SetAside.at > now - LATELY_SECONDS
    count = db.scalar(select(func.count()).select_from(SetAside).where(lately)) or 0
    if not count:
        return [Finding("ok", "letters set aside", f"none in {span(LATELY_SECONDS)}")]
    query = select(SetAside.at, SetAside.came_by, SetAside.reason).where(lately)
    rows = db.execute(query.order_by(SetAside.id.desc()).limit(SHOWN)).all()
    shown = [
        Finding("note", "letter set aside", f"from {came_by}, {moment(at, now)}: {why}") for at, came_by, why in rows
    ]
    mend = (
        "they changed nothing; if the reasons name a version, upgrade the older party; if they name a signature or a "
        "sender, ask that party's operator, and change its mailbox's password (`hansa site kit --again`)"
    )
    mark: Mark = "wrong" if rows[0].at > now - NOW_SECONDS else "note"
    return [Finding(mark, "letters set aside", f"{count} in {span(LATELY_SECONDS)}", mend), *shown]
