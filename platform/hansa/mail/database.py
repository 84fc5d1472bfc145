"""An SQL engine on which a commit is durable and a writer excludes the others.

SQLite: WAL, synchronous=FULL, secure_delete (what is erased is overwritten, in the file though not in the WAL
before its next checkpoint), and BEGIN IMMEDIATE, so that read-then-write in one transaction is safe. PostgreSQL:
as it comes. Both through SQLAlchemy URLs.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
)
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from hansa.errors import Refused

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_SECONDS = 60.0
_HELD = "hansa turn"


_turns: dict[str, threading.Lock] = {}  # by database: engines of one process that write the same file take turns


def open_engine(url: str, *, reading: bool = False, durable: bool = True) -> Engine:
    """`reading`: transactions that only read, and so need not exclude a writer (SQLite). Not `durable`: for notes that
    a power cut may undo, such as when to send a letter again; a commit is spared the wait for the disk."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Refused("the database's URL is not one that SQLAlchemy reads") from error
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)
        if not durable:

            @event.listens_for(engine, "begin")
            def _light(connection: Any) -> None:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

        return engine
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})
    turn = _turns.setdefault(parsed.database or url, threading.Lock())
    synchronous = "FULL" if durable else "NORMAL"

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is deferred; ours is not
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        if not reading:
            # SQLite waits for a lock by sleeping longer and longer; the threads of one process take turns here.
            if not turn.acquire(timeout=LOCK_SECONDS):
                # Also after the process was stopped for a while; whoever waits in a loop is to try again, not to die.
                raise WaitedTooLong("a transaction of this process has not ended, or another was begun inside it")
            connection.info[_HELD] = True
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    @event.listens_for(engine, "checkin")
    def _returned(_connection: Any, record: Any) -> None:
        if record.info.pop(_HELD, False):
            turn.release()

    return engine


class Engines(NamedTuple):
    """A side's database: for what must be durable, for looking, and for notes that need not be."""

    writing: Engine
    reading: Engine
    notes: Engine

    def dispose(self) -> None:
        for engine in self:
            engine.dispose()


def open_engines(url: str) -> Engines:
    return Engines(open_engine(url), open_engine(url, reading=True), open_engine(url, durable=False))


def passes(error: Exception) -> bool:
    """Whether this machine can't for now: its database is away, or a disk full. It is tried again; no job ends for
    it, and no letter is held to be bad."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | PendingRollbackError | WaitedTooLong)


def migrate(engine: Engine, tree: str) -> None:
    """Brings the database to the newest version of `tree` ("hub" or "site")."""
    from alembic import command

    config = _migrations(tree)
    with engine.connect() as connection, _rebuilding(connection), connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class Revision(NamedTuple):
    """Where a database is; empty before its first migration. `known`: whether `tree` has that migration at all."""

    now: str
    newest: str
    known: bool


def revision(engine: Engine, tree: str) -> Revision:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_migrations(tree))
    with engine.connect() as connection:
        now = MigrationContext.configure(connection).get_current_revision() or ""
    known = {found.revision for found in script.walk_revisions()}
    return Revision(now, script.get_current_head() or "", not now or now in known)


def _migrations(tree: str) -> "Config":
    from alembic.config import Config

    import hansa

    package = Path(hansa.__file__).parent
    beside = package.parents[1] / "migrations"
    folder = (package / "migrations" if (package / "migrations").is_dir() else beside) / tree
    config = Config()
    config.set_main_option("script_location", str(folder))
    return config


@contextmanager
def _rebuilding(connection: Connection) -> Iterator[None]:
    """SQLite alters a table by making it anew and dropping the old one, to which the rows of others point."""
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")  # heard outside a transaction only
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
