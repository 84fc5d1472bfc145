"""What an institution sets for its site: `site.toml` in the site's home, readable by its user alone."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from hansa import installed, toml
from hansa.errors import Refused
from hansa.mail.tls import Address, Tls, address
from hansa.messages import is_site_id
from hansa_site import policy as policies
from hansa_site.policy import POLICY, Policy

SETTINGS: Final = "site.toml"


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
    policies.check(settings.policy, frozenset(names), where)
    return settings


def read_settings(home: Path) -> Settings:
    """`policy.toml` beside site.toml holds the policy, or else site.toml does. The kinds of other houses that it allows
    are known to this process from now on."""
    path, own = home / SETTINGS, home / POLICY
    try:
        raw = toml.read(path)
    except FileNotFoundError as error:
        raise Refused(f"{home} is not the home of a site: it holds no site.toml") from error
    settings = convert(raw, str(path))
    if own.exists():
        if "policy" in raw:
            raise Refused(f"{path} holds a [policy], and {own} is there too: keep one of them")
        settings = replace(settings, policy=policies.read(own, frozenset(source.name for source in settings.table)))
    installed.admit(settings.policy.kind_digests)
    return settings
