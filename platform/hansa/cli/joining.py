"""Joining a consortium, a site's part: init, join, add-table, new keys. `founding.py` is the hub's."""

from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import founding
from hansa.cli.founding import Digits, Key, Module, PassphraseFile, Store, Token, read, way
from hansa.errors import Refused

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]


def init(
    home: Home,
    name: Annotated[str, typer.Argument(help="The site's name in the consortium.")],
    institution: Annotated[str, typer.Option(help="The institution's full name, as the charter will say it.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the request is written; default NAME.request.")] = None,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Draw a new site's keys, and write the request for the hub."""
    from hansa.mail.founding import fingerprint
    from hansa_site import joining

    card, request = joining.init(home, name, institution, way(store, passphrase_file, module, token, key))
    path = out or Path(f"{name}.request")
    path.write_bytes(request)
    typer.echo(f"the keys are in {home}; send {path} to the hub's operator: nothing in it is secret")
    typer.echo(f"fingerprint of '{name}', to be read aloud to the hub's operator:\n  {fingerprint(card)}")


def protect_keys(
    home: Home,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Wrap keys that lie bare in their file, as Hansa 0.1 left them."""
    founding.protect_keys(home, passphrase_file, store, module, token, key)


def rewrap_keys(
    home: Home,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Wrap the keys under another secret: a new passphrase, the OS keyring's or a token's. The old is needed too."""
    founding.rewrap_keys(home, passphrase_file, store, module, token, key)


def show_fingerprint(home: Home, in_digits: Digits = False) -> None:
    """Print this site's fingerprint, to be read aloud to the hub's operator and to other members."""
    from hansa.mail.founding import digits, fingerprint
    from hansa_site import joining

    typer.echo((digits if in_digits else fingerprint)(joining.own_card(home)))


def join(
    home: Home,
    kit: Annotated[Path, typer.Argument(metavar="NAME.kit")],
    hub_fingerprint: Annotated[str, typer.Option(help="As the hub's operator read it; asked for if absent.")] = "",
) -> None:
    """Open the hub's kit: its address, password and certificates become this site's settings."""
    from hansa.mail.certificates import fingerprint as of_certificate
    from hansa.mail.founding import fingerprint
    from hansa_site import joining

    said = hub_fingerprint or typer.prompt("Fingerprint of the hub, as its operator reads it aloud")
    hub, authority = joining.join(home, read(kit), said)
    typer.echo(f"joined the hub {fingerprint(hub)}")
    typer.echo(f"its TLS authority is {joining.TLS.authority}, SHA-256 {of_certificate(authority)}")
    typer.echo("the settings are in site.toml; next: `hansa site add-table`")


def add_table(
    home: Home,
    name: Annotated[str, typer.Argument(help="The table's name in the consortium.")],
    path: Annotated[Path | None, typer.Argument(help="A CSV or Parquet file.")] = None,
    url: Annotated[str, typer.Option(envvar="HANSA_TABLE_URL", help="In place of a file: SQLAlchemy URL.")] = "",
    query: Annotated[str, typer.Option(help="What is read from there.")] = "",
    units: Annotated[list[str] | None, typer.Option("--unit", metavar="COLUMN=UNIT")] = None,
    categories: Annotated[list[str] | None, typer.Option("--categories", metavar="COLUMN=A,B,C")] = None,
) -> None:
    """Declare a table of this site, and show what the other members will see of it."""
    from hansa.cli.printing import print_schema
    from hansa_site import joining
    from hansa_site.settings import TableSource

    listed = {column: tuple(text.split(",")) for column, text in _pairs(categories, "--categories").items()}
    units_of = _pairs(units, "--unit")
    where = str(path.resolve()) if path is not None else ""
    print_schema(joining.add_table(home, TableSource(name, where, url, query, listed, units_of)))


def new_keys(
    home: Home, out: Annotated[Path | None, typer.Option(help="Where they are written; default NAME.keys.")] = None
) -> None:
    """Draw new keys for this site; the old ones hold until a charter that names the new is accepted here."""
    from hansa_site import joining

    path = out or Path(f"{joining.name_of(home)}.keys")
    path.write_bytes(joining.new_keys(home))
    typer.echo(f"send {path} to the hub's operator, for `hansa charter rotate-key`: nothing in it is secret")


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    found = dict(text.partition("=")[::2] for text in given or ())
    if not all(found.values()):
        raise Refused(f"{option} is COLUMN=VALUE")
    return found
