"""What a hub's operator makes for its brokers: servers' folders, mailboxes, and the kit that a site receives.

    <home>/tls/                     the hub's authority, and the hub's certificate as a client
    <home>/brokers/private/         the hub's own server
    <home>/brokers/mailbox-<site>/  one a site: broker.toml (what it was made from), rules, configurations, certificates

A server is started in its folder, which can be moved to another machine; only `server.key` in it is secret. Passwords
stand in hub.toml and in the sealed kit, in the folder only their digests.
"""

import secrets
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from hansa.charter import HubParty, hub_of
from hansa.crypto.bundles import HUB_BYTES
from hansa.errors import Refused
from hansa.files import write_private, write_toml
from hansa.hub import settings as hub_settings
from hansa.hub.settings import Settings
from hansa.mail import certificates, rules, server_files
from hansa.mail.founding import Kit, Request, seal_kit
from hansa.mail.tls import Tls
from hansa.messages import HUB
from hansa.wrapping import ASKED, Way

TLS = Tls("tls/authority.pem", "tls/hub.pem", "tls/hub.key")
AUTHORITY_KEY = "tls/authority.key"
PRIVATE_PORT, FIRST_PORT = 6400, 6401
EVERYWHERE = "* -::*"

Port = Annotated[int, Meta(ge=1, le=65535)]


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a server listens: `host` as its clients name it, `hub_host` as the hub does."""

    host: str
    port: Port
    hub_host: str = ""
    bind: str = EVERYWHERE

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host for host in dict.fromkeys((self.host, self.hub_host)) if host)

    def url(self, user: str, password: str, host: str) -> str:
        return f"rediss://{user}:{password}@{f'[{host}]' if ':' in host else host}:{self.port}/0"


class Broker(Struct, frozen=True, forbid_unknown_fields=True):
    """What a server's files follow from. `site` is empty for the hub's private one; `version` is the server's."""

    site: str
    place: Place
    hub_digest: str
    site_digest: str = ""
    version: tuple[int, int] = rules.OLDEST

    def access(self) -> str:
        if not self.site:
            return rules.private_rules(self.hub_digest, version=self.version)
        return rules.mailbox_rules(self.site, self.site_digest, self.hub_digest, version=self.version)


def found(home: Path, address: str, private: Place, database: str, now: float, way: Way = ASKED) -> HubParty:
    """A new hub's home: keys, authority, private server, hub.toml; gives its card. Refuses a folder that has keys.
    The keys come last: a home that has them is whole."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (home / "keys").exists():
        raise Refused(f"{home} is the home of a hub already, and its keys are never drawn again")
    for folder in ("tls", "brokers"):
        (home / folder).mkdir(mode=0o700, exist_ok=True)
    _draw_certificates(home, now)
    password = secrets.token_hex(32)
    broker = Broker("", private, rules.password_digest(password))
    certify(home, broker, _read(home / TLS.authority), _read(home / TLS.certificate), now)
    write_rules(home, broker)
    url = database or f"sqlite:///{home.resolve()}/hub.sqlite"
    address_of_private = private.url(rules.HUB, password, private.host)
    write_toml(home / "hub.toml", _plain(Settings(url, address_of_private, {}, TLS, address)))
    hub_settings.make_keys(home, secrets.token_bytes(HUB_BYTES), way)
    return card(home)


def card(home: Path) -> HubParty:
    return hub_of(hub_settings.read_keys(home))


def make_kit(home: Path, request: Request, place: Place, now: float, *, again: bool = False) -> bytes:
    """The mailbox of the site that asks, and its kit. `again`: the same mailbox with a new password and certificates;
    then the server is started anew, and what the site had is worth nothing."""
    site, settings = request.card.id, hub_settings.read_settings(home)
    if site in settings.mailboxes and not again:
        raise Refused(f"'{site}' has a mailbox already: with --again it gets a new password and new certificates")
    theirs, ours = secrets.token_hex(32), secrets.token_hex(32)
    version = read_broker(home, site).version if folder(home, site).exists() else rules.OLDEST
    broker = Broker(site, place, rules.password_digest(ours), rules.password_digest(theirs), version)
    # Nothing else is ever signed with this key: it is gone when this returns.
    once = certificates.draw_key()
    own = certificates.make_authority(once, f"mailbox of {site}", now)
    certificate = certificates.sign_client(request.certificate, site, own, once, now)
    authority = _read(home / TLS.authority)
    certify(home, broker, authority + own, _read(home / TLS.certificate) + certificate, now)
    write_rules(home, broker)
    mailbox = place.url(rules.HUB, ours, place.hub_host or place.host)
    mailboxes = settings.mailboxes | {site: mailbox}
    write_toml(home / "hub.toml", _plain(replace(settings, mailboxes=mailboxes)))
    kit = Kit(site, place.url(rules.site_user(site), theirs, place.host), authority, certificate)
    return seal_kit(kit, request.card, card(home), hub_settings.read_keys(home).signing)


def renew(home: Path, now: float) -> list[Broker]:
    """New certificates for the hub and for every server, from the same authority; gives the servers, to be started
    anew. What sites hold stays as it is."""
    above, above_key = _read(home / TLS.authority), _read(home / AUTHORITY_KEY)
    old, request = _read(home / TLS.certificate), certificates.make_request(_read(home / TLS.key), HUB)
    new = certificates.sign_client(request, HUB, above, above_key, now)
    found = brokers(home)
    for broker in found:
        where = folder(home, broker.site)
        peers = _read(where / "peers.pem").replace(old, new)
        certify(home, broker, _read(where / "clients.pem"), peers, now)
    write_private(home / TLS.certificate, new)
    return found


def next_place(home: Path, site: str, host: str, hub_host: str, port: int, bind: str) -> Place:
    """Where a site's mailbox goes: where it is, or the first port that no broker of this hub has."""
    if not host and not (host := hub_settings.read_settings(home).address):
        raise Refused("give the --host under which the site reaches its mailbox")
    taken = {broker.place.port for broker in brokers(home) if broker.site != site}
    if not port and folder(home, site).exists():
        port = read_broker(home, site).place.port
    free = next(number for number in range(FIRST_PORT, 65536) if number not in taken)
    return Place(host, port or free, hub_host, bind)


def folder(home: Path, site: str) -> Path:
    """Of a site's mailbox server; an empty name is the private one's."""
    return home / "brokers" / (f"mailbox-{site}" if site else "private")


def brokers(home: Path) -> list[Broker]:
    return [_read_broker(path) for path in sorted((home / "brokers").glob("*/broker.toml"))]


def read_broker(home: Path, site: str) -> Broker:
    return _read_broker(folder(home, site) / "broker.toml")


def _read_broker(path: Path) -> Broker:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Broker)
    except FileNotFoundError as error:
        raise Refused(f"there is no {path}: `hansa hub init` and `hansa site kit` make it") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Refused(f"{path}: {error}") from error


def write_rules(home: Path, broker: Broker) -> Path:
    """Rules and configurations of one server, from what is known of it; certificates stay as they are."""
    place, where = broker.place, folder(home, broker.site)
    texts = {
        "users.acl": broker.access(),
        "server.conf": server_files.with_tls(place.port, place.bind),
        "behind-stunnel.conf": server_files.behind_stunnel(),
        "stunnel.conf": server_files.stunnel(place.port, place.bind),
    }
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in texts.items():
        write_private(where / name, text.encode())
    write_toml(where / "broker.toml", msgspec.to_builtins(broker))
    return where


def certify(home: Path, broker: Broker, authorities: bytes, peers: bytes, now: float) -> None:
    """A new certificate for a server, and whom it takes: clients of these authorities, these peers behind stunnel."""
    where = folder(home, broker.site)
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = certificates.draw_key()
    above, above_key = _read(home / TLS.authority), _read(home / AUTHORITY_KEY)
    write_private(where / "server.key", key)
    write_private(where / "server.pem", certificates.sign_server(key, broker.place.hosts, above, above_key, now))
    write_private(where / "clients.pem", authorities)
    write_private(where / "peers.pem", peers)


def _draw_certificates(home: Path, now: float) -> None:
    key, own = certificates.draw_key(), certificates.draw_key()
    authority = certificates.make_authority(key, "hansa hub", now)
    request = certificates.make_request(own, HUB)
    write_private(home / AUTHORITY_KEY, key)
    write_private(home / TLS.authority, authority)
    write_private(home / TLS.key, own)
    write_private(home / TLS.certificate, certificates.sign_client(request, HUB, authority, key, now))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"there is no {path}: `hansa hub init` makes it") from error


def _plain(settings: Settings) -> dict[str, object]:
    return {name: msgspec.to_builtins(value) for name, value in asdict(settings).items()}
