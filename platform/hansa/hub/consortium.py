"""What the consortium agreed, as the hub knows it: members, charter, privacy budgets. Changes nothing.

A budget is what the site last told of it: its owner keeps the count.
"""

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

import hansa
from hansa import charter as charters
from hansa.audit.log import read as read_entry
from hansa.charter import Charter, threshold
from hansa.hub import exports
from hansa.hub.actions import Hub
from hansa.hub.models import EntryRow, Member, WitnessRow
from hansa.jobs import KINDS
from hansa.mail import charter_text
from hansa.mail.founding import digits, fingerprint
from hansa.mail.letters import Budgets, Standing, apart
from hansa.messages import decode
from hansa.words import words

MOST_VERSIONS = 10  # of the charter, whose signatures are looked at again
MOST_SPENDINGS = 2_000


class MemberCard(Struct, frozen=True):
    """`words` and `digits`: the fingerprint of all its keys, to be read aloud. `cosigned`: None if it is no witness."""

    site: str
    name: str
    words: str
    digits: str
    version: str
    apart: str
    seen_at: float | None
    cosigned: int | None
    refusal: str


class CharterVersion(Struct, frozen=True):
    """`signed`: by members of its own; `passed`: by members of the version before, None for the first. Of each `due`,
    `passing` must. `changes` against the version before."""

    version: int
    digest: str
    words: str
    members: int
    signed: tuple[str, ...]
    due: int
    passed: tuple[str, ...] | None
    passing: int
    changes: tuple[str, ...]
    adopted: float | None


class Spending(Struct, frozen=True):
    """What a job took of a budget, by the site's own entries; `share` of the whole."""

    run: str
    at: float
    share: float


class BudgetView(Struct, frozen=True):
    """A table's budget as its site last told it; `spent`, `reserved` and `left` are shares of the whole."""

    site: str
    table: str
    epsilon: str
    delta: str
    unit: str
    id_column: str
    spent: float
    reserved: float
    left: float
    jobs: tuple[Spending, ...]


def member_cards(hub: Hub) -> list[MemberCard]:
    with Session(hub.reading) as db:
        rows = {row.site: row for row in db.execute(select(Member.site, Member.version, Member.seen_at))}
        witnesses = {row.site: row for row in db.scalars(select(WitnessRow))}
    found, witnessed = [], hub.desk.charter.witnessed
    for member in hub.desk.charter.members:
        row, witness = rows.get(member.id), witnesses.get(member.id)
        version, seen = ("", None) if row is None else (row.version, row.seen_at)
        why = apart(hansa.__version__, version) if version else ""
        cosigned, refusal = (0, "") if witness is None else (witness.size, witness.refusal)
        names = member.id, member.name, fingerprint(member), digits(member)
        found.append(MemberCard(*names, version, why, seen, cosigned if witnessed else None, refusal))
    return found


def hub_fingerprint(hub: Hub) -> str:
    return fingerprint(hub.desk.charter.hub)


def versions(hub: Hub) -> list[CharterVersion]:
    """The newest `MOST_VERSIONS` that this home keeps, the newest first."""
    held = exports.signed_charters(hub.home)
    newest = sorted(held, reverse=True)[:MOST_VERSIONS]
    with Session(hub.reading) as db:
        query = select(EntryRow.at, EntryRow.data).where(EntryRow.act == "charter adopted")
        rows = db.execute(query.order_by(EntryRow.number)).all()
    adopted = {read_entry(data).details.get("charter", ""): at for at, data in rows}
    return [_version(held, number, adopted) for number in newest]


def _version(held: Mapping[int, bytes], number: int, adopted: Mapping[str, float]) -> CharterVersion:
    data = held[number]
    charter = charters.unsigned(data)
    before = charters.unsigned(held[number - 1]) if number - 1 in held else None
    signed = tuple(sorted(charters.signers(data, charter)))
    passed = None if before is None else tuple(sorted(charters.signers(data, before)))
    return CharterVersion(
        number,
        charter.digest.hex(),
        words(charter.digest),
        len(charter.members),
        signed,
        len(charter.members) if number == 1 else threshold(charter),
        passed,
        0 if before is None else threshold(before),
        () if before is None else tuple(charter_text.changes(charter, before)),
        adopted.get(charter.digest.hex()),
    )


def signed_charter(hub: Hub) -> bytes:
    """The file that every member's site holds too."""
    return (hub.home / "charter").read_bytes()


def charter_in_text(hub: Hub) -> str:
    return charter_text.text(hub.desk.charter)


def rules(charter: Charter) -> list[tuple[str, str]]:
    """What the members agreed for every job: of what, and a sentence."""
    agreed = charter.rules
    corrupt = (
        "a third of the participants, rounded down," if agreed.corrupt < 0 else f"{agreed.corrupt} of the participants"
    )
    kinds = ", ".join(KINDS[kind].title if kind in KINDS else kind for kind in agreed.kinds) or "every kind"
    final = f"{charter.quorum} of {len(charter.members)} members must cosign a checkpoint until it is final"
    return [
        ("Kinds", f"What may be asked: {kinds}. Each site's own policy may allow less."),
        ("Floor", f"Fewer than {agreed.minimum_sites} sites in a total give no answer."),
        (
            "Collusion",
            f"Up to {corrupt} may collude with the hub and learn no more than the total less their own.",
        ),
        ("Silence", f"A round waits {agreed.round_seconds} seconds for a site that is silent."),
        ("Log", f"{final}." if charter.witnessed else "The charter is of Hansa 0.1 and names no witnesses."),
        ("Budgets", "The charter sets none: the owner of each table sets its privacy budget, and keeps count."),
        ("Retention", f"What may be erased is kept {agreed.retention_years} years; the log's entries stay."),
        (
            "Next version",
            f"Must be signed by {threshold(charter)} members of this one, and as many as it asks for.",
        ),
    ]


def budgets(hub: Hub) -> list[BudgetView]:
    """Of members on the charter, in its order; a site that told of no budget for a table is not there."""
    with Session(hub.reading) as db:
        told = {row.site: row.budgets for row in db.execute(select(Member.site, Member.budgets))}
        spent = _spendings(db)
    found = []
    for member in hub.desk.charter.members:
        data = told.get(member.id)
        for one in decode(data, Budgets).tables if data else ():
            found.append(_budget(member.id, one, spent.get((member.id, one.table), {})))
    return found


def _budget(site: str, told: Standing, jobs: Mapping[str, tuple[float, int]]) -> BudgetView:
    spent, reserved, left = (part / max(told.total, 1) for part in (told.spent, told.reserved, told.left))
    names = told.table, told.epsilon, told.delta, told.unit, told.id_column
    each = tuple(Spending(run, at, amount / max(told.total, 1)) for run, (at, amount) in jobs.items())
    return BudgetView(site, *names, spent, reserved, left, each)


def _spendings(db: Session) -> dict[tuple[str, str], dict[str, tuple[float, int]]]:
    """By site and table: of each job when it last took something, and how much in all, the newest job first; from the
    newest `MOST_SPENDINGS` entries."""
    query = select(EntryRow.by, EntryRow.run, EntryRow.at, EntryRow.data).where(EntryRow.act == "budget spent")
    found: dict[tuple[str, str], dict[str, tuple[float, int]]] = {}
    for site, run, at, data in db.execute(query.order_by(EntryRow.number.desc()).limit(MOST_SPENDINGS)):
        details = read_entry(data).details
        amount = details.get("nano-rho", "")
        jobs = found.setdefault((site, details.get("table", "")), {})
        last, sum_ = jobs.get(run, (at, 0))
        jobs[run] = last, sum_ + (int(amount) if amount.isdecimal() and len(amount) < 20 else 0)
    return found
