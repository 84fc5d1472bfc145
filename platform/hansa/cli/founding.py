"""Founding a consortium over several machines, the hub's part: init, kits, broker-rules, new keys.

deploy/README.md has the order of the commands; `joining.py` is the sites' part, `charter.py` the charter's.
"""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.errors import Refused

if TYPE_CHECKING:
    from hansa.wrapping import Way

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_HOME", help="The hub's home folder.")]
Bind = Annotated[str, typer.Option(help="The addresses that the server listens on.")]
Digits = Annotated[bool, typer.Option("--digits", help="In place of words.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Where the keys' passphrase lies, drawn if nothing is there, or the token's PIN. Default: asked for."
    ),
]
Store = Annotated[
    str,
    typer.Option(help="What wraps the keys: 'file' (a passphrase), 'keyring' (the OS keyring) or 'pkcs11' (a token)."),
]
Module = Annotated[Path | None, typer.Option(help="With 'pkcs11': the token's library, such as libsofthsm2.so.")]
Token = Annotated[str, typer.Option(help="With 'pkcs11': the token's label.")]
Key = Annotated[str, typer.Option(help="With 'pkcs11': the label of the key in it, by default hansa.")]


def init(
    home: Home,
    address: Annotated[str, typer.Option(help="The host under which sites reach their mailboxes.")],
    private: Annotated[str, typer.Option(help="HOST:PORT of the hub's own broker.")] = "127.0.0.1:6400",
    database: Annotated[str, typer.Option(envvar="HANSA_DATABASE", help="SQLAlchemy URL; default SQLite.")] = "",
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Make a new hub's home: its keys, its TLS authority, its own broker's files, hub.toml."""
    from hansa.hub import kits
    from hansa.mail.founding import fingerprint

    host, _, port = private.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Refused("--private is a host and a port: 127.0.0.1:6400")
    bind = host if host.replace(".", "").isdigit() else kits.EVERYWHERE
    wrapped = way(store, passphrase_file, module, token, key)
    card = kits.found(home, address, kits.Place(host, int(port), bind=bind), database, time.time(), wrapped)
    typer.echo(f"the hub's home is {home}; its broker's files are in {kits.folder(home, '')}")
    typer.echo(f"fingerprint of the hub, to be read aloud to every site's operator:\n  {fingerprint(card)}")


def protect_keys(
    home: Home,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Wrap keys that lie bare in their file, as Hansa 0.1 left them."""
    from hansa import key_file

    key_file.protect(home, way(store, passphrase_file, module, token, key))
    typer.echo(f"the keys in {home} are wrapped; whoever had a copy of the file still has them")


def rewrap_keys(
    home: Home,
    passphrase_file: PassphraseFile = None,
    store: Store = "file",
    module: Module = None,
    token: Token = "",
    key: Key = "",
) -> None:
    """Wrap the keys under another secret: a new passphrase, the OS keyring's or a token's. The old is needed too."""
    from hansa import key_file

    new = way(store, passphrase_file, module, token, key)
    key_file.rewrap(home, new)
    typer.echo(f"the keys in {home} are wrapped under the new secret, and the old one opens them no more")
    typer.echo("An older copy of the file still opens with the old one: erase both, or draw new keys with `new-keys`.")
    if new.store != "keyring" and not new.passphrase_file:
        typer.echo("Services need the new one too: in systemd's credential, or in HANSA_PASSPHRASE.")


def way(store: str, passphrase_file: Path | None, module: Path | None, token: str, key: str) -> "Way":
    from hansa.wrapping import chosen

    return chosen(
        store=store,
        passphrase_file="" if passphrase_file is None else str(passphrase_file.resolve()),
        module="" if module is None else str(module.absolute()),
        token=token,
        key=key or ("hansa" if store == "pkcs11" else ""),
    )


def show_fingerprint(home: Home, in_digits: Digits = False) -> None:
    """Print the hub's fingerprint, to be read aloud to a site's operator."""
    from hansa.hub import kits
    from hansa.mail.founding import digits, fingerprint

    typer.echo((digits if in_digits else fingerprint)(kits.card(home)))


def kit(
    request: Annotated[Path, typer.Argument(metavar="NAME.request")],
    hub: Annotated[Path, typer.Option("--hub", envvar="HANSA_HOME", help="The hub's home folder.")],
    out: Annotated[Path | None, typer.Option(help="Where the kit is written; default NAME.kit.")] = None,
    fingerprint: Annotated[str, typer.Option(help="As the site's operator read it aloud; asked for if absent.")] = "",
    host: Annotated[str, typer.Option(help="Where the site reaches its mailbox; default the hub's --address.")] = "",
    hub_host: Annotated[str, typer.Option(help="Where the hub reaches it, if that is another host.")] = "",
    port: Annotated[int, typer.Option(help="Default: the first that no broker of this hub has.", max=65535)] = 0,
    bind: Bind = "* -::*",
    again: Annotated[bool, typer.Option("--again", help="New password and certificates for a mailbox.")] = False,
) -> None:
    """At the hub: make a site's mailbox, and the kit with which its operator joins."""
    from hansa.hub import kits
    from hansa.mail.founding import compare, read_request

    asked = read_request(read(request))
    compare(asked.card, fingerprint or typer.prompt(f"Fingerprint of '{asked.card.id}', as its operator reads it"))
    place = kits.next_place(hub, asked.card.id, host, hub_host, port, bind)
    made = kits.make_kit(hub, asked, place, time.time(), again=again)
    path = out or Path(f"{asked.card.id}.kit")
    path.write_bytes(made)
    typer.echo(f"the mailbox of '{asked.card.id}' is {place.host}:{place.port}; start its server in")
    typer.echo(f"  {kits.folder(hub, asked.card.id)}")
    typer.echo(f"and the hub anew; send {path} to the site: only the site can open it")


def broker_rules(
    home: Home,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Sites; default all.")] = None,
    server_version: Annotated[str, typer.Option(help="Of the server: 7.0 (works on all), 7.2 or newer.")] = "7.0",
    bind: Annotated[str, typer.Option(help="The addresses that it listens on; default as before.")] = "",
) -> None:
    """Write access rules and configurations of mailbox servers, and of the hub's own, again."""
    from msgspec.structs import replace

    from hansa.hub import kits

    found = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", server_version)
    if found is None:
        raise Refused("--server-version is two numbers, as Redis counts: 7.0 or 7.2")
    version = (int(found[1]), int(found[2]))
    for name in names or [broker.site for broker in kits.brokers(home)]:
        broker = kits.read_broker(home, name)
        place = replace(broker.place, bind=bind) if bind else broker.place
        typer.echo(kits.write_rules(home, replace(broker, version=version, place=place)))


def renew(home: Home) -> None:
    """Make new certificates for the hub and its servers, from the same authority; sites keep theirs."""
    from hansa.hub import kits

    for broker in kits.renew(home, time.time()):
        typer.echo(f"start the server anew in {kits.folder(home, broker.site)}")
    typer.echo("and then the hub")


def new_keys(home: Home, out: Annotated[Path, typer.Option(help="Where they are written.")] = Path("hub.keys")) -> None:
    """Draw the hub's new keys; the old ones hold until the members accept a charter that names the new."""
    from hansa.hub import drafts

    out.write_bytes(drafts.new_keys(home))
    typer.echo(f"nothing in {out} is secret; next: `hansa charter rotate-key {out}`")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Refused(f"there is no file {path}") from error
