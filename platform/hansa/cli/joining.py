"""Joining a consortium, a site's part: init, join, add-table, sign, accept. `founding.py` is the hub's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli import founding
from hansa.cli.founding import PassphraseFile, Store, read, way
from hansa.errors import Refused

if TYPE_CHECKING:
    from hansa.charter import Charter

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]


def init(
    home: Home,
    name: Annotated[str, typer.Argument(help="The site's name in the consortium.")],
    institution: Annotated[str, typer.Option(help="The institution's full name, as the charter will say it.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the request is written; default NAME.request.")] = None,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
) -> None:
    """Draw a new site's keys, and write the request for the hub."""
    from hansa.mail.founding import fingerprint
    from hansa_site import joining

    card, request = joining.init(home, name, institution, way(store, passphrase_file))
    path = out or Path(f"{name}.request")
    path.write_bytes(request)
    typer.echo(f"the keys are in {home}; send {path} to the hub's operator: nothing in it is secret")
    typer.echo(f"fingerprint of '{name}', to be read aloud to the hub's operator:\n  {fingerprint(card)}")


def protect_keys(home: Home, passphrase_file: PassphraseFile = None, store: Store = "file") -> None:
    """Wrap keys that lie bare in their file, as Hansa 0.1 left them."""
    founding.protect_keys(home, passphrase_file, store)


def show_fingerprint(home: Home) -> None:
    """Print this site's fingerprint, to be read aloud to the hub's operator and to other members."""
    from hansa.mail.founding import fingerprint
    from hansa_site import joining

    typer.echo(fingerprint(joining.own_card(home)))


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


def sign(
    home: Home,
    draft: Annotated[Path, typer.Argument(metavar="DRAFT")],
    out: Annotated[Path | None, typer.Option(help="Where the signature is written; default NAME.signature.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked: somebody has read it.")] = False,
) -> None:
    """Read a draft of the charter, and sign it for this member."""
    from hansa_site import joining

    charter = joining.read(home, read(draft))
    _show(charter)
    if not yes and not typer.confirm("Did you compare the fingerprints with the members', and sign?"):
        raise Refused("nothing was signed")
    path = out or Path(f"{joining.own_card(home).id}.signature")
    path.write_bytes(joining.sign(home, charter))
    typer.echo(f"send {path} to the hub's operator")


def accept(home: Home, charter: Annotated[Path, typer.Argument(metavar="CHARTER")]) -> None:
    """Keep the charter that every member signed; from now on the site acts on it."""
    from hansa_site import joining

    found = joining.accept(home, read(charter))
    _show(found)
    typer.echo("every member's signature holds; start the site with `hansa site run`")


def _show(charter: "Charter") -> None:
    from hansa.mail.founding import fingerprint

    rules = charter.rules
    typer.echo(f"'{charter.consortium}', version {charter.version}")
    typer.echo(f"  fewer than {rules.minimum_sites} sites give no total; a round waits {rules.round_seconds} seconds")
    corrupt = "a third of a job's" if rules.corrupt < 0 else str(rules.corrupt)
    typer.echo(f"  members that may collude with the hub and learn nothing more: {corrupt}")
    for party in (charter.hub, *charter.members):
        typer.echo(f"  {party.id:<12}{fingerprint(party)}")


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    found = dict(text.partition("=")[::2] for text in given or ())
    if not all(found.values()):
        raise Refused(f"{option} is COLUMN=VALUE")
    return found
