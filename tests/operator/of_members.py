"""What a member did is left out, made up, or kept from others; and what the hub shows to one is not what it shows to
another."""

from typing import Any

from msgspec.structs import replace
from sqlalchemy import create_engine, delete
from sqlalchemy.orm import Session

from hansa.audit import log
from hansa.hub import checkpoints, coordinator
from hansa.hub import log as the_log
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, WitnessRow
from hansa.mail.letters import Released, Shown, Submitted
from hansa.messages import HUB
from tests.operator.hand import Operator
from tests.operator.of_history import FORKED
from tests.operator.play import manipulation

NO_RECEIPT = "raises an alarm: the hub has given no receipt for our entry"
take = coordinator.take_entries


def leave_out(op: Operator, site: str, *acts: str) -> None:
    """Entries of these acts by this member, or all, never reach the log; those after them do."""

    def some(db: Session, charter: Any, by: str, entries: Any, now: float) -> None:
        kept = [one for one in entries if by != site or (acts and log.read(one.data).act not in acts)]
        if by != site:
            take(db, charter, by, kept, now)
        else:
            _append(db, kept)

    op.replace(coordinator, "take_entries", some)


def _append(db: Session, kept: list[Submitted]) -> None:
    """Past the check that a member's own count has no gaps."""
    if kept:
        the_log.append(db, [(one.data, log.read(one.data)) for one in kept])


@manipulation("before", "verify", "the hub left out, of entries of 's2', number")
def one_entry_of_a_member_is_left_out(op: Operator) -> None:
    leave_out(op, "s2", "consent given")


@manipulation("before", "site", "'s2' " + NO_RECEIPT, seconds=75)
def one_entry_of_a_member_is_left_out_for_a_minute(op: Operator) -> None:
    leave_out(op, "s2", "consent given")


@manipulation("before", "site", "'s3' " + NO_RECEIPT, seconds=75)
def all_entries_of_a_member_are_left_out(op: Operator) -> None:
    leave_out(op, "s3")


@manipulation("before", "verify", "its consent is not in the log")
def all_entries_of_a_member_are_left_out_of_the_export(op: Operator) -> None:
    leave_out(op, "s3")


@manipulation("released", "site", "'s3' " + NO_RECEIPT, seconds=75)
def checkpoints_are_withheld_from_one_member(op: Operator) -> None:
    op.silent("s3")


@manipulation("released", "verify", "3 of 4 members cosigned: not final")
def one_member_is_never_asked_to_cosign(op: Operator) -> None:
    with op.db() as db:
        db.execute(delete(CosignatureRow))
    op.silent("s3")


@manipulation("released", "site", "'s1' " + NO_RECEIPT, seconds=75)
def receipts_are_withheld_from_one_member(op: Operator) -> None:
    op.letters("checkpoint", _without_places)


def _without_places(site: str, shown: Shown) -> Shown | None:
    return replace(shown, places=()) if site == "s1" else None


@manipulation("released", "site", "the hub's receipt for our entry")
def receipts_are_of_other_entries(op: Operator) -> None:
    """The places of one member's entries are shown in another order."""

    def other(site: str, shown: Shown) -> Shown | None:
        return replace(shown, places=shown.places[::-1]) if site == "s1" else None

    op.letters("checkpoint", other)


@manipulation("cosigned", "compare", "two stories")
def two_members_are_shown_another_log_than_the_other_two(op: Operator) -> None:
    """Both are consistent with what was cosigned before. The hub keeps the second tree, and its cosignatures, away."""
    op.export_all()
    _fork(op, ("s2", "s3"))


@manipulation("cosigned", "site", FORKED, seconds=40)
def a_fork_is_joined_again_in_the_hope_that_nobody_sees(op: Operator) -> None:
    _fork(op, ("s3",), joined_after=10.0)


def _fork(op: Operator, fooled: tuple[str, ...], joined_after: float = 10.0**6) -> None:
    """The second tree has one other entry, and one size: that at which the fooled are asked."""
    with op.db() as db:
        the_log.record(db, op.desk, op.world.now, "signed in", "", {"person": "0" * 16, "member": "s1"})
        checkpoints.make(db, op.desk, op.world.now)
    other = create_engine("sqlite://")
    EntryRow.metadata.create_all(other)
    leaves = op.leaves()
    leaves[-1] = op.changed(leaves[-1], details={"person": "f" * 16})
    second = Session(other)
    op.store(second, leaves)
    note, size, until = op.note(second, len(leaves)), len(leaves), op.world.now + joined_after
    second.add(CheckpointRow(size=size, note=note, at=op.world.now))
    with op.db() as db:
        for site in fooled:
            known = db.get_one(WitnessRow, site)
            second.add(WitnessRow(site=site, size=known.size, receipted=known.receipted, refusal="", at=known.at))
    second.flush()
    shown = {site: checkpoints.shown(second, op.charter, site) for site in fooled}
    told = set[str]()
    put = op.desk.put_note

    def forked(receiver: str, kind: str, payload: Any) -> None:
        if kind == "checkpoint" and receiver in fooled and op.world.now < until:
            if receiver not in told:
                put(receiver, kind, shown[receiver])
            told.add(receiver)
        else:
            put(receiver, kind, payload)

    op.replace(op.desk, "put_note", forked)
    op.replace(checkpoints, "_keep", _keep_unless_theirs(fooled))


def _keep_unless_theirs(fooled: tuple[str, ...]) -> Any:
    keep = checkpoints._keep

    def kept(db: Session, charter: Any, site: str, answer: Any) -> None:
        if site not in fooled:
            keep(db, charter, site, answer)

    return kept


@manipulation("middle", "verify", "'s2' was shown another answer than the log releases: a fork")
def one_member_is_told_another_answer(op: Operator) -> None:
    op.letters("released", lambda site, _: Released(bytes(32)) if site == "s2" else None)


@manipulation("cosigned", "verify", "the signature of 's3' does not hold")
def an_entry_is_made_up_of_a_member_that_never_acted(op: Operator) -> None:
    op.append(op.sign(op.made("s3", "table added", table="everything", schema="0" * 64)))


@manipulation("cosigned", "verify", "'z9' is not on the charter that is in force")
def a_stranger_writes_into_the_log(op: Operator) -> None:
    op.append(op.sign(op.made("z9", "table added", table="everything", schema="0" * 64)))


@manipulation("cosigned", "verify", "which signs itself")
def the_hub_says_what_it_heard_of_a_member(op: Operator) -> None:
    plan = log.read(op.leaves()[op.where("proposal asked")]).details["plan"]
    op.append(op.sign(op.made(HUB, "heard", op.run, site="s3", what="consent given", plan=plan)))
