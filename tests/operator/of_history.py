"""Changes of what the log says happened, and when."""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import delete, func, select

from hansa.audit import log
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, NodeRow, PayloadRow, WitnessRow
from hansa.messages import HUB
from tests.operator.hand import Operator
from tests.operator.play import manipulation

FORKED = "the hub shows a log that does not continue the one of"
TWO_STORIES = "two stories"
DAY = 86_400_000


@manipulation("cosigned")
def no_manipulation_at_all(_: Operator) -> None:
    """A control."""


@manipulation("before")
def no_manipulation_of_a_whole_job(_: Operator) -> None:
    """A control."""


@manipulation("middle")
def no_manipulation_of_half_a_job(_: Operator) -> None:
    """A control."""


@manipulation("released")
def no_manipulation_after_a_release(_: Operator) -> None:
    """A control."""


@manipulation("cosigned")
def the_payload_of_an_entry_is_erased_as_it_may_be(op: Operator) -> None:
    """A control: the tree is still valid."""
    with op.db() as db:
        assert db.scalar(select(func.count()).select_from(PayloadRow))
        db.execute(delete(PayloadRow))


@manipulation("cosigned", "site", FORKED)
def an_entry_of_the_hub_is_edited_after_it_was_cosigned(op: Operator) -> None:
    op.change(op.where("site seen"), details={"version": "0.9.0"})


@manipulation("cosigned", "compare", TWO_STORIES)
def history_is_rewritten_and_every_checkpoint_signed_anew(op: Operator) -> None:
    """And the sites are not asked any more."""
    op.silent(*op.world.names)
    op.export_all()
    op.change(op.where("ended"), details={"status": "cancelled"})


@manipulation("cosigned", "verify", "history was rewritten")
def history_is_rewritten_under_the_old_checkpoints(op: Operator) -> None:
    """And the sites are not asked any more."""
    op.silent(*op.world.names)
    with op.db() as db:
        kept = [(row.size, row.note) for row in db.scalars(select(CheckpointRow))]
        lines = [(row.size, row.site, row.lines, row.at) for row in db.scalars(select(CosignatureRow))]
    op.change(op.where("site seen"), details={"version": "0.9.0"})
    with op.db() as db:
        db.execute(delete(CosignatureRow))
        db.execute(delete(CheckpointRow))
        db.add_all(CheckpointRow(size=size, note=note, at=0.0) for size, note in kept)
        db.flush()
        db.add_all(CosignatureRow(size=size, site=site, lines=said, at=at) for size, site, said, at in lines)


@manipulation("released", "verify", "the signature of 's1' does not hold")
def an_entry_of_a_member_is_edited_before_anybody_cosigned(op: Operator) -> None:
    op.change(op.where("contributed", "s1"), details={"header": "0" * 64})


@manipulation("cosigned", "verify", "the entries do not give the root that the log signed")
def an_entrys_row_is_edited_and_its_nodes_are_not(op: Operator) -> None:
    place = op.where("ended")
    with op.db() as db:
        row = db.get_one(EntryRow, place)
        row.data = op.changed(row.data, details={"status": "failed"})


@manipulation("cosigned", "site", FORKED)
def an_entry_of_the_hub_is_deleted(op: Operator) -> None:
    leaves = op.leaves()
    del leaves[op.where("site seen", nth=1)]
    op.rewrite(leaves)


@manipulation("released", "verify", "the hub left out, of entries of 's2', number")
def an_entry_of_a_member_is_deleted_before_anybody_cosigned(op: Operator) -> None:
    leaves = op.leaves()
    del leaves[op.where("locked", "s2")]
    op.rewrite(leaves)


@manipulation("cosigned", "site", FORKED)
def two_entries_of_the_hub_are_reordered(op: Operator) -> None:
    leaves, one, two = op.leaves(), op.where("survivors locked"), op.where("total opened")
    leaves[one], leaves[two] = leaves[two], leaves[one]
    op.rewrite(leaves)


@manipulation("released", "verify", "or an older one")
def two_entries_of_a_member_are_reordered_before_anybody_cosigned(op: Operator) -> None:
    leaves, one, two = op.leaves(), op.where("contributed", "s0"), op.where("locked", "s0")
    leaves[one], leaves[two] = leaves[two], leaves[one]
    op.rewrite(leaves)


@manipulation("released", "verify", "back-dated")
def the_release_is_back_dated_before_anybody_cosigned(op: Operator) -> None:
    place = op.where("released")
    op.change(place, milliseconds=log.read(op.leaves()[place]).milliseconds - 3 * DAY)


@manipulation("released", "verify", "post-dated")
def the_release_and_all_that_follows_is_post_dated(op: Operator) -> None:
    """The hub's clock is three days ahead for what it writes, and nowhere else."""
    leaves, first = op.leaves(), op.where("released")
    for place in range(first, len(leaves)):
        entry = log.read(leaves[place])
        if entry.by == HUB:
            leaves[place] = op.changed(leaves[place], milliseconds=entry.milliseconds + 3 * DAY)
    op.rewrite(leaves)


@manipulation("cosigned", "site", FORKED)
def an_entry_is_inserted_into_what_was_cosigned(op: Operator) -> None:
    leaves = op.leaves()
    leaves.insert(20, op.sign(op.made(HUB, "signed in", person="0" * 16, member="s1")))
    op.rewrite(leaves)


@manipulation("cosigned", "site", FORKED)
def the_tail_is_cut_off_and_others_written_in_its_place(op: Operator) -> None:
    """As many entries as were there, and more."""
    op.rewrite(op.leaves()[:-2])


@manipulation("cosigned", "site", "does not cosign: 409")
def the_tail_is_cut_off_and_the_log_stays_short(op: Operator) -> None:
    """The hub has forgotten what its witnesses had seen, as one does whose database was older."""
    op.rewrite(op.leaves()[:30])
    with op.db() as db:
        db.execute(delete(WitnessRow))


@manipulation("cosigned", "compare", "only its entries tell")
def an_export_is_made_of_an_older_database_with_true_cosignatures(op: Operator) -> None:
    """All in it holds: only whoever holds a younger head knows that it is not the newest."""
    op.silent(*op.world.names)
    op.rewrite(op.leaves()[:30])


@manipulation("cosigned", "site", "does not cosign: 409 76")
def an_old_database_is_restored_and_the_hub_goes_on(op: Operator) -> None:
    """That of the middle of the job, with everything that it knew of letters too."""
    world = op.world
    world.engines[HUB].dispose()
    moment = Path(world.engines[HUB].url.database or "").parents[2] / "middle" / f"{HUB}.sqlite"
    target = Path(world.engines[HUB].url.database or "")
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    shutil.copy(moment, target)
    world.restart(HUB)


@manipulation("cosigned", "verify", "the tile does not hold the digests")
def a_bundle_of_the_export_is_edited(op: Operator) -> Callable[[Path], None]:
    def edit(out: Path) -> None:
        bundle = next(path for path in (out / "tile" / "entries").rglob("*") if path.is_file())
        bundle.write_bytes(bundle.read_bytes().replace(b"table added", b"table adde1"))

    return edit


@manipulation("cosigned", "verify", "of the log 'hansa/elsewhere/0'")
def an_entry_of_another_log_is_brought_in(op: Operator) -> None:
    entry = op.made(HUB, "site seen", site="s1", version="0.2.0", tables="1")
    op.append(op.sign(replace(entry, log="hansa/elsewhere/0")))


@manipulation("cosigned", "site", FORKED)
def nodes_of_the_tree_are_changed_and_entries_are_not(op: Operator) -> None:
    with op.db() as db:
        for level in range(7):  # those above entry 7
            db.get_one(NodeRow, (level, 7 >> level)).digest = bytes(32)
