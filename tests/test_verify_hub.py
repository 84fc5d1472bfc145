"""What the real hub and the real sites wrote, and the hub exported, holds: on a good day and on a bad one."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.export_folder import replay_of, source_of
from hansa.hub import checkpoints, exports, log
from hansa.hub.models import EntryRow
from hansa.messages import HUB
from hansa.verify.verdict import Verdict, verify
from tests.test_world import BAD_DAY
from tests.world import Faults, World


def exported(world: World, folder: Path) -> Verdict:
    """The verdict on an export that the hub makes now."""
    exports.export(world.hub(), folder)
    return verify(source_of(folder), world.signed, partial(replay_of, folder))


def everything_final(world: World) -> bool:
    """A quorum cosigned every entry, and every site delivered its own."""
    with Session(world.engines[HUB]) as db:
        seen = db.scalars(select(EntryRow.by).where(EntryRow.act == "release seen")).all()
        size = checkpoints.newest_final(db, world.charter)
        return size == log.size(db) and len(set(seen)) == len(world.names)


@pytest.mark.parametrize(("seed", "faults"), [(0, Faults()), (3, BAD_DAY)])
def test_the_export_of_a_job_holds(seed: int, faults: Faults, tmp_path: Path) -> None:
    world = World(tmp_path, seed=seed, faults=faults, rules=Rules(round_seconds=600))
    run = world.propose()
    assert world.finish(run).status == "done"
    world.run_until(lambda: everything_final(world))
    verdict = exported(world, tmp_path / "export")
    assert verdict.outcome == "holds", verdict.findings
    assert verdict.replayed == (run,)
    assert (verdict.jobs, verdict.releases) == (1, 1)
    assert verdict.own_charter
    assert verdict.acts["consent given"] == 4
    assert verdict.acts["locked"] >= 3 * verdict.acts["total opened"]


def test_an_export_in_the_middle_of_a_job_with_a_site_away_is_never_false(tmp_path: Path) -> None:
    world = World(tmp_path, seed=5, rules=Rules(round_seconds=20, quorum=3))
    first = world.propose()
    assert world.finish(first).status == "done"
    second = world.propose()
    world.run_until(lambda: world.job(second).step == 1)
    world.kill("s2")
    assert world.finish(second).status == "done", world.job(second).reason
    for _ in range(60):
        world.step()
    verdict = exported(world, tmp_path / "export")
    assert verdict.counts["failed"] == 0, verdict.findings
    assert set(verdict.replayed) == {first, second}
