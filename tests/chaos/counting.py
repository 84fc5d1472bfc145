"""What all databases hold in the end: which letters never arrived, and what happened twice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256

from msgspec import Struct
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from hansa.audit.log import read
from hansa.errors import ProtocolViolation
from hansa.hub import log_check, models
from hansa.hub.models import EntryRow, Job
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.mail.database import open_engine
from hansa.messages import HUB
from hansa_site import journal

Key = tuple[str, int, bytes]  # run, sequence, digest of the bytes
ONCE = {"released", "ended", "proposal asked", "proposal signed", "consent given", "total opened", "survivors locked"}


class Found(Struct):
    messages: int = 0
    aside: int = 0
    lost: list[str] = []
    doubled: list[str] = []
    wrong: list[str] = []


def open_all(urls: dict[str, str]) -> dict[str, Engine]:
    return {name: open_engine(url, reading=True) for name, url in urls.items()}


def still_open(engines: dict[str, Engine]) -> dict[str, int]:
    """What has not come to its end: letters not acked, letters not worked off, entries not sent, jobs."""
    left: Counter[str] = Counter()
    for name, engine in engines.items():
        with Session(engine) as db:
            left[f"letters of {name} not acked"] = _count(db, Outbox.acked_at.is_(None))
            left[f"letters at {name} not worked off"] = _count(db, Inbox.done_at.is_(None))
            if name == HUB:
                left["jobs"] = _count(db, Job.status.in_(models.OPEN))
            else:
                left[f"entries of {name} not sent"] = _count(db, ~journal.OwnEntry.sent)
    return {what: number for what, number in left.items() if number}


def _count(db: Session, condition: object) -> int:
    return db.scalar(select(func.count()).where(condition)) or 0  # type: ignore[arg-type]


def count(engines: dict[str, Engine]) -> Found:
    found = Found()
    sites = [name for name in engines if name != HUB]
    for site in sites:
        for sender, receiver in ((HUB, site), (site, HUB)):
            _compare(engines, sender, receiver, found)
        _said_twice(engines[site], site, found)
    for name, engine in engines.items():
        with Session(engine) as db:
            found.aside += db.scalar(select(func.count()).select_from(SetAside)) or 0
            found.lost += [
                f"{name} to {receiver}: {kind} of {run} was never acked"
                for receiver, kind, run in db.execute(
                    select(Outbox.receiver, Outbox.kind, Outbox.run).where(Outbox.acked_at.is_(None))
                )
            ]
    with Session(engines[HUB]) as db:
        found.lost += [
            f"job {run} never ended" for run in db.scalars(select(Job.run).where(Job.status.in_(models.OPEN)))
        ]
    _log_twice(engines[HUB], found)
    return found


def _compare(engines: dict[str, Engine], sender: str, receiver: str, found: Found) -> None:
    """Both boxes in one order, a letter at a time: what was sent lies there with the same bytes, and nothing else."""
    sent = _keys(engines[sender], Outbox.receiver == receiver, (Outbox.run, Outbox.sequence, Outbox.data))
    got = _keys(engines[receiver], Inbox.sender == sender, (Inbox.run, Inbox.sequence, Inbox.data))
    here, there = next(sent, None), next(got, None)
    while here is not None or there is not None:
        found.messages += here is not None and (there is None or here[:2] <= there[:2])
        if here == there:
            here, there = next(sent, None), next(got, None)
        elif there is None or (here is not None and here[:2] <= there[:2]):
            found.lost.append(f"{sender} to {receiver}: letter {here[1]} of {here[0]} did not arrive" if here else "")
            here, there = next(sent, None), next(got, None) if here and there and here[:2] == there[:2] else there
        else:
            found.wrong.append(f"{receiver} holds letter {there[1]} of {there[0]} that {sender} did not write")
            there = next(got, None)


def _keys(engine: Engine, condition: object, columns: Sequence[object]) -> Iterator[Key]:
    with Session(engine) as db:
        # Binary order on both sides: the collations of two databases may differ.
        runs = sorted(db.scalars(select(columns[0]).where(condition).distinct()))  # type: ignore[call-overload]
    for run in runs:
        with Session(engine) as db:
            query = select(*columns).where(condition, columns[0] == run).order_by(columns[1])  # type: ignore[call-overload]
            yield from [(row[0], row[1], sha256(row[2]).digest()) for row in db.execute(query)]


def _said_twice(engine: Engine, site: str, found: Found) -> None:
    with Session(engine) as db:
        replies: dict[tuple[str, bytes], bytes] = {}
        for run, request, reply in db.execute(select(journal.Said.run, journal.Said.request, journal.Said.reply)):
            if replies.setdefault((run, request), sha256(reply).digest()) != sha256(reply).digest():
                found.doubled.append(f"{site} gave two replies to one request of {run}")
        acts = select(journal.Act.run, journal.Act.text, func.count()).group_by(journal.Act.run, journal.Act.text)
        for run, text, times in db.execute(acts.having(func.count() > 1)):
            if text.startswith(("contributes", "consents", "signs", "ended")):
                found.doubled.append(f"{site} in {run}, {times} times: {text}")


def _log_twice(engine: Engine, found: Found) -> None:
    seen: Counter[bytes] = Counter()
    with Session(engine) as db:
        try:
            log_check.check(db)
        except ProtocolViolation as violation:
            found.wrong.append(f"the log: {violation}")
            return
        for row in _log(db):
            entry = read(row.data)
            if entry.act in ONCE:
                details = "" if entry.act in ("released", "ended") else repr(sorted(entry.details.items()))
                key = f"{entry.run} {entry.act} {entry.by} {details}"
                seen[sha256(key.encode()).digest()] += 1
                if seen[sha256(key.encode()).digest()] == 2:
                    found.doubled.append(f"in the log twice: {key}")


def _log(db: Session) -> Iterator[EntryRow]:
    return iter(db.scalars(select(EntryRow).order_by(EntryRow.number).execution_options(yield_per=500)))
