"""What an operator sets for a hub: `hub.toml` in its home, readable by its user alone (addresses hold passwords)."""

from pathlib import Path

import msgspec
from msgspec import Struct

from hansa import installed, key_file, toml
from hansa.charter import Charter, load, unsigned
from hansa.crypto.bundles import HubKeys
from hansa.errors import ProtocolViolation, Refused
from hansa.hub.page import Page
from hansa.mail import charter_files
from hansa.mail.blobs import Chunks, Folder
from hansa.mail.boxes import Desk
from hansa.mail.bucket import Access, Bucket
from hansa.mail.tls import Address, Tls, address
from hansa.messages import HUB
from hansa.wrapping import ASKED, Way


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """`database` is an SQLAlchemy URL; `private` and each of `mailboxes` a Redis URL (unix://, rediss://, and redis://
    on this machine). `tls` is for all that begin with rediss://; `address`, where sites find their mailboxes.

    `chunks`: where large vectors lie, `s3://bucket/prefix`, and `store` how to get there; empty: in the hub's home.
    `page` is of the page that `hansa dashboard` serves. `kind_digests`: of the kinds of other houses that this hub
    runs, as `hansa site policy kinds` prints them.
    """

    database: str
    private: str
    mailboxes: dict[str, str]
    tls: Tls | None = None
    address: str = ""
    chunks: str = ""
    store: Access = Access()
    page: Page = Page()
    kind_digests: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Settings({len(self.mailboxes)} mailboxes)"

    def addresses(self, home: Path) -> tuple[Address, dict[str, Address]]:
        """Of the private server, and of each site's mailbox."""
        tls = None if self.tls is None else self.tls.at(home)
        return address(self.private, tls), {site: address(url, tls) for site, url in self.mailboxes.items()}


def read_settings(home: Path) -> Settings:
    path = home / "hub.toml"
    try:
        settings = msgspec.convert(toml.read(path), Settings)
    except FileNotFoundError as error:
        raise Refused(f"{home} is not the home of a hub: it holds no hub.toml") from error
    except msgspec.ValidationError as error:
        raise Refused(f"{path}: {error}") from error
    installed.refuse_unfit(settings.kind_digests, (), f"{path}: 'kind_digests'")
    installed.admit(settings.kind_digests)
    return settings


def read_charter(home: Path) -> Charter:
    try:
        return load((home / "charter").read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no charter yet: `hansa charter draft` and `complete` make one") from error


def make_keys(home: Path, seeds: bytes, way: Way = ASKED) -> None:
    """Writes the hub's keys; the caller draws the seeds. An existing key is never overwritten."""
    key_file.make(home, seeds, way)


def read_keys(home: Path) -> HubKeys:
    """Those that the charter names, if there is one; else those that are used first."""
    return read_all(home)[0]


def read_all(home: Path) -> list[HubKeys]:
    """Every bundle that the hub holds, the one that the charter names first."""
    try:
        found = [HubKeys(seeds) for seeds in key_file.read(home)]
    except FileNotFoundError as error:
        raise Refused(f"{home} is not the home of a hub: it holds no keys") from error
    except ValueError as error:
        raise Refused(f"the keys in {home} are damaged") from error
    named = _named(home)
    return sorted(found, key=lambda keys: keys.signing.public != named)


def _named(home: Path) -> bytes:
    try:
        return unsigned((home / "charter").read_bytes()).hub.signing
    except (FileNotFoundError, ProtocolViolation):
        return b""


def open_desk(home: Path) -> Desk:
    """What every process of the hub opens: its name, charter and keys, and the one place where its chunks lie. The keys
    are opened when they are first used."""
    charter = read_charter(home)
    return Desk(HUB, charter, lambda: read_all(home), open_chunks(home), charter_files.former(home, charter))


def open_chunks(home: Path) -> Chunks:
    settings = read_settings(home)
    if not settings.chunks:
        return Folder(home / "chunks")
    bucket = Bucket(settings.chunks, settings.store)
    bucket.check()
    return bucket
