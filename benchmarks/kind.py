"""The plainest kind there can be, for measuring: a site contributes its number of rows, many times over."""

import sys
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from hansa import jobs
from hansa.crypto import prg
from hansa.jobs.base import Answer, Contribution, Example, Job, Schema, Step, Table, Total, reals
from hansa.jobs.example import numbers_table
from hansa.privacy.disclosure import Rules

MOST_ROWS = 2.0**20


class Totals(Answer, frozen=True, tag="totals"):
    first: float
    last: float

    def disclosed(self, rules: Rules) -> "Totals":
        """They are nobody's."""
        del rules
        return self


class Numbers(Job, frozen=True, tag="totals", kw_only=True):
    title: ClassVar[str] = "Totals"
    learns: ClassVar[str] = "nothing else"
    length: Annotated[int, Meta(title="Length", ge=1)]

    def columns(self) -> tuple[str, ...]:
        return ("g",)

    def check(self, schema: Schema) -> None:
        del schema

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        del schemas
        return Step("totals", (reals("x", (self.length,), MOST_ROWS, sites),))

    def encode(self, table: Table, step: Step) -> Contribution:
        del step
        return {"x": np.full(self.length, float(table.rows))}

    def advance(self, step: Step, total: Total) -> Answer:
        del step
        return Totals(first=float(total.real("x")[0]), last=float(total.real("x")[-1]))


EXAMPLE = Example(job=Numbers(length=1), tables={"a": numbers_table(g=[1.0])}, answer=Totals(first=1.0, last=1.0))


def install(masked: bool) -> None:
    """Into this process, a hub's or a site's; only the benchmark's own processes call it. Not `masked`: the same
    letters, shares, signatures and rounds around vectors that nothing hides."""
    jobs.add("totals", sys.modules[__name__])
    if not masked:
        prg.add_masks = lambda _part, _masks: None  # type: ignore[assignment]
