"""Tables of this site, and what noise may still cost over each."""

from msgspec import Struct
from sqlalchemy import func, select

from hansa.mail.letters import Standing
from hansa.plan import read
from hansa_site import budget
from hansa_site.journal import Agreed, BudgetLine, Run, Withdrawn
from hansa_site.shown.opened import OpenedSite

_SHOWN = 50  # lines of a budget


class TableView(Struct, frozen=True):
    """`source` says of what sort it is, and holds no address: one may hold a password. `running`: jobs over it that are
    open here; `answers`: those with its rows that this site has agreed to."""

    name: str
    source: str
    withdrawn_at: float | None
    running: tuple[str, ...]
    answers: int


class Line(Struct, frozen=True):
    """What a job takes of a budget, in words."""

    run: str
    at: float
    reserved: str
    spent: str
    is_open: bool


class BudgetView(Struct, frozen=True):
    """Of `standing`, shares of the whole between 0 and 1."""

    standing: Standing
    spent: float
    reserved: float
    lines: tuple[Line, ...]


def tables(site: OpenedSite) -> list[TableView]:
    with site.reading() as db:
        withdrawn = {row.table_name: row.at for row in db.scalars(select(Withdrawn))}
        counts = select(Agreed.table_name, func.count()).group_by(Agreed.table_name)
        answers = dict(db.execute(counts).all())
        running: dict[str, list[str]] = {}
        for run, plan in db.execute(select(Run.run, Run.plan).where(Run.ended_at.is_(None))):
            running.setdefault(read(plan).table, []).append(run)
    return [
        TableView(
            source.name,
            "a query of a database" if source.url else f"the file {source.path}",
            withdrawn.get(source.name),
            tuple(running.get(source.name, ())),
            answers.get(source.name, 0),
        )
        for source in site.settings.table
    ]


def budgets(site: OpenedSite) -> list[BudgetView]:
    with site.reading() as db:
        found = []
        for table, held in sorted(site.settings.policy.budget.items()):
            rows = select(BudgetLine).where(BudgetLine.table_name == table).order_by(BudgetLine.at.desc()).limit(_SHOWN)
            standing = budget.standing(db, table, held)
            whole = max(standing.total, 1)
            lines = tuple(_line(row, whole) for row in db.scalars(rows))
            found.append(BudgetView(standing, standing.spent / whole, standing.reserved / whole, lines))
    return found


def _line(row: BudgetLine, whole: int) -> Line:
    spent, reserved = budget.percent(row.spent, whole), budget.percent(row.reserved, whole)
    return Line(row.run, row.at, reserved, spent, row.closed_at is None)
