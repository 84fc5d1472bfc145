"""`hansa charter`: the members' agreement, from the first draft to the next version. deploy/README.md has the order.

The hub's operator drafts and completes; each site's operator signs and accepts. A home says by itself whose it is.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli.founding import read
from hansa.errors import Refused

if TYPE_CHECKING:
    from hansa.charter import Charter

app = typer.Typer(help="Draft, sign, show and change the consortium's charter.", no_args_is_help=True)
Hub = Annotated[Path, typer.Option("--home", envvar="HANSA_HOME", help="The hub's home folder.")]
Site = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]
Out = Annotated[Path, typer.Option(help="Where the draft is written.")]
Rules = Annotated[Path | None, typer.Option(help="A TOML file with [rules]; what it leaves out stays as it is.")]
DRAFT = Path("charter.draft")


@app.command()
def draft(
    home: Hub,
    consortium: Annotated[str, typer.Option(help="The consortium's name.")],
    requests: Annotated[list[Path], typer.Argument(metavar="NAME.request...")],
    rules: Rules = None,
    out: Out = DRAFT,
) -> None:
    """At the hub: write the first version's draft from the members' requests."""
    from hansa.charter import new_origin
    from hansa.hub import drafts
    from hansa.mail.founding import read_request

    cards = [read_request(read(path)) for path in requests]
    origin = new_origin(consortium, secrets.token_bytes(8))
    _write(out, drafts.draft(home, consortium, cards, drafts.read_rules(rules), origin))


@app.command()
def amend(
    home: Hub,
    rules: Rules = None,
    add: Annotated[list[Path] | None, typer.Option("--add", metavar="NAME.request", help="Who comes.")] = None,
    out: Out = DRAFT,
) -> None:
    """At the hub: draft the next version, with other rules or further members."""
    from hansa.hub import drafts
    from hansa.mail.founding import read_request

    added = [read_request(read(path)) for path in add or ()]
    if rules is None and not added:
        raise Refused("say what changes: --rules FILE, --add NAME.request, or both")
    _write(out, drafts.amend(home, drafts.read_rules(rules), added))


@app.command("rotate-key")
def rotate_key(
    home: Hub, keys: Annotated[list[Path], typer.Argument(metavar="NAME.keys...")], out: Out = DRAFT
) -> None:
    """At the hub: draft the next version, with the new keys of members or of the hub."""
    from hansa.hub import drafts

    _write(out, drafts.amend(home, {}, renewed=[read(path) for path in keys]))


@app.command("remove-member")
def remove_member(home: Hub, name: str, out: Out = DRAFT) -> None:
    """At the hub: draft the next version without this member; once accepted, its letters are refused."""
    from hansa.hub import drafts

    _write(out, drafts.amend(home, {}, removed=[name]))


@app.command("new-log")
def new_log(home: Hub, out: Out = DRAFT) -> None:
    """At the hub, where an older database was put back: draft the next version, which begins a new log."""
    from hansa.hub import drafts

    drafted, known = drafts.new_log(home)
    typer.echo(known)
    _write(out, drafted)


@app.command()
def sign(
    home: Site,
    draft: Annotated[Path, typer.Argument(metavar="DRAFT")],
    out: Annotated[Path | None, typer.Option(help="Where the signature is written; default NAME.signature.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked: somebody has read it.")] = False,
) -> None:
    """At a site: read a draft, see what changes, and sign it for this member."""
    from hansa_site import joining

    charter = joining.read(home, read(draft))
    _show(charter, home)
    if not yes and not typer.confirm("Did you compare the fingerprints with the members', and sign?"):
        raise Refused("nothing was signed")
    path = out or Path(f"{joining.name_of(home)}.signature")
    path.write_bytes(joining.sign(home, charter))
    typer.echo(f"send {path} to the hub's operator")


@app.command()
def complete(
    home: Hub,
    drafted: Annotated[Path, typer.Argument(metavar="DRAFT")],
    signatures: Annotated[list[Path], typer.Argument(metavar="NAME.signature...")],
    out: Annotated[Path, typer.Option(help="Where the charter is written.")] = Path("charter"),
) -> None:
    """At the hub: put the members' signatures under the draft, and keep it: now it is the charter."""
    from hansa.hub import drafts

    charter, signed = drafts.finish(home, read(drafted), [read(path) for path in signatures])
    out.write_bytes(signed)
    typer.echo(f"version {charter.version} of '{charter.consortium}' holds, {len(charter.members)} members;")
    typer.echo(f"send {out} to each of them, and start the hub anew")


@app.command()
def accept(
    charter: Annotated[Path, typer.Argument(metavar="CHARTER")],
    home: Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's or the hub's home.")],
) -> None:
    """Keep a charter that the members signed; the site, or the hub, lives under it from its next start on."""
    from hansa.hub import drafts
    from hansa_site import joining

    found = (drafts if (home / "hub.toml").exists() else joining).accept(home, read(charter))
    typer.echo(f"'{found.consortium}', version {found.version}: the members' signatures hold")
    typer.echo("it counts from the next start on: `systemctl restart hansa-site`, or hansa-hub")


@app.command()
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A draft or a charter.")] = None,
    home: Annotated[
        Path | None, typer.Option("--home", envvar="HANSA_SITE_HOME", help="A site's or the hub's.")
    ] = None,
) -> None:
    """Print a charter as text, fingerprints as words; with a home, what changes against the version it holds."""
    from hansa.mail import charter_files

    held = charter_files.current(home) if home is not None else None
    if file is not None:
        _show(_parsed(read(file)), home)
    elif held is not None and home is not None:
        _show(held, home)
    else:
        raise Refused("name a FILE, or a --home that holds a charter")


def _parsed(data: bytes) -> "Charter":
    from hansa import charter as charters
    from hansa.errors import ProtocolViolation

    try:
        return charters.read(data)
    except ProtocolViolation:
        return charters.unsigned(data)


def _show(charter: "Charter", home: Path | None) -> None:
    from hansa.mail import charter_files, charter_text

    typer.echo(charter_text.text(charter))
    held = charter_files.current(home) if home is not None else None
    if held is not None and held.digest != charter.digest:
        typer.echo(f"against version {held.version}, which {home} holds:")
        _lines(charter_text.changes(charter, held))


def _lines(changes: Sequence[str]) -> None:
    for line in changes or ["nothing that members agree on"]:
        typer.echo(f"  {line}")


def _write(out: Path, drafted: bytes) -> None:
    out.write_bytes(drafted)
    typer.echo(f"send {out} to every member; each reads and signs it with `hansa charter sign`")
