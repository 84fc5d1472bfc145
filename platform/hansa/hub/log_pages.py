"""A page of the log under filters, answered from an index whatever the log's size.

One filter leads, and its index gives the order; the others are looked for on the way. Where they are so rare that a
page is not full after `MOST_LOOKED` rows it ends there, and the next one goes on: no page takes long.

| leads           | order                                                         |
|-----------------|---------------------------------------------------------------|
| a table, a kind | by job, the one that was proposed last first                  |
| a time          | by the authors' clocks, the newest first                      |
| anything else   | as the log has them, the newest first                         |
"""

import re
from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct
from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from hansa.audit.log import read
from hansa.errors import Refused
from hansa.hub.models import EntryRow

MOST_LOOKED = 20_000  # rows for a page
MOST_PROPOSALS, MOST_JOBS = 2_000, 200  # for a page: looked at, and of the table or kind that is wanted
MOST_RUNS = 20  # whose ids begin alike
COUNTED = 10_000  # beyond which matches are not counted
_LAST = 2**62  # no row has such a number
_BEGINNING = re.compile(r"[0-9a-f]{1,32}")
_PROPOSED = "proposal asked"
Mark: TypeAlias = tuple[float, ...]  # the keys, in a lead's order, of the row with which a page begins


class Wanted(Struct, frozen=True):
    """Of the log: who acted and how (empty: everybody, everything), since when and until when by the author's clock; of
    the jobs whose id begins with `run`, of those over a table, or of a kind."""

    by: str = ""
    act: str = ""
    since: float = 0.0
    until: float = inf
    run: str = ""
    table: str = ""
    kind: str = ""


EVERYTHING = Wanted()


class Found(NamedTuple):
    """Numbers of rows in order, and where the next page begins."""

    rows: Sequence[int]
    older: Mark | None


class _Lead(NamedTuple):
    """Equal to something by `where`, ordered by `keys`, the first of which lies in [`low`, `high`)."""

    where: tuple[ColumnElement[bool], ...]
    keys: tuple[InstrumentedAttribute[Any], ...]
    rest: tuple[ColumnElement[bool], ...]
    low: float = 0.0
    high: float = inf

    def between(self, start: Mark | None, end: Mark | None) -> list[ColumnElement[bool]]:
        """From `start` on down to before `end`. An index is walked between one upper and one lower bound: a second one
        would only be looked at on the way."""
        found, first = list(self.where), self.keys[0]
        several = len(self.keys) > 1
        if start is not None:
            found.append(tuple_(*self.keys) <= tuple_(*start) if several else first <= start[0])
        elif self.high < inf:
            found.append(first < self.high)
        if end is not None:
            found.append(tuple_(*self.keys) > tuple_(*end) if several else first > end[0])
        elif self.low > 0:
            found.append(first >= self.low)
        return found


def find(db: Session, wanted: Wanted, start: Mark | None = None, limit: int = 100) -> Found:
    """Refused where too many jobs begin with `run`."""
    if wanted.table or wanted.kind:
        return _of_jobs(db, wanted, start, limit)
    lead = _lead(db, wanted)
    order = [key.desc() for key in lead.keys]
    end: Mark | None = None
    if lead.rest:
        walk = select(*lead.keys).where(*lead.between(start, None)).order_by(*order)
        row = db.execute(walk.offset(MOST_LOOKED).limit(1)).first()
        end = None if row is None else tuple(row)
    query = select(EntryRow.number, *lead.keys).where(*lead.between(start, end), *lead.rest)
    rows = db.execute(query.order_by(*order).limit(limit + 1)).all()
    older = tuple(rows[limit][1:]) if len(rows) > limit else end
    return Found([row[0] for row in rows[:limit]], older)


def count(db: Session, wanted: Wanted) -> int | None:
    """How many entries match, `COUNTED` + 1 for more than that; None where no index alone can tell."""
    if wanted.table or wanted.kind:
        return None
    lead = _lead(db, wanted)
    if lead.rest:
        return None
    matching = select(lead.keys[0]).where(*lead.between(None, None))
    counted = matching.order_by(*(key.desc() for key in lead.keys)).limit(COUNTED + 1).subquery()
    return db.scalar(select(func.count()).select_from(counted)) or 0


def _lead(db: Session, wanted: Wanted) -> _Lead:
    on_the_way = (*_besides(EntryRow.act, wanted.act), *_besides(EntryRow.by, wanted.by))
    if wanted.run:
        runs = runs_of(db, wanted.run) or [wanted.run]
        of_run = EntryRow.run == runs[0] if len(runs) == 1 else EntryRow.run.in_(runs)
        return _Lead((of_run,), (EntryRow.number,), (*_time(wanted), *on_the_way))
    if _time(wanted):
        return _Lead((), (EntryRow.at, EntryRow.number), on_the_way, wanted.since, wanted.until)
    if wanted.act:
        return _Lead((EntryRow.act == wanted.act,), (EntryRow.number,), _besides(EntryRow.by, wanted.by))
    if wanted.by:  # an author's own count follows the log's
        return _Lead((EntryRow.by == wanted.by,), (EntryRow.sequence,), ())
    return _Lead((), (EntryRow.number,), ())


def _time(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    since = (EntryRow.at >= wanted.since,) if wanted.since > 0 else ()
    return (*since, EntryRow.at < wanted.until) if wanted.until < inf else since


def _besides(column: InstrumentedAttribute[str], value: str) -> tuple[ColumnElement[bool], ...]:
    """`column` is `value`, in words for which no index is looked up: a lead's is in use."""
    return (column.concat("") == value,) if value else ()


def runs_of(db: Session, beginning: str) -> list[str]:
    """The jobs of the log whose id begins so."""
    if _BEGINNING.fullmatch(beginning) is None:
        return []
    if len(beginning) == 32:
        return [beginning]
    found: list[str] = []
    low = EntryRow.run >= beginning
    while (run := db.scalar(select(func.min(EntryRow.run)).where(low, EntryRow.run < beginning + "g"))) is not None:
        if len(found) == MOST_RUNS:
            raise Refused(f"more than {MOST_RUNS} jobs begin with '{beginning}': give more of the id")
        found.append(run)
        low = EntryRow.run > run
    return found


def _of_jobs(db: Session, wanted: Wanted, start: Mark | None, limit: int) -> Found:
    """A mark is that of a job's proposal, and of an entry of the job."""
    where = [EntryRow.act == _PROPOSED]
    if start is not None:
        where.append(EntryRow.number <= start[0])
    query = select(EntryRow.number, EntryRow.run, EntryRow.data).where(*where)
    proposals = db.execute(query.order_by(EntryRow.number.desc()).limit(MOST_PROPOSALS + 1)).all()
    runs = set(runs_of(db, wanted.run)) if wanted.run else None
    rest = (*_time(wanted), *_besides(EntryRow.act, wanted.act), *_besides(EntryRow.by, wanted.by))
    rows: list[int] = []
    jobs = 0
    for place, (proposal, run, data) in enumerate(proposals):
        if place == MOST_PROPOSALS or jobs == MOST_JOBS:
            return Found(rows, (proposal, _LAST))
        if not _is_of(data, wanted) or (runs is not None and run not in runs):
            continue
        jobs += 1
        from_ = start[1] if start is not None and start[0] == proposal else _LAST
        of_run = select(EntryRow.number).where(EntryRow.run == run, EntryRow.number <= from_, *rest)
        found = db.scalars(of_run.order_by(EntryRow.number.desc()).limit(limit + 1 - len(rows))).all()
        rows += found
        if len(rows) > limit:
            return Found(rows[:limit], (proposal, rows[limit]))
    return Found(rows, None)


def _is_of(proposal: bytes, wanted: Wanted) -> bool:
    details = read(proposal).details
    return all(value in ("", details.get(name)) for name, value in (("table", wanted.table), ("kind", wanted.kind)))
