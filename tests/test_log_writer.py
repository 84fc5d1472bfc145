"""The log's writer is killed, and its disk is full: nothing that it acknowledged is lost, and nothing is half there."""

import random
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from tests import log_writer
from tests.log_writer import Counted


def test_whatever_a_killed_writer_acknowledged_is_there_once_and_every_checkpoint_leads_to_the_next(
    tmp_path: Path,
) -> None:
    """As many kills as fit into the time; `python -m tests.log_writer` counts a hundred."""
    found = log_writer.kill_often(tmp_path, 100, 20.0, random.Random(1))
    assert found.kills >= 3
    assert found.missing == 0
    assert found.entries >= found.acknowledged > found.kills
    assert found.checkpoints


@pytest.mark.parametrize("pages", range(0, 24, 3))
def test_a_disk_that_is_full_leaves_no_part_of_a_batch(tmp_path: Path, pages: int) -> None:
    log_writer.prepare(tmp_path)
    engine, size = log_writer.limited(tmp_path, pages), 1
    with pytest.raises(OperationalError, match="full"):
        for size, _ in log_writer.work(engine, log_writer.desk(tmp_path)):
            assert size < 5_000
    engine.dispose()
    log_writer.check(tmp_path, counted := Counted())
    assert counted.entries == size
    free = log_writer.engine(tmp_path)
    written = [after for after, _ in islice(log_writer.work(free, log_writer.desk(tmp_path)), 6)]
    free.dispose()
    log_writer.check(tmp_path, counted)
    assert counted.entries == written[-1] > size
