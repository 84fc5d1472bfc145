"""A thousand sites in one process: setup, and one step with a thousand numbers, a tenth vanishing in each round."""

import os
import random
import time
from collections.abc import Iterable

from benchmarks.kind import Numbers
from hansa.jobs.base import Schema, Table
from hansa.simulator import simulate

SITES, NUMBERS, SETUP_ROUNDS = 1_000, 1_000, 4


def lines(sites: int = SITES, seed: int = 1) -> Iterable[str]:
    """A wrong total, or a drop-out that the thresholds promise to bear and don't, ends the benchmark."""
    chance, started = random.Random(seed), time.perf_counter()
    rounds: dict[int, float] = {}

    def silent(number: int, _site: str) -> bool:
        rounds.setdefault(number, time.perf_counter())
        return number > SETUP_ROUNDS and chance.random() < 0.1

    tables = {f"s{place:04d}": Table(Schema("t", ()), place + 1, {}) for place in range(sites)}
    simulated = simulate(Numbers(length=NUMBERS), tables, os.urandom, silent, corrupt=sites // 10)
    took = time.perf_counter() - started
    if simulated.answer.last != sum(tables[site].rows for site in simulated.participants):  # type: ignore[attr-defined]
        raise SystemExit("a total is wrong")
    setup = rounds[SETUP_ROUNDS + 1] - started
    gone = sites - len(simulated.participants)
    what = f"{sites} sites × {NUMBERS}, a tenth gone in each round, {gone} of them before they contributed"
    yield f"| {what} | {took:.0f} s | {setup:.0f} s |"
