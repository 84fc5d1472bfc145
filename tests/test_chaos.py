"""What `make chaos` counts: each sort of harm, done by hand to databases that were right, is found."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub.log import record
from hansa.hub.models import EntryRow, Job
from hansa.mail.boxes import Desk, Inbox, Outbox
from hansa.messages import HUB
from hansa_site.journal import Act, Said
from tests import cards
from tests.chaos import asking
from tests.chaos.counting import count, still_open
from tests.world import World


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("chaos"), sites=3, rules=Rules(round_seconds=600))
    assert world.finish(world.propose()).status == "done"
    world.drain()
    world.run_until(lambda: not still_open(world.engines), 200)
    return world


def test_a_run_in_which_nothing_went_wrong_counts_every_letter_and_no_harm(kept: World) -> None:
    found, written = count(kept.engines), 0
    for engine in kept.engines.values():
        with Session(engine) as db:
            written += len(db.scalars(select(Outbox.id)).all())
    assert found.messages == written > 60
    assert (found.lost, found.doubled, found.wrong, found.aside) == ([], [], [], 0)


def _lose(db: Session) -> None:
    db.execute(delete(Inbox).where(Inbox.id == db.scalar(select(Inbox.id).limit(1))))


def _alter(db: Session) -> None:
    db.execute(update(Inbox).where(Inbox.id == db.scalar(select(Inbox.id).limit(1))).values(data=b"other"))


def _leave_unacked(db: Session) -> None:
    db.execute(update(Outbox).where(Outbox.id == db.scalar(select(Outbox.id).limit(1))).values(acked_at=None))


def _invent(db: Session) -> None:
    row = db.scalars(select(Inbox).limit(1)).one()
    more = {"kind": row.kind, "data": b"new", "received_at": 0.0, "attempts": 0, "done_at": 0.0}
    db.add(Inbox(sender=row.sender, run=row.run, sequence=999, **more))


def _never_end(db: Session) -> None:
    db.execute(update(Job).values(status="running"))


DESK = Desk(HUB, cards.charter("abc"), cards.hub_keys(), None)  # type: ignore[arg-type]  # no chunk


def _release_twice(db: Session) -> None:
    record(db, DESK, 0.0, "released", db.scalars(select(Job.run)).one())


def _contribute_twice(db: Session) -> None:
    act = db.scalars(select(Act).where(Act.text.startswith("contributes")).limit(1)).one()
    db.add(Act(at=0.0, run=act.run, text=act.text))


def _say_otherwise(db: Session) -> None:
    said = db.scalars(select(Said).limit(1)).one()
    db.add(Said(run=said.run, number=999, request=said.request, reply=b"other", beside=None))


def _rewrite_the_log(db: Session) -> None:
    for (trigger,) in db.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
        db.execute(text(f"DROP TRIGGER {trigger}"))
    db.execute(update(EntryRow).where(EntryRow.number == 3).values(data=db.get_one(EntryRow, 2).data))


HARMS: dict[Callable[[Session], None], tuple[str, str]] = {
    _lose: ("s1", "lost"),
    _alter: (HUB, "lost"),
    _leave_unacked: ("s2", "lost"),
    _never_end: (HUB, "lost"),
    _release_twice: (HUB, "doubled"),
    _contribute_twice: ("s0", "doubled"),
    _say_otherwise: ("s1", "doubled"),
    _invent: ("s0", "wrong"),
    _rewrite_the_log: (HUB, "wrong"),
}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_harm_done_to_what_is_kept_is_counted(kept: World, harm: Callable[[Session], None]) -> None:
    party, sort = HARMS[harm]
    engine = kept.engines[party]
    with engine.connect() as connection, Session(connection) as db:
        harm(db)
        db.flush()
        found = count({**kept.engines, party: connection})  # type: ignore[dict-item]  # sees what is not committed
        db.rollback()
    told = {name: len(getattr(found, name)) for name in ("lost", "doubled", "wrong")}
    assert told == {"lost": 0, "doubled": 0, "wrong": 0} | {sort: 1}


def answer_of(sites: str, repeated: str = "") -> dict[str, object]:
    """A table of `s` as the product answers it."""
    rows = np.vstack([asking.rows_of(asking.SITES.index(site)) for site in [*sites, *repeated]])[:, 0]
    names, counts = np.unique(rows.astype(int), return_counts=True)
    told = {"row_names": [str(name) for name in names], "counts": [[int(number)] for number in counts]}
    return {"kind": "table", "column_names": [], **told}


def test_an_answer_is_right_over_exactly_the_sites_that_are_said_to_be_in_it() -> None:
    assert asking.wrong(answer_of("abcd"), "abcd") == "" == asking.wrong(answer_of("abd"), "abd")
    for answer, sites in ((answer_of("abc"), "abcd"), (answer_of("abcd"), "abc"), (answer_of("abcd", "b"), "abcd")):
        assert "differ" in asking.wrong(answer, sites)


def test_the_same_seed_asks_the_same_questions() -> None:
    drawn = [[asking.question(random.Random(seed)) for _ in range(3)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]


def test_tables_of_chaos_hold_what_is_recomputed(tmp_path: Path) -> None:
    asking.write_tables(tmp_path)
    for place, site in enumerate(asking.SITES):
        assert np.array_equal(np.loadtxt(tmp_path / f"{site}.csv", delimiter=",", skiprows=1), asking.rows_of(place))
