"""What the real hub and the real sites wrote holds, on a good day and on a bad one."""

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import evidence_file
from hansa.audit import roster, tiles
from hansa.charter import Rules
from hansa.cli.exports import replay_of, source_of
from hansa.hub import checkpoints, log
from hansa.hub import evidence as kept
from hansa.hub.models import CheckpointRow, EntryRow, PayloadRow
from hansa.messages import HUB, encode
from hansa.verify.verdict import Verdict, verify
from tests.test_verify_compare import written
from tests.test_world import BAD_DAY
from tests.world import World


def export(world: World, folder: Path, run: str) -> Path:
    """The hub's data as an export: up to the newest checkpoint that is final, with the job's evidence."""
    with Session(world.engines[HUB]) as db:
        size = checkpoints.newest_final(db, world.charter)
        assert size is not None
        leaves = list(db.scalars(select(EntryRow.data).order_by(EntryRow.number)))
        found = dict(tiles.export(size, log.reader(db), lambda start, end: leaves[start:end]))
        found["checkpoint"] = bytes(checkpoints.note_of(db, size))
        found["policy"] = str(roster.policy(world.charter)).encode()
        found["charters/1"] = world.signed
        for row in db.scalars(select(PayloadRow)):
            found[f"payloads/{row.commitment.hex()}"] = row.payload
        for earlier in db.scalars(select(CheckpointRow.size).where(CheckpointRow.size < size)):
            if checkpoints.is_final(db, world.charter, earlier):
                found[f"checkpoints/{earlier}"] = bytes(checkpoints.note_of(db, earlier))
        evidence = kept.assemble(db, run, world.signed)
    written(folder, found)
    (folder / "evidence").mkdir()
    evidence_file.write(folder / "evidence" / run, encode(evidence), (), lambda _: b"")
    return folder


def held(folder: Path, own: bytes) -> Verdict:
    return verify(source_of(folder), own, lambda run: replay_of(folder, run))


def everything_final(world: World) -> bool:
    """A quorum cosigned every entry, and every site delivered its own."""
    with Session(world.engines[HUB]) as db:
        seen = db.scalars(select(EntryRow.by).where(EntryRow.act == "release seen")).all()
        size = checkpoints.newest_final(db, world.charter)
        return size == log.size(db) and len(set(seen)) == len(world.names)


@pytest.mark.parametrize(("seed", "bad"), [(0, False), (3, True)])
def test_the_export_of_a_job_holds(seed: int, bad: bool, tmp_path: Path) -> None:
    faults = {"faults": BAD_DAY, "rules": Rules(round_seconds=600)} if bad else {}
    world = World(tmp_path, sites=4, seed=seed, **faults)  # type: ignore[arg-type]
    run = world.propose()
    assert world.finish(run).status == "done"
    world.run_until(lambda: everything_final(world))
    verdict = held(export(world, tmp_path / "export", run), world.signed)
    assert verdict.outcome == "holds", verdict.findings
    assert verdict.replayed == (run,)
    assert (verdict.jobs, verdict.releases) == (1, 1)
    assert verdict.own_charter
    assert verdict.acts["consent given"] == 4
    assert verdict.acts["locked"] >= 3 * verdict.acts["total opened"]


def test_an_export_in_the_middle_of_a_job_is_never_false(tmp_path: Path) -> None:
    world = World(tmp_path, seed=5)
    first = world.propose()
    assert world.finish(first).status == "done"
    second = world.propose()
    world.run_until(lambda: world.job(second).step == 1)
    verdict = held(export(world, tmp_path / "export", first), world.signed)
    assert verdict.counts["failed"] == 0, verdict.findings
