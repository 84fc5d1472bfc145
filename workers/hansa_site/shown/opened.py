"""A site's home, opened to look, and who its people are."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from hansa.access import Person
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.jobs.base import Schema
from hansa.mail.database import open_engine
from hansa_site import people, tables
from hansa_site.journal import Member, Sent
from hansa_site.pending import Ground
from hansa_site.policy import POLICY
from hansa_site.settings import SETTINGS, Settings, TableSource, read_settings
from hansa_site.vault import read_charter

T = TypeVar("T")
QUERIED_SECONDS = 60.0  # for which the columns of a query stay as they were found


class OpenedSite:
    """Files are read again when they have changed. Nothing of a person is kept, and nothing of a table but its schema,
    which is not secret."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._engine = open_engine(read_settings(home).database, reading=True)
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[object, Any]] = {}
        if not inspect(self._engine).has_table(Sent.__tablename__):
            raise Refused("the site's database is of an earlier version: start the site, which brings it up to date")

    def reading(self) -> Session:
        return Session(self._engine)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def settings(self) -> Settings:
        files = self.home / SETTINGS, self.home / POLICY
        return self._fresh("settings", _marks(files), lambda: read_settings(self.home))

    @property
    def charter(self) -> Charter:
        files = self.home / "charter", self.home / "keys", self.home / "keys.next"
        return self._fresh("charter", _marks(files), lambda: read_charter(self.home, self.name))

    @property
    def ground(self) -> Ground:
        return Ground(self.settings, self.charter, self.schema)

    def schema(self, table: str) -> Schema:
        """What the others see of a table; refuses one that can't be read now."""
        source = self.settings.source(table)
        mark = source, self._mark_of(source)
        return self._fresh(f"table {table}", mark, lambda: tables.schema(source, self.home))

    def _mark_of(self, source: TableSource) -> object:
        if source.url:
            return time.monotonic() // QUERIED_SECONDS
        return _marks([self.home / source.path])

    def _fresh(self, what: str, mark: object, make: Callable[[], T]) -> T:
        with self._lock:
            kept = self._kept.get(what)
        if kept is not None and kept[0] == mark:
            found: T = kept[1]
            return found
        found = make()
        with self._lock:
            self._kept[what] = (mark, found)
        return found


def _marks(paths: Sequence[Path]) -> tuple[object, ...]:
    return tuple(map(_mark, paths))


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class PersonView(Struct, frozen=True):
    """`key` in hexadecimal; the log knows the pseudonym and the key, and no name."""

    name: str
    roles: str
    pseudonym: str
    key: str
    added_at: float
    removed_at: float | None


def person(site: OpenedSite, name: str) -> Person | None:
    """With the roles of now; None who is not there, or was removed."""
    with site.reading() as db:
        row = db.get(Member, name)
    return None if row is None or row.removed_at is not None else people.person_of(row, site.name)


def everybody(site: OpenedSite) -> list[PersonView]:
    """Those who were removed too."""
    with site.reading() as db:
        return [
            PersonView(row.name, row.roles, row.pseudonym, row.public.hex(), row.added_at, row.removed_at)
            for row in people.everybody(db)
        ]
