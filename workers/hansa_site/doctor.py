"""Is the site well: its home, tables, database, mailbox and letters. For `hansa site doctor`; changes nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

import hansa
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.boxes import Inbox
from hansa.mail.checks import Finding, broker, database, home, moment
from hansa.mail.checks.broker import Command, Kind
from hansa.mail.letters import apart
from hansa.mail.rules import site_prefix
from hansa.messages import HUB
from hansa_site import joining, log_state, policy_file, vault
from hansa_site.journal import Act, HubSeen, Run
from hansa_site.settings import Settings, read_settings
from hansa_site.tables import schema

NEW_KIT: Final = "ask the hub's operator for a new kit (`hansa site kit --again`), and join with it"
WRITTEN: Final = (*database.BOXES, Act.at, HubSeen.at, Run.started_at, Run.ended_at)
MEND: Final[Mapping[Kind, str]] = {
    "name": "correct `mailbox` in site.toml, or this machine's name service",
    "refused": "ask the hub's operator whether the mailbox's server runs and its port is open to this machine",
    "socket": "ask the hub's operator whether the mailbox's server runs, or correct `mailbox` in site.toml",
    "silent": "see that a firewall lets this machine out to it, and ask the hub's operator the same of theirs",
    "authority": "somebody may stand in between: tell the hub's operator before anything else; if the hub has a new "
    "authority, " + NEW_KIT,
    "expired": "see whether this machine's clock is right; if it is, the hub's operator runs `hansa hub renew`",
    "early": "set this machine's clock, and run NTP",
    "host": "correct the host in `mailbox` of site.toml, or " + NEW_KIT,
    "certificate": "it is another one than the mailbox was made for, or has ended: " + NEW_KIT,
    "password": "if the hub's operator changed it, join with the newest kit; else " + NEW_KIT,
    "permission": "ask the hub's operator to write its rules again (`hansa hub broker-rules`) and restart it",
    "full": "the hub empties it as it reads: ask the hub's operator whether the hub runs",
    "other": "ask the hub's operator what the server's log says",
}


def look(at: Path, now: float) -> list[Finding]:
    """Everything that can be looked at; what is missing takes only what depends on it along."""
    try:
        settings = read_settings(at)
    except Refused as refusal:
        mend = "name the site's home with --home; a new one is made by `hansa site init` and `hansa site join`"
        return [Finding("wrong", "home", str(refusal), mend)]
    found = [*_home(at, settings), *_tables(at, settings), home.room(at)]
    found.append(home.processes(at, False, "the site", "`systemctl start hansa-site`, and see its journal"))
    found += _mailbox(at, settings, now)
    engine, finding = database.opened(settings.database, "site")
    found.append(finding)
    if engine is None:
        return found
    try:
        with Session(engine) as db:
            found.append(database.clock(db, WRITTEN, now))
            found += [*_hub(db, now), *log_state.look(db), *policy_file.look(db, settings)]
            mend = "see the mailbox above; if it can be used, ask the hub's operator whether the hub runs"
            found += [database.waiting(db, HUB, mend, now), *database.aside(db, now)]
    finally:
        engine.dispose()
    return found


def _home(at: Path, settings: Settings) -> list[Finding]:
    mend = "put `keys` back from the site's backup; without one, the site is a new member"
    found = [*home.private(at, ("keys", "site.toml", "tls/site.key")), *home.keys(at, "site", mend)]
    if any(finding.mark == "wrong" and finding.about == "keys" for finding in found):
        return found
    try:
        charter = vault.read_charter(at, settings.name)
        if (at / joining.HUB_CARD).exists():
            joining.check_charter(at, charter)
    except (Refused, ProtocolViolation, OSError) as error:
        says = f"a file in {at} can't be read ({error.strerror})" if isinstance(error, OSError) else str(error)
        mend = "`hansa charter accept` keeps the charter; keys, cards and charter are of one backup"
        return [*found, Finding("wrong", "home", says, mend)]
    says = f"keys and charter are there: '{settings.name}' of '{charter.consortium}'"
    return [*found, Finding("ok", "home", says)]


def _tables(at: Path, settings: Settings) -> Iterator[Finding]:
    if not settings.table:
        yield Finding("note", "tables", "none is declared; `hansa site add-table` declares one")
    for source in settings.table:
        about = f"table {source.name}"
        try:
            yield Finding("ok", about, f"can be read, {len(schema(source, at).columns)} columns")
        except Refused as refusal:
            mend = f"correct [[table]] '{source.name}' in site.toml, or put the data there; then restart the site"
            yield Finding("wrong", about, str(refusal), mend)
        except OSError as error:
            mend = "let the site's user read the file, and the folders above it"
            yield Finding("wrong", about, f"table '{source.name}' can't be read ({error.strerror})", mend)


def _mailbox(at: Path, settings: Settings, now: float) -> Iterator[Finding]:
    try:
        address = settings.address(at)
    except Refused as refusal:
        yield Finding("wrong", "mailbox", str(refusal), "join again with the hub's kit: `hansa site join`")
        return
    yield from home.of_tls(address.tls, NEW_KIT, now) if address.tls is not None else ()
    of_site = site_prefix(settings.name)
    may: tuple[Command, ...] = (
        ("BRPOP", f"{of_site}tasks", "1"),
        ("SADD", f"{of_site}_kombu.binding.tasks", "x"),
        ("LPUSH", f"{of_site}hub", "x"),
        ("SET", f"{of_site}up:x", "x"),
        ("GET", f"{of_site}dn:x"),
    )
    probe = broker.probe(address, may, (f"{of_site}tasks",))
    well = f"can be used; {probe.lengths[0]} letters lie there for this site" if probe.lengths else ""
    yield broker.finding("mailbox", address, probe, MEND, well)


def _hub(db: Session, now: float) -> Iterator[Finding]:
    newest = db.scalar(select(func.max(Inbox.received_at)))
    if newest is None:
        mend = "see the mailbox above; if it can be used, ask the hub's operator whether the hub runs"
        yield Finding("wrong", "hub", "no letter of the hub has come yet", mend)
    else:
        yield Finding("ok", "hub", f"its last letter came {moment(newest, now)}")
    seen = db.get(HubSeen, 1)
    if seen is None:
        yield Finding("note", "hub's version", "not known: the hub has not said it yet")
    elif wrong := apart(hansa.__version__, seen.version):
        yield Finding("wrong", "hub's version", f"Hansa {seen.version}, said {moment(seen.at, now)}", wrong)
    else:
        yield Finding("ok", "hub's version", f"Hansa {seen.version}, said {moment(seen.at, now)}")
