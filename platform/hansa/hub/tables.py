"""The tables of the consortium, as each site describes its own, and what may be asked over them. Changes nothing.

It is the site that decides, by its own policy; how it decided lately is counted here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.hub.actions import Hub
from hansa.hub.models import Job, Member, Participant
from hansa.jobs import KINDS, Field, form, parse
from hansa.jobs.base import Column, Schema
from hansa.messages import decode

LATELY = 500  # jobs, the newest, over which decisions are counted
_OUTCOMES = 3  # that are tried beside a column in a formula


class Decided(Struct, frozen=True):
    """Of the newest jobs over a table, how many times a site said what."""

    consented: int = 0
    refused: int = 0
    unanswered: int = 0


class TableView(Struct, frozen=True):
    """`columns`: of each the site's own description. `differences`: one sentence each. `kinds`: of each kind that the
    charter allows, the columns about which it can be asked of every site that has the table."""

    table: str
    sites: tuple[str, ...]
    columns: Mapping[str, Mapping[str, Column]]
    differences: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]
    decisions: Mapping[str, Decided]


def names(hub: Hub) -> list[str]:
    with Session(hub.reading) as db:
        return sorted(_declared(hub, db))


def tables(hub: Hub) -> list[TableView]:
    with Session(hub.reading) as db:
        declared, decisions = _declared(hub, db), _decisions(db)
    kinds = hub.desk.charter.rules.kinds or tuple(KINDS)
    return [_table(name, declared[name], kinds, decisions.get(name, {})) for name in sorted(declared)]


def _declared(hub: Hub, db: Session) -> dict[str, dict[str, Schema]]:
    """By table and site, of members."""
    here = {member.id for member in hub.desk.charter.members}
    found: dict[str, dict[str, Schema]] = {}
    for site, data in db.execute(select(Member.site, Member.tables).order_by(Member.site)):
        for schema in decode(data, tuple[Schema, ...]) if site in here else ():
            found.setdefault(schema.table, {})[site] = schema
    return found


def _table(
    name: str, schemas: Mapping[str, Schema], kinds: Sequence[str], decisions: Mapping[str, Decided]
) -> TableView:
    columns: dict[str, dict[str, Column]] = {}
    for site, schema in schemas.items():
        for column in schema.columns:
            columns.setdefault(column.name, {})[site] = column
    sites = tuple(schemas)
    differences = tuple(text for column in columns for text in _differences(column, columns[column], sites))
    asked = {kind: _columns_of(kind, tuple(schemas.values())) for kind in kinds if kind in KINDS}
    return TableView(name, sites, columns, differences, asked, decisions)


def _differences(name: str, described: Mapping[str, Column], sites: Sequence[str]) -> list[str]:
    found = []
    away = [site for site in sites if site not in described]
    if away:
        found.append(f"column '{name}' is not at {', '.join(away)}")
    for what in ("type", "unit", "categories"):
        said: dict[str, list[str]] = {}
        for site, column in described.items():
            value = getattr(column, what)
            said.setdefault((", ".join(value) if isinstance(value, tuple) else value) or "none", []).append(site)
        if len(said) > 1:
            each = "; ".join(f"{', '.join(who)}: {value}" for value, who in said.items())
            found.append(f"column '{name}' differs in its {what}: {each}")
    return found


def _columns_of(kind: str, schemas: Sequence[Schema]) -> tuple[str, ...]:
    """About which columns this kind passes its own check at every one of these tables, asked as simply as it can be."""
    shared = [one for one in schemas[0].columns if all(_has(schema, one.name) for schema in schemas)]
    numeric = [one.name for one in shared if one.type == "number"]
    names = (one.name for one in shared)
    return tuple(name for name in names if any(_passes(kind, each, schemas) for each in _simplest(kind, name, numeric)))


def _has(schema: Schema, column: str) -> bool:
    return any(one.name == column for one in schema.columns)


def _simplest(kind: str, column: str, numeric: Sequence[str]) -> list[dict[str, object]]:
    """The parameters of the simplest questions about a column: alone, or with another one where a kind takes several;
    a formula takes another one as its outcome."""
    fields = [field for field in form(kind) if field.required]
    formula = next((field.name for field in fields if field.type == "formula"), "")
    others = [name for name in numeric if name != column][:_OUTCOMES]
    asked: dict[str, object] = {}
    for field in fields:
        if field.type == "choice":
            asked[field.name] = field.choices[0]
        elif field.type != "formula":
            asked[field.name] = [column] if field.type == "columns" else column
    if not formula:
        return [asked, *_with_another(asked, fields, column, others)]
    return [{**asked, formula: f"{outcome} ~ {column}"} for outcome in others]


def _with_another(
    asked: Mapping[str, object], fields: Sequence[Field], column: str, others: Sequence[str]
) -> list[dict[str, object]]:
    """Two columns in a list of them; of two fields for a column, one with each."""
    lists = [field.name for field in fields if field.type == "columns"]
    single = [field.name for field in fields if field.type == "column"]
    found: list[dict[str, object]] = []
    for other in others:
        found += [{**asked, name: [column, other]} for name in lists]
        if len(single) == 2:
            found += [{**asked, one: other} for one in single]
    return found


def _passes(kind: str, asked: Mapping[str, object], schemas: Sequence[Schema]) -> bool:
    try:
        job = parse(kind, asked)
        for schema in schemas:
            job.check(schema)
    except Refused:
        return False
    return True


def _decisions(db: Session) -> dict[str, dict[str, Decided]]:
    last = db.scalar(select(func.max(Job.place)))
    query = select(Job.table_name, Participant.site, Participant.consent.is_not(None), Participant.stage)
    query = query.join(Participant, Participant.run == Job.run).where(Job.place > (last or 0) - LATELY)
    counted: dict[tuple[str, str], Counter[str]] = {}
    for table, site, consented, stage in db.execute(query):
        what = "consented" if consented else "refused" if stage == "refused" else "unanswered"
        counted.setdefault((table, site), Counter())[what] += 1
    found: dict[str, dict[str, Decided]] = {}
    for (table, site), counts in counted.items():
        found.setdefault(table, {})[site] = Decided(**counts)
    return found
