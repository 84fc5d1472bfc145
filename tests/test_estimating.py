"""What a question is said to cost, against what it cost in the world: the same sites, letters and protocols."""

from pathlib import Path
from typing import Any

import pytest

from hansa.hub import estimating, models, queries
from hansa.plan import Question
from tests.world import EVERYTHING, World


@pytest.mark.parametrize("sites", [3, 5])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("histogram", {"column": "x", "low": 0, "high": 100, "bins": 10}),
        ("histogram", {"column": "x", "low": 0, "high": 100, "bins": 200}),
        ("summary", {"columns": ["x"]}),
    ],
)
def test_the_bytes_that_are_told_are_those_that_are_moved(
    tmp_path: Path, sites: int, kind: str, parameters: dict[str, Any]
) -> None:
    world = World(tmp_path, sites)
    question = Question(kind, "numbers", parameters, valid_hours=8760, disclosure=EVERYTHING)
    told = estimating.estimate(world.hub(), question)
    assert told is not None
    assert not told.open_ended
    run = world.ask(question)
    world.run_until(lambda: world.job(run).status not in models.OPEN)
    done = queries.job(world.hub(), run)
    assert done is not None
    assert done.view.status == "done", done.view.reason
    moved = [site.bytes_moved for site in done.sites]
    assert max(moved) == pytest.approx(told.site_bytes, rel=0.01)
    assert sum(moved) == pytest.approx(told.all_bytes, rel=0.01)
