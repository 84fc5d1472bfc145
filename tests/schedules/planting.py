"""Bugs, one small patch each, that the schedules must find.

`lie`: the schedules are drawn with this lie in them, because without it the bug shows nothing. A patch replaces one
function of the product, or of the parties' model of the product's stores, by one that is subtly wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hansa.crypto import keys
from hansa.errors import ProtocolViolation
from tests.schedules.events import Schedule, draw

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@dataclass(frozen=True)
class Planted:
    name: str
    lie: str
    plant: Plant
    played: Schedule | None = None  # first, where chance brings the events together too seldom

    def schedules(self, count: int) -> Iterator[Schedule]:
        if self.played is not None:
            yield self.played
        for seed in range(count):
            yield draw(seed, self.lie)


PLANTED: list[Planted] = []


def planted(name: str, lie: str = "", played: Schedule | None = None) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        PLANTED.append(Planted(name, lie, plant, played))
        return plant

    return keep


def believed(*_any: Any) -> None:
    """In the place of `verify`."""


def except_for(purpose: str) -> Callable[..., None]:
    """`verify` that believes what is signed for `purpose`."""

    def verify(public: bytes, what: str, message: bytes, signature: bytes) -> None:
        if what != purpose:
            keys.verify(public, what, message, signature)

    return verify


def let_pass(patch: Patch, owner: Any, name: str, without: str) -> None:
    """`owner.name` lets pass what it would refuse with a sentence that holds `without`, and looks no further."""
    true = getattr(owner, name)

    def check(*what: Any) -> None:
        try:
            true(*what)
        except ProtocolViolation as violation:
            if without not in str(violation):
                raise

    patch.setattr(owner, name, check)


def answers_with(patch: Patch, state: Any, change: Callable[[Patch, Any], None]) -> None:
    """While `state` answers, `change` is in force."""
    true = state.answer

    def answer(self: Any, request: Any, own: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            change(inner, self)
            return true(self, request, own)

    patch.setattr(state, "answer", answer)
