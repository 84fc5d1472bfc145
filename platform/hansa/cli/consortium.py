"""CONSORTIUM.toml, and the processes that it means on one machine.

Each site gets a home of its own with its own keys, settings and database, and a mailbox server of its own; the hub gets
its home and a private server. Everything is what production runs, on embedded servers where no address is given.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hansa import charter as charters
from hansa import toml
from hansa.charter import Charter
from hansa.cli.processes import Child, Family
from hansa.crypto.bundles import HUB_BYTES, HubKeys, MemberKeys
from hansa.errors import Refused
from hansa.files import write_toml
from hansa.hub import settings as hub_settings
from hansa.mail.tls import address
from hansa.wrapping import Way
from hansa_site import vault
from hansa_site.policy import Policy
from hansa_site.settings import Settings, TableSource, convert

READY_SECONDS = 120.0
WAY = Way(passphrase_file="passphrase")  # noqa: S106  # a file of every home: nobody has to type five
ROOM_BYTES = 64 * 2**20  # databases, logs and sockets of a small consortium


class SiteEntry(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    table: tuple[TableSource, ...] = ()
    policy: Policy = Policy()
    mailbox: str = ""  # a Redis URL; empty: an embedded server


class Consortium(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says. `database` and `private` are URLs of the hub's; empty: SQLite, and an embedded server.
    `kind_digests`: what the hub runs of other houses' kinds."""

    name: str
    site: tuple[SiteEntry, ...]
    rules: dict[str, Any] = {}
    database: str = ""
    private: str = ""
    kind_digests: dict[str, str] = {}


def read_consortium(path: Path) -> Consortium:
    """The file, with its tables' paths made absolute; refuses what can't work in one sentence."""
    try:
        found = msgspec.convert(toml.read(path), Consortium)
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except msgspec.ValidationError as error:
        raise Refused(f"{path}: {error}") from error
    charters.rules_from(found.rules)
    try:
        charters.check_names(found.name, [entry.name for entry in found.site])
    except Refused as refusal:
        raise Refused(f"{path}: {refusal}") from refusal
    sites = tuple(_absolute(entry, path.resolve().parent) for entry in found.site)
    return replace(found, site=sites)


def _absolute(entry: SiteEntry, base: Path) -> SiteEntry:
    tables = tuple(
        TableSource(
            source.name,
            str(base / source.path) if source.path else "",
            source.url,
            source.query,
            source.categories,
            source.units,
        )
        for source in entry.table
    )
    convert({"name": entry.name, "mailbox": "", "database": "", "table": msgspec.to_builtins(tables)}, entry.name)
    if entry.mailbox:
        address(entry.mailbox)
    return SiteEntry(entry.name, tables, entry.policy, entry.mailbox)


def check_tables(consortium: Consortium) -> None:
    """Reads every table once, so that a bad one is one sentence here and not a silent site later."""
    from hansa_site.tables import schema

    for entry in consortium.site:
        for source in entry.table:
            try:
                schema(source, Path())
            except Refused as refusal:
                raise Refused(f"{entry.name}: {refusal}") from refusal


class Homes:
    """The folders of a consortium under `root`: `hub`, and one a site under `sites`."""

    def __init__(self, root: Path) -> None:
        self.root, self.hub = root, root / "hub"

    def site(self, name: str) -> Path:
        return self.root / "sites" / name


def found(consortium: Consortium, homes: Homes) -> None:
    """Makes keys where there are none, and the charter with everybody's signature, or checks the one that is there."""
    for folder in (homes.hub, *(homes.site(entry.name) for entry in consortium.site)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sites = {entry.name: homes.site(entry.name) for entry in consortium.site}
    if (homes.hub / "charter").exists():
        _check_founded(consortium, homes, hub_settings.read_charter(homes.hub))
        return
    hub_keys, keys = _keys_of_hub(homes.hub), {name: _keys_of_site(home) for name, home in sites.items()}
    members = [charters.member_of(name, name, held) for name, held in keys.items()]
    rules, origin = charters.rules_from(consortium.rules), charters.new_origin(consortium.name, secrets.token_bytes(8))
    drafted = charters.draft(consortium.name, charters.hub_of(hub_keys), members, rules, origin)
    signed = charters.sealed(drafted, [charters.sign(drafted, name, held) for name, held in keys.items()])
    for folder in (homes.hub, *sites.values()):
        (folder / "charter").write_bytes(signed)


def _keys_of_hub(home: Path) -> HubKeys:
    if not (home / "keys").exists():
        hub_settings.make_keys(home, secrets.token_bytes(HUB_BYTES), WAY)
    return hub_settings.read_keys(home)


def _keys_of_site(home: Path) -> MemberKeys:
    if not (home / "keys").exists():
        vault.make_keys(home, WAY)
    return vault.read_keys(home)


def _check_founded(consortium: Consortium, homes: Homes, charter: Charter) -> None:
    names = sorted(entry.name for entry in consortium.site)
    same = charter.consortium == consortium.name and [member.id for member in charter.members] == names
    if not same or charter.rules != charters.rules_from(consortium.rules):
        raise Refused(
            f"{homes.root} holds a consortium with other members or rules; choose another --home, or remove it"
        )
    for name in names:
        vault.read_charter(homes.site(name), name)


class Running:
    """A consortium that is up: its homes, its processes, and the seconds it took."""

    def __init__(self, consortium: Consortium, homes: Homes, family: Family) -> None:
        self.consortium, self.homes, self.family = consortium, homes, family


@contextlib.contextmanager
def up(consortium: Consortium, root: Path, tell: Callable[[str], None] = lambda _text: None) -> Iterator[Running]:
    """Starts servers, hub and sites; leaves once every site has been seen; stops them all on the way out."""
    homes = Homes(root)
    check_tables(consortium)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(root).free < ROOM_BYTES:
        raise Refused(
            f"there is less than {ROOM_BYTES // 2**20} MiB of room in {root}; choose another --home or TMPDIR"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(root))
        _stop_on_signals(stack)
        found(consortium, homes)
        tell("starting the brokers")
        _configure(consortium, homes, stack)
        family = stack.enter_context(Family())
        tell(f"starting the hub and {len(consortium.site)} sites")
        family.start(_child("hub", ["hub", "run", "--home", str(homes.hub)], homes.hub))
        for entry in consortium.site:
            home = homes.site(entry.name)
            family.start(_child(entry.name, ["site", "run", "--home", str(home)], home))
        _wait_until_seen(consortium, homes, family)
        yield Running(consortium, homes, family)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Two launchers over one home would take each other's sockets away."""
    with (root / "lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(f"another `hansa local up` uses {root}, or is about to stop") from error
        yield


def _child(name: str, arguments: list[str], home: Path) -> Child:
    (home / "ready").unlink(missing_ok=True)
    return Child(name, [*arguments, "--with-parent"], home / "log")


def _stop_on_signals(stack: contextlib.ExitStack) -> None:
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that everything that was started is stopped. A second signal
    changes nothing: leaving half-way would leave processes behind."""
    leaving = False

    def leave(_number: int, _frame: FrameType | None) -> None:
        nonlocal leaving
        if not leaving:
            leaving = True
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
            stack.callback(signal.signal, number, signal.signal(number, leave))


def _configure(consortium: Consortium, homes: Homes, stack: contextlib.ExitStack) -> None:
    """Writes every party's settings, and starts an embedded server where no address is given."""
    from hansa.mail import rules
    from hansa.mail.valkey import EmbeddedValkey

    mailboxes = {}
    for entry in consortium.site:
        home, hub_url, site_url = homes.site(entry.name), entry.mailbox, entry.mailbox
        if not entry.mailbox:
            theirs, ours = secrets.token_hex(16), secrets.token_hex(16)
            digests = rules.password_digest(theirs), rules.password_digest(ours)
            access = rules.mailbox_rules(entry.name, *digests)
            server = stack.enter_context(EmbeddedValkey(home / "mailbox", access, rules.HUB, ours))
            hub_url = server.client_url(rules.HUB, ours)
            site_url = server.client_url(rules.site_user(entry.name), theirs)
        mailboxes[entry.name] = hub_url
        database = f"sqlite:///{home.resolve()}/site.sqlite"
        settings = Settings(entry.name, site_url, database, entry.table, entry.policy)
        write_toml(home / "site.toml", msgspec.to_builtins(settings))
    private = consortium.private
    if not private:
        password = secrets.token_hex(16)
        access = rules.private_rules(rules.password_digest(password))
        server = stack.enter_context(EmbeddedValkey(homes.hub / "private", access, rules.HUB, password))
        private = server.client_url(rules.HUB, password)
    database = consortium.database or f"sqlite:///{homes.hub.resolve()}/hub.sqlite"
    own = {"database": database, "private": private, "mailboxes": mailboxes}
    others = {"kind_digests": consortium.kind_digests} if consortium.kind_digests else {}
    write_toml(homes.hub / "hub.toml", own | others)


def _wait_until_seen(consortium: Consortium, homes: Homes, family: Family) -> None:
    """Until the hub has a letter from every site, written by this start of it."""
    from hansa.hub import queries
    from hansa.hub.actions import Hub

    started, hub = time.time(), None
    while True:
        family.check()
        if hub is None and (homes.hub / "ready").exists():
            hub = Hub(homes.hub)
        if hub is not None:
            seen = {view.site for view in queries.members(hub) if (view.seen_at or 0) >= started}
            if seen == {entry.name for entry in consortium.site}:
                return
        if time.time() > started + READY_SECONDS:
            raise Refused(f"the consortium was not up within {READY_SECONDS:.0f} seconds; see the logs in {homes.root}")
        time.sleep(0.05)


def default_home(name: str) -> Path:
    """Where `local up` keeps a consortium: `.hansa/<name>` under the current folder."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    return Path.cwd() / ".hansa" / safe


def note_running(root: Path) -> Path:
    """Tells `hansa job` on this machine, as this user, which consortium is up; gives the note, to be removed."""
    folder = _notes()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    note = folder / f"{os.getpid()}.json"
    note.write_text(json.dumps({"home": str(root.resolve()), "pid": os.getpid()}), encoding="utf-8")
    return note


def _notes() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "hansa" / "running"


def find_running() -> Path:
    """The home of the one consortium that is up; refuses none and several."""
    homes = []
    for note in sorted(_notes().glob("*.json")) if _notes().is_dir() else []:
        content = json.loads(note.read_text(encoding="utf-8"))
        if Path(f"/proc/{content['pid']}").exists() or not Path("/proc").exists():
            homes.append(Path(content["home"]))
    if len(homes) == 1:
        return homes[0]
    if not homes:
        raise Refused(
            "no consortium is up on this machine: start one with `hansa local up CONSORTIUM.toml`, or give --home"
        )
    raise Refused(
        f"{len(homes)} consortia are up on this machine: say which with --home ({', '.join(map(str, homes))})"
    )
