"""What a site lets nobody subtract: totals over nearly the same sites, and answers that tell more together than alone.

    lock     ──note_total───► refused if an earlier total over the same columns was over other sites, and too few
    release  ──note_release─► refused if with earlier answers a small count could be computed (`differencing.py`)

Both look and write in the transaction of the letter, one writer at a time, so that two jobs at once can't pass each
other. A set of sites counts from the moment at which this site helps to open its total, and an answer from its consent
to the release, whatever a hub says of either later. What carries noise is paid for from the budget and not looked at.
"""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.jobs import decode_answer
from hansa.messages import SiteId, decode, encode
from hansa.plan import Plan, read
from hansa.privacy.differencing import Figure, refuse_revealing
from hansa_site.journal import Agreed, Totalled
from hansa_site.policy import Policy

_DIFFERING = 0x68616E7364  # the advisory lock's number
_NAMES = tuple[str, ...]


def note_total(db: Session, policy: Policy, plan: Plan, step: int, survivors: Sequence[SiteId]) -> None:
    """Before this site locks a survivor set."""
    if plan.noise is not None:
        return
    _lock(db)
    columns = set(plan.job().columns())
    query = select(Totalled).where(Totalled.table_name == plan.table)
    for row in db.scalars(query if not policy.sites_may_leave else query.where(Totalled.run != plan.run)):
        apart = set(survivors) ^ set(decode(row.sites, _NAMES))
        if columns & set(decode(row.columns, _NAMES)) and 0 < len(apart) < policy.least_difference:
            names = "', '".join(sorted(apart))
            raise Refused(
                f"an earlier total over columns in common (job {row.run[:8]}) differs by '{names}' alone: subtracted, "
                f"the two would show what so few sites hold; the policy wants {policy.least_difference} or none"
            )
    table, held = plan.table, encode(tuple(sorted(survivors)))
    db.add(Totalled(run=plan.run, step=step, table_name=table, columns=encode(tuple(sorted(columns))), sites=held))
    db.flush()


def note_release(db: Session, new: Agreed) -> None:
    """Before this site agrees to a release."""
    plan = read(new.plan)
    if plan.noise is None:
        _lock(db)
        refuse_release(db, new)
    db.add(new)
    db.flush()


def refuse_release(db: Session, new: Agreed) -> None:
    """Refuses an answer that with earlier ones, over the very same sites, shows a count below the minimum."""
    plan, figures = read(new.plan), _figures(new)
    if plan.noise is not None or plan.disclosure is None or not figures:
        return
    same = Agreed.table_name == new.table_name, Agreed.sites == new.sites, Agreed.run != new.run
    before = (_figures(row) for row in db.scalars(select(Agreed).where(*same).order_by(Agreed.at)))
    refuse_revealing(figures, before, plan.disclosure.minimum_cell)


def _figures(row: Agreed) -> Sequence[Figure]:
    plan = read(row.plan)
    return () if plan.noise is not None else plan.job().figures(decode_answer(row.answer), decode_answer(row.exact))


def _lock(db: Session) -> None:
    """One writer at a time; SQLite has no other."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_DIFFERING)))
