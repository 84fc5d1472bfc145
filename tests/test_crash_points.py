"""A party dies before or after a numbered durable write, is built anew, and the job ends as if nothing had happened.

A stride through the points that `make crash-points` plays one by one; the stride is prime, so that every role is hit.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.crash_points.databases import postgresql, sqlite
from tests.crash_points.points import Crash, Point, Points
from tests.crash_points.runner import Runner

ROLES = {
    ("hub", role) for role in ("gateway", "fetching", "turning", "ticking", "posting", "adding up")
} | {("site", role) for role in ("receiving", "working", "reporting", "posting")}  # fmt: skip
STRIDES = {"sqlite": 101, "postgresql": 283}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.processes)])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runner, int]]:
    folder = tmp_path_factory.mktemp("crashes")
    on_postgresql = request.param == "postgresql"
    with (
        pytest.MonkeyPatch.context() as patch,
        postgresql(folder) if on_postgresql else nullcontext(sqlite) as databases,
    ):
        yield Runner(folder, databases, patch), STRIDES[request.param]


def test_every_role_writes_and_every_write_has_a_point_before_and_after_it(runner: tuple[Runner, int]) -> None:
    points = runner[0].points
    assert {("hub" if point.party == "hub" else "site", point.role) for point in points} == ROLES
    assert {point.write for point in points} >= {"commit", "push", "lay", "take", "file", "name", "erase"}
    before = [point for point in points if point.side == "before"]
    assert {point._replace(side="after") for point in before} == {p for p in points if p.side == "after"}
    assert len(before) * 2 == len(points) > 500


def test_a_job_ends_right_whoever_dies_at_whichever_write(runner: tuple[Runner, int]) -> None:
    played = list(runner[0].play(runner[0].points[7 :: runner[1]]))
    assert len(played) >= 4
    assert {one.point: one.wrong for one in played if one.wrong} == {}


def test_a_hub_that_dies_between_the_last_that_was_missing_and_its_turn_does_not_wait_for_the_deadline(
    runner: tuple[Runner, int],
) -> None:
    """Nobody rang again: the round stood complete, or the total unadded, until the round's time was over."""
    points = [Point("hub", "gateway", "file", 12, "after"), Point("hub", "adding up", "file", 4, "after")]
    assert {one.point: one.wrong for one in runner[0].play(points)} == dict.fromkeys(points, "")


def test_a_point_that_is_never_reached_is_told() -> None:
    points = Points()
    points.begin(Point("s0", "working", "commit", 2, "after"))
    with points.acting("s0", "working"), points.around("commit"):
        pass
    assert points.crashed is None
    with pytest.raises(Crash), points.acting("s0", "working"), points.around("commit"):
        pass
    assert points.crashed == Point("s0", "working", "commit", 2, "after")
