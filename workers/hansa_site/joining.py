"""How a site comes into a consortium: it draws its keys, takes the hub's kit, declares tables, signs the charter.

Its signing, sealing and TLS keys are drawn here and never leave; what leaves is public. The hub is the one whose
fingerprint its operator read aloud; its card is kept beside the keys, and no charter with another hub is signed.
"""

from pathlib import Path

import msgspec
from msgspec.structs import asdict, replace

from hansa import charter as charters
from hansa.charter import Charter, HubParty, Member
from hansa.errors import Refused
from hansa.files import write_private, write_toml
from hansa.jobs.base import Schema
from hansa.key_file import ASKED, Way
from hansa.mail import certificates
from hansa.mail.founding import make_request, open_kit, read_draft, sign_draft
from hansa.mail.tls import Tls
from hansa.messages import decode, encode, is_site_id
from hansa_site import vault
from hansa_site.settings import Settings, TableSource, convert, read_settings
from hansa_site.tables import schema

TLS = Tls("tls/authority.pem", "tls/site.pem", "tls/site.key")
HUB_CARD, CARD, CHARTER = "hub.card", "site.card", "charter"


def init(home: Path, name: str, institution: str = "", way: Way = ASKED) -> tuple[Member, bytes]:
    """Draws every key of a new site; gives its card and the request for the hub. Refuses a home that has keys."""
    if not is_site_id(name):
        raise Refused(f"'{name}' is no site name: small letters, digits and hyphens, at most 32, not 'hub'")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault.make_keys(home, way)
    (home / "tls").mkdir(mode=0o700, exist_ok=True)
    write_private(home / TLS.key, certificates.draw_key())
    card = vault.card(home, name, institution or name)
    write_private(home / CARD, encode(card))
    return card, request(home)


def request(home: Path) -> bytes:
    """Again, for a hub that lost it: the same keys."""
    card = own_card(home)
    wanted = certificates.make_request((home / TLS.key).read_bytes(), card.id)
    return make_request(card, wanted, vault.read_keys(home).signing)


def own_card(home: Path) -> Member:
    try:
        card = decode((home / CARD).read_bytes(), Member)
    except FileNotFoundError as error:
        raise Refused(f"{home} is not the home of a site: `hansa site init` makes one") from error
    if card.signing not in vault.held(home):
        raise Refused(f"the keys in {home} are not those that '{card.id}' was founded with")
    return card


def join(home: Path, kit: bytes, hub_fingerprint: str) -> tuple[HubParty, bytes]:
    """Writes certificates and site.toml; gives the hub's card and its authority's certificate. A second kit of the
    same hub changes the mailbox and its certificates, and leaves tables, policy and database."""
    card = own_card(home)
    hub, opened = open_kit(kit, card, vault.read_keys(home).sealing, hub_fingerprint)
    if (home / HUB_CARD).exists() and hub_card(home) != hub:
        raise Refused(f"the site in {home} has joined another hub; a site has one, so make a new home")
    if not certificates.belongs(opened.certificate, (home / TLS.key).read_bytes()):
        raise Refused("the kit's certificate is for another TLS key than this site holds: ask for a new kit")
    if (home / "site.toml").exists():
        settings = replace(read_settings(home), mailbox=opened.mailbox, tls=TLS)
    else:
        settings = Settings(card.id, opened.mailbox, f"sqlite:///{home.resolve()}/site.sqlite", tls=TLS)
    write_private(home / TLS.authority, opened.authority)
    write_private(home / TLS.certificate, opened.certificate)
    write_private(home / HUB_CARD, encode(hub))
    _write(home, settings)
    return hub, opened.authority


def hub_card(home: Path) -> HubParty:
    try:
        return decode((home / HUB_CARD).read_bytes(), HubParty)
    except FileNotFoundError as error:
        raise Refused(f"the site in {home} has joined no hub: `hansa site join NAME.kit` first") from error


def add_table(home: Path, source: TableSource) -> Schema:
    """Declares a table, after it was read once; gives what the other members will see of it."""
    settings = replace(read_settings(home), table=(*read_settings(home).table, source))
    convert(_plain(settings), "site.toml")
    seen = schema(source, home)
    _write(home, settings)
    return seen


def check_charter(home: Path, charter: Charter) -> None:
    """Refuses a charter, drafted or signed, that gives this site or its hub other keys."""
    card = own_card(home)
    if charter.member(card.id) != card:
        raise Refused(f"the charter names other keys for '{card.id}' than this site holds")
    if charter.hub != hub_card(home):
        raise Refused("the charter names another hub than the one this site has joined")


def read(home: Path, draft: bytes) -> Charter:
    charter = read_draft(draft)
    check_charter(home, charter)
    return charter


def sign(home: Path, charter: Charter) -> bytes:
    """This member's word on a draft that a person has read."""
    return sign_draft(charter, own_card(home).id, vault.read_keys(home))


def accept(home: Path, signed: bytes) -> Charter:
    """Keeps the charter that everybody signed; refuses another one than the site lives under."""
    charter, path = charters.load(signed), home / CHARTER
    check_charter(home, charter)
    if path.exists() and charters.load(path.read_bytes()) != charter:
        raise Refused(
            f"{home} holds another charter: a later version of a charter is not part of this version of Hansa"
        )
    write_private(path, signed)
    return charter


def _write(home: Path, settings: Settings) -> None:
    write_toml(home / "site.toml", _plain(settings))


def _plain(settings: Settings) -> dict[str, object]:
    found = {name: msgspec.to_builtins(value) for name, value in asdict(settings).items()}
    return {name: value for name, value in found.items() if value is not None}
