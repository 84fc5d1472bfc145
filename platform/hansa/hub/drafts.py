"""A charter on its way to the members' signatures, as the hub's operator handles it."""

import secrets
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import asdict
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import key_file
from hansa.charter import Charter, HubParty, Member, hub_of
from hansa.crypto.bundles import HUB_BYTES, HubKeys
from hansa.errors import Refused
from hansa.hub import kits
from hansa.hub import new_log as logs
from hansa.hub import settings as hub_settings
from hansa.mail import charter_files, renewal
from hansa.mail.database import open_engine
from hansa.mail.founding import Request, complete, read_draft


def draft(home: Path, consortium: str, requests: Sequence[Request], rules: dict[str, object], origin: str) -> bytes:
    """The first version, which nobody has signed; refuses a member that has no mailbox yet."""
    cards = _with_mailbox(home, requests)
    return charters.draft(consortium, kits.card(home), cards, charters.rules_from(rules), origin).encoded


def amend(
    home: Path,
    rules: Mapping[str, object],
    added: Sequence[Request] = (),
    renewed: Sequence[bytes] = (),
    removed: Sequence[str] = (),
) -> bytes:
    """The version after the one that holds: `rules` in place of those of the same name, members who come, whose keys
    are new (NAME.keys), and who go."""
    before = _held(home)
    hub, members = before.hub, {member.id: member for member in before.members}
    for name in removed:
        del members[before.member(name).id]
    for card in (renewal.read(data, before) for data in renewed):
        if isinstance(card, HubParty):
            hub = card
        else:
            members[card.id] = card
    for card in _with_mailbox(home, added):
        if card.id in members:
            raise Refused(f"'{card.id}' is a member already: its new keys come in {card.id}.keys, by `new-keys` there")
        members[card.id] = card
    changed = charters.rules_from({**_plain(before), **rules})
    return charters.draft(before.consortium, hub, list(members.values()), changed, before.origin, before).encoded


def new_log(home: Path) -> tuple[bytes, str]:
    """The version after the one that holds, which begins a new log and changes nothing else; and in a sentence what
    becomes of the old one. Refused where the log can go on, or too few members were asked what they know of it."""
    before = _held(home)
    engine = open_engine(hub_settings.read_settings(home).database, reading=True)
    try:
        with Session(engine) as db:
            logs.check_due(db, before)
            known = logs.told(db, before)
    finally:
        engine.dispose()
    origin, members = charters.next_origin(before), list(before.members)
    return charters.draft(before.consortium, before.hub, members, before.rules, origin, before).encoded, known


def finish(home: Path, drafted: bytes, signatures: Sequence[bytes]) -> tuple[Charter, bytes]:
    """Keeps the charter with the members' signatures; gives it, to be sent to everybody."""
    charter, held = read_draft(drafted), charter_files.current(home)
    if held is not None and held.digest == charter.digest:
        raise Refused(f"version {held.version} of the charter is complete already: {home / charter_files.CHARTER}")
    if held is not None and (charter.version, charter.previous) != (held.version + 1, held.digest):
        raise Refused(f"the draft does not follow from version {held.version}, which {home} holds: another charter")
    _check_own(home, charter)
    signed = complete(charter, signatures, held)
    accept(home, signed)
    return charter, signed


def accept(home: Path, signed: bytes) -> Charter:
    """The hub lives under this version from its next start on; keys that no version names any more are erased."""
    charter = charter_files.check_next(home, signed)
    _check_own(home, charter)
    charter_files.keep(home, signed, charter)
    named = [one.hub.signing for one in (*charter_files.former(home, charter), charter)]
    key_file.forget(home, set(named[:-2]) - set(named[-2:]))
    return charter


def new_keys(home: Path) -> bytes:
    """Draws the hub's new keys beside those that hold; gives hub.keys. Asked again, it gives the same ones."""
    charter = _held(home)
    every = (*charter_files.former(home, charter), charter)
    seeds = key_file.beside(home, {one.hub.signing for one in every}, lambda: secrets.token_bytes(HUB_BYTES))
    return renewal.of_hub(charter, hub_settings.read_keys(home), HubKeys(seeds))


def _held(home: Path) -> Charter:
    held = charter_files.current(home)
    if held is None:
        raise Refused(f"{home} holds no charter yet: `hansa charter draft` begins one")
    return held


def _check_own(home: Path, charter: Charter) -> None:
    """The keys are opened only if the charter's are new: their signing key alone is seen from outside."""
    if charter.hub.signing not in key_file.look(home).signing:
        raise Refused("the draft is of another hub")
    if charter.witnessed and charter.hub not in [hub_of(keys) for keys in hub_settings.read_all(home) if keys.log]:
        raise Refused("the draft is of another hub")


def _with_mailbox(home: Path, requests: Sequence[Request]) -> list[Member]:
    mailboxes = hub_settings.read_settings(home).mailboxes
    cards = [request.card for request in requests]
    without = sorted(card.id for card in cards if card.id not in mailboxes)
    if without:
        raise Refused(f"{', '.join(without)} has no mailbox at this hub: `hansa site kit` makes it")
    return cards


def _plain(charter: Charter) -> dict[str, object]:
    return {**asdict(charter.rules), "kinds": list(charter.rules.kinds)}


def read_rules(path: Path | None) -> dict[str, object]:
    """The `[rules]` of a TOML file, as a consortium file has them."""
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not a TOML file: {error}") from error
    rules = found.get("rules", {})
    if not isinstance(rules, dict) or set(found) - {"rules"}:
        raise Refused(f"{path} holds something else than a table [rules]")
    return rules
