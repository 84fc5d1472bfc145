"""A job whose totals carry noise, and how a site's contribution gets its share of it.

The noise is that of `privacy/noise.py`: drawn by each site, added to its numbers before they are masked, sized so that
the shares of the honest survivors suffice. What a site adds follows from the plan's noise, from what one row changes
at most (`sensitivity`) and from the step as it is asked. A hub that lies about the bound or the precision of a block,
or about the public state, makes the answer worse, and nobody less hidden:

* a number beyond the bound counts as the bound, and is not refused, since a refusal would be an answer without noise;
* numbers are rounded to the lattice of the noise, and that rounding is part of the sensitivity;
* no kind under noise has flags, or refuses anything because of what stands in a row.

A contribution is, in each number, a sum over rows that is exact and then rounded once to a float64 (`math.fsum`, whole
numbers): a sum in floats would hide changes greater than the sensitivity (Casacuberta et al., CCS 2022).
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from hansa.crypto.fixed_point import Ring
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import (
    Chance,
    Contribution,
    Job,
    NoiseAdded,
    Reals,
    Schema,
    Step,
    Table,
    Total,
    check_step,
    from_ring,
    size,
)
from hansa.privacy import accounting
from hansa.privacy.noise import Block, Noise, Share, shares_of


class Noisy(Job, frozen=True, kw_only=True):
    """A question under noise. `whole` names the blocks that hold whole numbers."""

    whole: ClassVar[frozenset[str]] = frozenset()
    noise: Noise

    @property
    @abstractmethod
    def asked(self) -> Job:
        """The question itself."""

    @property
    @abstractmethod
    def totals(self) -> int:
        """How many totals there are at most; each costs an equal part of the noise's ρ."""

    @abstractmethod
    def sensitivity(self, step: Step) -> Mapping[str, float]:
        """For each block, by how much in the L2 norm one row changes a site's numbers, whatever is in the row and
        whatever the step says. In the units of the block."""

    @abstractmethod
    def share(self, table: Table, step: Step) -> Contribution:
        """As `encode`, over rows of which each unit of privacy has as many as it may."""

    def columns(self) -> tuple[str, ...]:
        own = (self.noise.id_column,) if self.noise.id_column else ()
        return tuple(dict.fromkeys((*self.asked.columns(), *own)))

    def check(self, schema: Schema) -> None:
        self.asked.check(schema)
        if self.noise.id_column:
            schema.column(self.noise.id_column)

    def encode(self, table: Table, step: Step) -> Contribution:
        return self.share(kept(table, self.noise), step)

    def steps_after(self, step: Step) -> int | None:
        del step
        return 0 if self.totals == 1 else None

    def unit_notes(self) -> tuple[str, ...]:
        """What the unit of privacy leaves out, and whom it does not cover."""
        if self.noise.unit == "row":
            return ()
        most = self.noise.rows_per_person
        if self.noise.unit == "member":
            return (f"of each site the first {most} rows of its table are counted at most",)
        return (
            f"of each '{self.noise.id_column}' a site counts the first {most} rows at most, and no row without one",
            "who has rows at several sites is hidden at each of them by itself, so less in all",
        )

    def told(self, total: Total) -> NoiseAdded:
        """What the answer says of its noise."""
        return NoiseAdded(
            epsilon=self.noise.micro_epsilon / accounting.MICRO,
            delta=self.noise.pico_delta / accounting.PICO,
            unit=self.noise.unit,
            id_column=self.noise.id_column,
            rows_per_person=self.noise.rows_per_person,
            deviations=dict(total.noise),
        )


def kept(table: Table, noise: Noise) -> Table:
    """Of each id, or of the member, the first `rows_per_person` rows in the order of the table; rows without an id are
    left out.

    Whom a row belongs to is decided by equal ids at this site; taking a person's rows away changes nobody else's.
    """
    if noise.unit == "row":
        return table
    if noise.unit == "member":
        return _of_rows(table, np.arange(min(table.rows, noise.rows_per_person)))
    ids = table.columns[noise.id_column]
    if table.schema.column(noise.id_column).type == "number":
        has = np.flatnonzero(~np.isnan(table.numbers(noise.id_column)))
        _, person = np.unique(table.numbers(noise.id_column)[has] + 0.0, return_inverse=True)
    else:
        has = np.flatnonzero(np.array([one is not None for one in ids], dtype=np.bool_))
        number = {name: place for place, name in enumerate(dict.fromkeys(ids[has].tolist()))}
        person = np.array([number[name] for name in ids[has]], dtype=np.int64)
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.diff(person[order], prepend=-1))
    turn = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    return _of_rows(table, has[np.sort(order[turn < noise.rows_per_person])])


def _of_rows(table: Table, rows: npt.NDArray[np.int64]) -> Table:
    return Table(table.schema, rows.size, {name: values[rows] for name, values in table.columns.items()})


def shares(job: Noisy, number: int, step: Step, honest: int) -> dict[str, Share]:
    """Each block's share of the noise for total `number` (from 0), where `honest` shares are sure to be in it."""
    if not 0 <= number < job.totals:
        raise ProtocolViolation("more totals are asked than the noise was agreed for")
    changes = job.sensitivity(step)
    if set(changes) != {block.name for block in step.blocks}:
        raise ProtocolViolation(f"the step '{step.name}' does not name the blocks that noise is meant for")
    found = tuple(_block(job, block, changes) for block in _reals(step))
    each = shares_of(found, job.noise.nano_rho // job.totals, honest)
    return {block.name: share for block, share in zip(step.blocks, each, strict=True)}


def to_noisy_ring(
    job: Noisy, number: int, step: Step, contribution: Contribution, chance: Chance, honest: int, sites: int
) -> Ring:
    """As `to_ring`, with this site's share of the noise; `sites` may contribute, `honest` of them surely add theirs.

    Refuses a step in which numbers and noise together could reach half the ring (but for 2^-60).
    """
    if job.ring != 64:
        raise ValueError("noise has no room in the small ring")
    check_step(step, sites)
    found = shares(job, number, step, honest)
    check_room(step, found, sites)
    vector = np.empty(sum(size(block) for block in step.blocks), dtype=np.int64)
    start = 0
    for block in _reals(step):
        values = np.ascontiguousarray(contribution[block.name], dtype=np.float64)
        if values.shape != block.shape or not np.all(np.isfinite(values)):
            raise ValueError(f"block {block.name} is not {block.shape} finite numbers")
        part = vector[start : start + size(block)]
        part[:] = on_lattice(values.reshape(-1), block, found[block.name])
        part += found[block.name].draw(size(block), chance)
        start += size(block)
    return vector.view(np.uint64)


def from_noisy_ring(job: Noisy, number: int, step: Step, vector: Ring, sites: int, honest: int) -> Total:
    """The total of a step over `sites` contributions, and how loud the noise in it is."""
    total, found = from_ring(step, vector, sites), shares(job, number, step, honest)
    noise = {block.name: found[block.name].deviation(sites) * block.step for block in _reals(step)}
    return msgspec.structs.replace(total, noise=noise)


def read_total(job: Job, number: int, step: Step, vector: Ring, sites: int, honest: int) -> Total:
    """The total of a step, whether or not its job is under noise."""
    if isinstance(job, Noisy):
        return from_noisy_ring(job, number, step, vector, sites, honest)
    return from_ring(step, vector, sites)


def check_room(step: Step, found: Mapping[str, Share], sites: int) -> None:
    for block in _reals(step):
        share = found[block.name]
        if sites * (round(block.bound / block.step) + share.lattice + share.tail()) >= 2**63:
            raise Refused(f"the noise in block '{block.name}' could reach half the ring: ask for a larger ε")


def on_lattice(values: npt.NDArray[np.float64], block: Reals, share: Share) -> npt.NDArray[np.int64]:
    """In ring units: held within the bound and rounded to the nearest point of the lattice."""
    held = np.clip(values, -block.bound, block.bound)
    return np.rint(held / (block.step * share.lattice)).astype(np.int64) * share.lattice


def _block(job: Noisy, block: Reals, changes: Mapping[str, float]) -> Block:
    change = changes[block.name] * job.noise.rows_per_person / block.step
    if not change < 2.0**62:
        raise Refused(f"the precision of block '{block.name}' is so fine that noise has no room in the ring")
    if block.name in job.whole:
        return Block(size(block), change, whole=int(1 / block.step) if block.step <= 1 else 0)
    return Block(size(block), change, math.ulp(block.bound) / block.step)


def _reals(step: Step) -> Sequence[Reals]:
    found = tuple(block for block in step.blocks if isinstance(block, Reals))
    if len(found) != len(step.blocks):
        raise ProtocolViolation("flags are asked under noise, which would not hide them")
    return found
