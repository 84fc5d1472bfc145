"""One manipulation: made, lived with for a while, then looked for by everybody."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hansa.hub import models
from tests.operator.findings import Found, Listening, export, of_export, of_sites
from tests.operator.hand import Operator
from tests.operator.stages import Stage, Stages

Act = Callable[[Operator], Callable[[Path], None] | None]  # what it gives is done to the export, once that is made
ALL: dict[str, "Manipulation"] = {}


@dataclass(frozen=True)
class Manipulation:
    """`by` finds it and says `sentence`; a control has neither. `seconds`: of the world, until the export is made."""

    name: str
    stage: Stage
    by: str
    sentence: str
    act: Act
    seconds: float


def manipulation(stage: Stage, by: str = "", sentence: str = "", seconds: float = 20.0) -> Callable[[Act], Act]:
    def told(act: Act) -> Act:
        name = act.__name__.replace("_", " ")
        ALL[name] = Manipulation(name, stage, by, sentence, act, seconds)
        return act

    return told


@dataclass
class Played:
    manipulation: Manipulation
    found: list[Found] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def expected(self) -> Found | None:
        """What was to be said, by whom it was to be said."""
        wanted = self.manipulation
        for one in self.found:
            if one.by == wanted.by and wanted.sentence in one.sentence:
                return one
        return None

    @property
    def right(self) -> bool:
        return not self.found if not self.manipulation.by else self.expected is not None

    @property
    def finders(self) -> str:
        return ", ".join(dict.fromkeys(one.by for one in self.found))


def play(one: Manipulation, stages: Stages) -> Played:
    started, played = time.monotonic(), Played(one)
    world, run, folder = stages.begin(one.stage)
    with ExitStack() as code:
        operator = Operator(world, run, code)
        listening = Listening(world, operator.replace)
        after = one.act(operator)
        run = operator.run = operator.run or world.propose()
        until = world.now + one.seconds
        world.run_until(lambda: world.job(run).status not in models.OPEN and world.now >= until)
        export(world, folder / "export")
        if after is not None:
            after(folder / "export")
    played.found = [*dict.fromkeys([*of_sites(world), *listening.said]), *of_export(world, folder / "export")]
    for engine in world.engines.values():
        engine.dispose()
    played.seconds = time.monotonic() - started
    return played
