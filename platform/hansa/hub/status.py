"""Is the hub well: its home, processes, brokers, members and jobs. For `hansa hub status`; changes nothing."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

import hansa
from hansa import key_file
from hansa.charter import Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import open_jobs
from hansa.hub import settings as hub_settings
from hansa.hub.models import Event, Job, Member, Participant
from hansa.hub.settings import Settings
from hansa.mail.checks import Finding, broker, database, home, moment
from hansa.mail.checks.broker import Command, Kind, Probe
from hansa.mail.letters import apart
from hansa.mail.post import HUB_PREFIX
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address, Tls

PROBES: Final = 16  # mailboxes that are tried at once; a silent one takes five seconds
RENEW: Final = "`hansa hub renew`, then `systemctl restart 'hansa-broker@*' hansa-hub`"
WRITTEN: Final = (*database.BOXES, Job.created_at, Event.at, Member.seen_at, Participant.changed_at)


def look(at: Path, now: float) -> list[Finding]:
    """Everything that can be looked at; what is missing takes only what depends on it along."""
    try:
        settings = hub_settings.read_settings(at)
    except Refused as refusal:
        return [
            Finding("wrong", "home", str(refusal), "name the hub's home with --home, or make one: `hansa hub init`")
        ]
    charter, found = _charter(at)
    found += [*_chunks(at, settings), home.room(at)]
    found.append(home.processes(at, True, "the hub", "`systemctl start hansa-hub`, and see its journal"))
    found += _brokers(at, settings, now)
    for member in charter.members if charter is not None else ():
        if member.id not in settings.mailboxes:
            mend = f"make it from the site's request: `hansa site kit {member.id}.request`"
            found.append(Finding("wrong", f"mailbox of {member.id}", "hub.toml names none", mend))
    engine, finding = database.opened(settings.database, "hub")
    found.append(finding)
    if engine is None:
        return found
    try:
        with Session(engine) as db:
            found.append(database.clock(db, WRITTEN, now))
            for member in charter.members if charter is not None else ():
                found += [_member(db.get(Member, member.id), member.id, now), _waiting(db, member.id, now)]
            found += open_jobs.look(db, charter, now)
            found += database.aside(db, now)
    finally:
        engine.dispose()
    return found


def _charter(at: Path) -> tuple[Charter | None, list[Finding]]:
    found = home.private(at, ("keys", "hub.toml", "tls/hub.key", "tls/authority.key"))
    found += home.keys(at, "hub", "put the hub's `keys` back from its backup")
    if any(finding.mark == "wrong" and finding.about == "keys" for finding in found):
        return None, found
    try:
        charter = hub_settings.read_charter(at)
    except (Refused, ProtocolViolation, OSError) as error:
        says = f"the charter in {at} can't be read" if isinstance(error, OSError) else str(error)
        mend = "`hansa charter draft` and `complete` make one; one that is damaged is in every site's home"
        return None, [*found, Finding("wrong", "home", says, mend)]
    if charter.hub.signing not in key_file.look(at).signing:
        mend = "put `keys` and `charter` back from one backup"
        return charter, [*found, Finding("wrong", "home", "the charter names other keys than this hub holds", mend)]
    members = f"'{charter.consortium}', {len(charter.members)} members"
    return charter, [*found, Finding("ok", "home", f"keys and charter are there: {members}")]


def _chunks(at: Path, settings: Settings) -> Iterator[Finding]:
    if settings.chunks:
        try:
            hub_settings.open_chunks(at)
            yield Finding("ok", "chunks", "the store can be used")
        except Refused as refusal:
            yield Finding("wrong", "chunks", str(refusal), "correct `chunks` and `[store]` in hub.toml")


# Brokers


def _brokers(at: Path, settings: Settings, now: float) -> Iterator[Finding]:
    try:
        private, mailboxes = settings.addresses(at)
    except Refused as refusal:
        yield Finding("wrong", "brokers", str(refusal), "correct hub.toml, or make the certificates again: " + RENEW)
        return
    tls: Tls | None = private.tls
    yield from home.of_tls(tls, RENEW, now) if tls is not None else ()
    for path in sorted((at / "brokers").glob("*/server.pem")):
        found = home.certificate(f"the server's certificate of {path.parent.name}", path, RENEW, now)
        if found.mark != "ok":
            yield found
    with ThreadPoolExecutor(PROBES) as pool:
        asked = pool.submit(broker.probe, private, _OWN)
        probes = list(pool.map(_probe, mailboxes, mailboxes.values()))
    yield broker.finding("the hub's broker", private, asked.result(), _mend("private"), "can be used")
    for (site, address), probe in zip(mailboxes.items(), probes, strict=True):
        yield _mailbox(site, address, probe)


_OWN: Final[tuple[Command, ...]] = (("LPUSH", f"{HUB_PREFIX}tasks", "x"), ("BRPOP", f"{HUB_PREFIX}tasks", "1"))


def _probe(site: str, address: Address) -> Probe:
    of_site, taken = site_prefix(site), f"{HUB_PREFIX}proc:{site}"
    tasks, way_in = f"{of_site}tasks", f"{of_site}hub"
    may = (
        ("LPUSH", tasks, "x"),
        ("BLMOVE", way_in, taken, "RIGHT", "LEFT", "1"),
        ("SET", f"{of_site}dn:x", "x"),
        ("GETDEL", f"{of_site}up:x"),
    )
    return broker.probe(address, may, (tasks, way_in, taken))


def _mailbox(site: str, address: Address, probe: Probe) -> Finding:
    letters = "" if not probe.lengths else f"{probe.lengths[0]} letters for the site, {sum(probe.lengths[1:])} for us"
    found = broker.finding(f"mailbox of {site}", address, probe, _mend(f"mailbox-{site}"), f"can be used: {letters}")
    return (
        Finding(found.mark, found.about, f"{found.says} ({letters})", found.mend) if found.mend and letters else found
    )


def _mend(unit: str) -> Mapping[Kind, str]:
    restart = f"`systemctl restart hansa-broker@{unit}`"
    return {
        "name": "correct the host in hub.toml, or this machine's name service",
        "refused": f"start it: {restart}, and see its log",
        "socket": "start the server, or correct the path in hub.toml",
        "silent": f"see that the host is up and no firewall is between; else {restart}",
        "authority": f"put the server's own folder back from the backup, or {RENEW}",
        "expired": f"see whether this machine's clock is right; if it is, {RENEW}",
        "early": "set this machine's clock, and run NTP",
        "host": "make the mailbox again under the right --host (`hansa site kit --again`), or correct hub.toml",
        "certificate": f"the hub's certificate is not the one that the server knows: {RENEW}",
        "password": f"hub.toml and the server's users.acl differ: {restart}; if it stays so, `hansa site kit --again`",
        "permission": f"write its rules again (`hansa hub broker-rules`), then {restart}",
        "full": f"the hub empties it as it reads; if it stays full, {restart}",
        "other": f"see the server's log, then {restart}",
    }


# Members


def _member(row: Member | None, site: str, now: float) -> Finding:
    about = f"site {site}"
    if row is None:
        mend = "ask its operator to start it, and to run `hansa site doctor`"
        return Finding("wrong", about, "it was never heard", mend)
    says = f"Hansa {row.version}, it last announced itself {moment(row.seen_at, now)}"
    if wrong := apart(hansa.__version__, row.version):
        return Finding("wrong", about, says, wrong)
    return Finding("ok", about, says)


def _waiting(db: Session, site: str, now: float) -> Finding:
    mend = f"ask the operator of '{site}' whether the site runs, and to run `hansa site doctor`"
    return database.waiting(db, site, mend, now)
