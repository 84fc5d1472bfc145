"""A new log, begun after an older database was put back: what the operator hides of the one before."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit import log
from hansa.audit.log import first_row
from hansa.charter import Charter
from hansa.hub import checkpoints, new_log
from hansa.hub import log as the_log
from hansa.hub.models import CheckpointRow, EntryRow
from hansa.mail.boxes import Desk
from hansa.messages import HUB
from tests import anew
from tests.operator.hand import Operator
from tests.operator.play import manipulation

COMMITS = "entries of the log before, and this log's first entry commits to"
Details = dict[str, str]


def begin(op: Operator, change: Callable[[Session, Details], Details] = lambda _, said: said) -> Details:
    """The database of the middle of the job is put back; members begin a new log, of which the first entry says
    something else; gives what an honest one would have said."""
    world, honest = op.world, Details()
    middle = Path(world.engines[HUB].url.database or "").parents[2] / "middle" / f"{HUB}.sqlite"
    anew.put_back(world, middle)
    world.run_until(lambda: anew.all_heard(world))
    known_of = new_log._known_of

    def known(db: Session, desk: Desk, before: Charter) -> Details:
        honest.update(known_of(db, desk, before))
        return change(db, dict(honest))

    op.replace(new_log, "_known_of", known)
    anew.accept_all(world, anew.draft(world))
    op.desk, op.charter = world.desks[HUB], world.charter
    return honest


def own_checkpoint(db: Session, said: Details) -> Details:
    """As if nobody had seen more than what is left."""
    newest = db.scalars(select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1)).one()
    return said | {"witnessed": newest.note.decode()}


@manipulation("cosigned", "verify", "had cosigned 76 " + COMMITS)
def a_new_log_commits_to_less_than_members_had_cosigned(op: Operator) -> None:
    begin(op, own_checkpoint)


@manipulation("cosigned", "compare", "is of 76 entries of the log before")
def a_new_log_commits_to_less_and_members_can_not_say_so(op: Operator) -> None:
    """Their first entries are left out of the export's log, with all that they write."""
    from hansa.hub import coordinator

    op.replace(coordinator, "take_entries", lambda *_: None)
    begin(op, own_checkpoint)


@manipulation("cosigned", "verify", "it was not asked")
def a_new_log_says_that_the_member_who_saw_more_was_not_asked(op: Operator) -> None:
    begin(op, lambda db, said: own_checkpoint(db, said) | {"heard": "s0, s1, s2"})


@manipulation("cosigned", "verify", "1 members were asked how far they had cosigned the log before; 3 must")
def a_new_log_asks_one_member_alone(op: Operator) -> None:
    begin(op, lambda db, said: own_checkpoint(db, said) | {"heard": "s1"})


@manipulation("cosigned", "verify", "the log before is not the one of version 1 of the charter")
def a_new_log_names_another_log_before_it(op: Operator) -> None:
    begin(
        op, lambda _, said: {name: value for name, value in said.items() if name != "witnessed"} | {"former log": "x/0"}
    )


@manipulation("cosigned", "verify", "does not say what went before it")
def a_new_log_says_nothing_of_the_one_before(op: Operator) -> None:
    begin(op, lambda *_: {})


@manipulation("cosigned", "verify", "these are not the entries of the log before that this log's first commits to")
def what_is_left_of_the_log_before_is_cut_off_in_the_export(op: Operator) -> Callable[[Path], None]:
    """An older export of it, in which the job was never asked, lies in its place."""
    begin(op)

    def cut(out: Path) -> None:
        former = out / "former" / "1" / "tile"
        shutil.rmtree(former / "entries")
        with op.db() as db:
            size = the_log.size(db)
        few = b"".join(len(data).to_bytes(2, "big") + data for data in op.leaves()[: size - 1])
        for width in range(1, size + 1):
            path = former / "entries" / f"000.p/{width}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(few + b"\x00\x01x")

    return cut


@manipulation("cosigned", "verify", "it is of the log 'hansa/test/0'")
def an_entry_of_the_log_before_is_replayed_in_the_new_one(op: Operator) -> None:
    begin(op)
    op.world.run_until(lambda: anew.settled(op.world))
    with op.db() as db:
        first = first_row(op.charter)
        due = the_log._next_of(db, "s1", first)
        old = db.scalars(select(EntryRow.data).where(EntryRow.by == "s1", EntryRow.sequence == due)).one()
        the_log.append(db, [(old, log.read(old))], first)


@manipulation("cosigned", "verify", "no version of the charter begins a new one")
def a_new_log_begins_without_the_members_word(op: Operator) -> None:
    """Under the same name, as if it had been agreed."""
    op.export_all()
    _restart_log(op, {"former log": op.charter.origin, "former size": "0", "former root": "0" * 64, "heard": ""})


@manipulation("cosigned", "site", "does not cosign: 409 76")
def a_log_is_begun_anew_as_if_there_had_been_none(op: Operator) -> None:
    op.export_all()
    _restart_log(op, {})


def _restart_log(op: Operator, details: Mapping[str, str]) -> None:
    opened, adopted = op.leaves()[:2]
    op.rewrite([op.changed(opened, details=dict(details)), adopted])
    with op.db() as db:
        checkpoints.make(db, op.desk, op.world.now)
