"""Whoever runs the hub, with its database, keys and code, changes nothing unseen."""

from dataclasses import replace

import pytest

from tests.operator.all import ALL
from tests.operator.play import Manipulation, Played, play
from tests.operator.stages import Stages


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(tmp_path_factory.mktemp("worlds"))


SOME = [name for place, name in enumerate(ALL) if place % 4 == 0 or not ALL[name].by]  # `make operator` plays them all


@pytest.mark.parametrize("name", SOME)
def test_what_an_operator_does_is_refused_or_found_in_words(name: str, stages: Stages) -> None:
    played = play(ALL[name], stages)
    assert played.right, [f"{one.by}: {one.sentence}" for one in played.found]


def test_a_manipulation_that_nobody_finds_would_be_told(stages: Stages) -> None:
    """What is done here is nothing: so nothing may be found, whatever was awaited."""
    nothing = play(Manipulation("nothing", "cosigned", "verify", "", lambda _: None, 0.0), stages)
    assert nothing.found == []
    for by in ("site", "verify", "replay", "compare"):
        assert not Played(replace(nothing.manipulation, by=by), nothing.found).right


def test_there_are_at_least_25_of_them_and_everybody_finds_some() -> None:
    found_by = [one.by for one in ALL.values() if one.by]
    assert len(found_by) >= 25
    assert set(found_by) == {"site", "verify", "replay", "compare"}
