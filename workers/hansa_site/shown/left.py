"""What left this site, by job and by sort."""

from msgspec import Struct
from sqlalchemy import func, select

from hansa_site.journal import Run, Sent, Spoken
from hansa_site.shown.opened import OpenedSite


class Sort(Struct, frozen=True):
    """Letters of one sort, or chunks. `kept`: each stands in a row of its own."""

    kind: str
    holds: str  # of a reply: the protocol's message in it
    count: int
    size: int
    kept: bool


class Leaf(Struct, frozen=True):
    """One letter or chunk; `digest` in hexadecimal."""

    at: float
    receiver: str
    kind: str
    holds: str
    size: int
    digest: str


class LeftOfJob(Struct, frozen=True):
    run: str
    count: int
    size: int
    last_at: float


def left(site: OpenedSite, run: str = "") -> list[Sort]:
    """Of one job, or of all and what belongs to none; the largest first."""
    kept = select(Sent.kind, Sent.holds, func.count(), func.sum(Sent.size)).group_by(Sent.kind, Sent.holds)
    spoken = select(Spoken.kind, func.sum(Spoken.count), func.sum(Spoken.size)).group_by(Spoken.kind)
    if run:
        kept, spoken = kept.where(Sent.run == run), spoken.where(Spoken.run == run)
    with site.reading() as db:
        found = [Sort(kind, holds, count, int(size), True) for kind, holds, count, size in db.execute(kept)]
        found += [Sort(kind, "", int(count), int(size), False) for kind, count, size in db.execute(spoken)]
    return sorted(found, key=lambda sort: -sort.size)


def since(site: OpenedSite) -> float | None:
    """When the first of it left; what left before this was kept is not in it."""
    with site.reading() as db:
        return db.scalar(select(func.min(Sent.at)))


def uncounted(site: OpenedSite, run: str) -> int:
    """Bytes of a job's letters from before each had a row of its own: a sum is all that is known of them."""
    with site.reading() as db:
        if db.scalar(select(Sent.id).where(Sent.run == run).limit(1)) is not None:
            return 0
        return db.scalar(select(Run.bytes_sent).where(Run.run == run)) or 0


def by_job(site: OpenedSite, most: int = 25, after: int = 0) -> list[LeftOfJob]:
    """The newest first; what belongs to no job stands under a run of zeros."""
    sums = select(Sent.run, func.count(), func.sum(Sent.size), func.max(Sent.at)).group_by(Sent.run)
    with site.reading() as db:
        rows = db.execute(sums.order_by(func.max(Sent.at).desc()).limit(most).offset(after))
        return [LeftOfJob(run, count, int(size), at) for run, count, size, at in rows]


def letters(site: OpenedSite, run: str, most: int = 100, after: int = 0) -> list[Leaf]:
    """Of a job, the newest first."""
    rows = select(Sent).where(Sent.run == run).order_by(Sent.id.desc()).limit(most).offset(after)
    with site.reading() as db:
        return [Leaf(row.at, row.receiver, row.kind, row.holds, row.size, row.digest.hex()) for row in db.scalars(rows)]
