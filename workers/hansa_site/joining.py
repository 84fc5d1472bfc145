"""How a site comes into a consortium: it draws its keys, takes the hub's kit, declares tables, signs the charter.

Its signing, sealing and TLS keys are drawn here and never leave; what leaves is public. The hub is the one whose
fingerprint its operator read aloud; its card is kept beside the keys, and no charter with another hub is signed.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import asdict, replace

from hansa import key_file
from hansa.charter import Charter, HubParty, Member, check_follows
from hansa.crypto.bundles import MEMBER_BYTES, MemberKeys
from hansa.errors import Refused
from hansa.files import write_private, write_toml
from hansa.jobs.base import Schema
from hansa.mail import certificates, charter_files, renewal
from hansa.mail.founding import make_request, open_kit, read_draft, sign_draft
from hansa.mail.tls import Tls
from hansa.messages import decode, encode, is_site_id
from hansa.wrapping import ASKED, Way
from hansa_site import vault
from hansa_site.policy import POLICY
from hansa_site.settings import Settings, TableSource, convert, read_settings
from hansa_site.tables import schema

TLS = Tls("tls/authority.pem", "tls/site.pem", "tls/site.key")
HUB_CARD, CARD = "hub.card", "site.card"


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


def name_of(home: Path) -> str:
    """The site's name; a home on one machine with its hub has settings and no card."""
    return own_card(home).id if (home / CARD).exists() else read_settings(home).name


def check_charter(home: Path, charter: Charter) -> None:
    """Refuses a charter, drafted or signed, that gives this site or its hub other keys. The hub's may change in a later
    version, which the members sign."""
    name = name_of(home)
    if charter.member(name).signing not in vault.held(home):
        raise Refused(f"the charter names other keys for '{name}' than this site holds")
    first = charter_files.current(home) is None or charter.version == 1
    if first and (home / CARD).exists() and (charter.hub != hub_card(home) or charter.member(name) != own_card(home)):
        raise Refused("the charter names another hub than the one this site has joined, or other keys for this site")


def read(home: Path, draft: bytes) -> Charter:
    """A draft that this site may sign: the first, or the one that follows from the version it holds."""
    charter, held = read_draft(draft), charter_files.current(home)
    check_charter(home, charter)
    if held is not None and (charter.version, charter.previous) != (held.version + 1, held.digest):
        raise Refused(f"the draft is of another charter: it does not follow from version {held.version}")
    if held is not None:
        check_follows(charter, held)
    return charter


def sign(home: Path, charter: Charter) -> bytes:
    """This member's word on a draft that a person has read: by its keys that hold, and by the draft's if they are
    new."""
    name, held = name_of(home), charter_files.current(home)
    due = {one.member(name).signing for one in (held, charter) if one is not None and name in _names(one)}
    keys = [one for one in vault.read_all(home) if one.signing.public in due]
    vault.check_own(charter, name, _of(keys, charter.member(name).signing), home)
    return sign_draft(charter, name, keys)


def accept(home: Path, signed: bytes) -> Charter:
    """The site lives under this version from its next start on; keys that no version names any more are erased."""
    charter, name = charter_files.check_next(home, signed), name_of(home)
    if name not in _names(charter):
        raise Refused(f"'{name}' is no member any more by version {charter.version} of the charter: this site can stop")
    check_charter(home, charter)
    vault.check_own(charter, name, _of(vault.read_all(home), charter.member(name).signing), home)
    charter_files.keep(home, signed, charter)
    write_private(home / CARD, encode(charter.member(name)))
    write_private(home / HUB_CARD, encode(charter.hub))
    named = [one.member(name).signing for one in (*charter_files.former(home, charter), charter) if name in _names(one)]
    key_file.forget(home, set(named[:-2]) - set(named[-2:]))
    return charter


def new_keys(home: Path) -> bytes:
    """Draws new keys beside those that hold; gives NAME.keys. Asked again, it gives the same ones."""
    charter, name = charter_files.current(home), name_of(home)
    if charter is None:
        raise Refused(f"{home} holds no charter yet, so nobody knows its keys: a new home has new ones")
    every = [one for one in (*charter_files.former(home, charter), charter) if name in _names(one)]
    named = {one.member(name).signing for one in every}
    seeds = key_file.beside(home, named, lambda: secrets.token_bytes(MEMBER_BYTES))
    return renewal.of_member(charter, name, vault.read_keys(home), MemberKeys(seeds))


def _names(charter: Charter) -> set[str]:
    return {member.id for member in charter.members}


def _of(held: Sequence[MemberKeys], signing: bytes) -> MemberKeys:
    return next(keys for keys in held if keys.signing.public == signing)


def _write(home: Path, settings: Settings) -> None:
    plain = _plain(settings)
    if (home / POLICY).exists():  # the policy is there, and stays there
        del plain["policy"]
    write_toml(home / "site.toml", plain)


def _plain(settings: Settings) -> dict[str, object]:
    found = {name: msgspec.to_builtins(value) for name, value in asdict(settings).items()}
    return {name: value for name, value in found.items() if value is not None}
