"""A thousand sites in one process: setup, and one step with a thousand numbers, a tenth vanishing in each round."""

import os
import random
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from hansa.jobs.base import Answer, Contribution, Job, Schema, Step, Table, Total, reals
from hansa.simulator import simulate

SITES, NUMBERS, SETUP_ROUNDS = 1_000, 1_000, 4


class Totals(Answer, frozen=True, tag="totals"):
    numbers: tuple[float, ...]


class Numbers(Job, frozen=True, tag="totals"):
    """As plain as a kind can be: site i contributes i + 1, a thousand times."""

    title: ClassVar[str] = "Totals"
    learns: ClassVar[str] = "nothing else"

    def columns(self) -> tuple[str, ...]:
        return ()

    def check(self, schema: Schema) -> None:
        del schema

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        del schemas
        return Step("totals", (reals("x", (NUMBERS,), float(SITES), sites),))

    def encode(self, table: Table, step: Step) -> Contribution:
        del step
        return {"x": np.full(NUMBERS, float(table.rows))}

    def advance(self, step: Step, total: Total) -> Answer:
        del step
        return Totals(numbers=tuple(total.real("x").tolist()))


def lines(sites: int = SITES, seed: int = 1) -> Iterable[str]:
    """A wrong total, or a drop-out that the thresholds promise to bear and don't, ends the benchmark."""
    chance, started = random.Random(seed), time.perf_counter()
    rounds: dict[int, float] = {}

    def silent(number: int, _site: str) -> bool:
        rounds.setdefault(number, time.perf_counter())
        return number > SETUP_ROUNDS and chance.random() < 0.1

    tables = {f"s{place:04d}": Table(Schema("t", ()), place + 1, {}) for place in range(sites)}
    simulated = simulate(Numbers(), tables, os.urandom, silent, corrupt=sites // 10)
    took = time.perf_counter() - started
    if simulated.answer.numbers[-1] != sum(tables[site].rows for site in simulated.participants):  # type: ignore[attr-defined]
        raise SystemExit("a total is wrong")
    setup = rounds[SETUP_ROUNDS + 1] - started
    gone = sites - len(simulated.participants)
    what = f"{sites} sites × {NUMBERS}, a tenth gone in each round, {gone} of them before they contributed"
    yield f"| {what} | {took:.0f} s | {setup:.0f} s |"
