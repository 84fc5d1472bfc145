"""What an institution sets for its site: `site.toml` in the site's home, readable by its user alone."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from hansa import toml
from hansa.errors import Refused
from hansa.mail.tls import Address, Tls, address
from hansa.messages import is_site_id


class TableSource(Struct, frozen=True, forbid_unknown_fields=True):
    """A table: `path` of a CSV or Parquet file, or an SQLAlchemy `url` with a `query`.

    `categories` and `units` (by column) are what the institution declares of its columns; they are shown to the other
    members. Nothing is ever read from the rows for that.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}\Z")]
    path: str = ""
    url: str = ""
    query: str = ""
    categories: dict[str, tuple[str, ...]] = {}
    units: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"TableSource({self.name})"  # a URL may hold a password


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """What the site says yes to by itself. Everything else it refuses, with the rule that says so."""

    kinds: tuple[str, ...] = ("summary", "histogram", "table", "glm")
    tables: tuple[str, ...] = ()  # empty: all of them
    proposers: tuple[str, ...] = ()  # members whose questions are answered; empty: every member of the charter
    minimum_sites: Annotated[int, Meta(ge=3)] = 3
    must_take_part: tuple[str, ...] = ()  # members without whom this site takes no part
    sign_proposals: bool = True  # whether people of this member may ask in its name


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    mailbox: str  # a Redis URL: unix://, rediss://, or redis:// on this machine
    database: str  # an SQLAlchemy URL
    table: tuple[TableSource, ...] = ()
    policy: Policy = Policy()
    tls: Tls | None = None
    workers: Annotated[int, Meta(ge=1, le=64)] = 4  # letters of different jobs that one process works on at once

    def __repr__(self) -> str:
        return f"Settings({self.name})"

    def address(self, home: Path) -> Address:
        """Of the site's mailbox."""
        return address(self.mailbox, None if self.tls is None else self.tls.at(home))

    def source(self, table: str) -> TableSource:
        for source in self.table:
            if source.name == table:
                return source
        raise Refused(f"there is no table '{table}' here")


def convert(raw: object, where: str) -> Settings:
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise Refused(f"{where}: {error}") from error
    if not is_site_id(settings.name):
        raise Refused(f"{where}: '{settings.name}' is no site name")
    names = [source.name for source in settings.table]
    if len(set(names)) != len(names):
        raise Refused(f"{where}: two tables share a name")
    for source in settings.table:
        if bool(source.path) == bool(source.url) or bool(source.url) != bool(source.query):
            raise Refused(f"{where}: table '{source.name}' needs either a path, or a url with a query")
    return settings


def read_settings(home: Path) -> Settings:
    path = home / "site.toml"
    try:
        return convert(toml.read(path), str(path))
    except FileNotFoundError as error:
        raise Refused(f"{home} is not the home of a site: it holds no site.toml") from error
