"""The shape of a job: a fold over protected totals.

    begin ──Step──► encode (each site, own rows) ──total──► advance ──Step or Answer──► …

`begin` and `advance` run at the hub and see totals only; `encode` runs at a site and sees that site's rows only.
Protection, noise and disclosure are applied around these three functions, so the author of a kind can't forget
them. Nothing here reads a file, a clock or chance.

A step names the blocks it totals. Two sorts exist:

* `Reals`: numbers, bounded by `bound` per site, totalled to within `sites * step / 2`.
* `Flags`: yes or no per place. The total says only whether *any* site said yes, not which and not how many: a yes
  is contributed as a uniformly random ring element and a no as zero (a sum of random elements is zero with
  probability 2^-64, or 2^-32 in the small ring).
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Struct, UnsetType, structs

from hansa.crypto import fixed_point
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.exhibit import Exhibit, Method, Sheet
from hansa.privacy.differencing import Figure
from hansa.privacy.disclosure import Rules
from hansa.privacy.noise import Noise, Unit
from hansa.protocols.base import RingBits

if TYPE_CHECKING:
    from hansa.jobs.under_noise.noisy import Noisy

Array = npt.NDArray[np.float64]
MAX_ELEMENTS = 2**27  # of one step: 1 GiB in Z_2^64


class Reals(Struct, frozen=True, tag="reals"):
    """Numbers to add up: `shape` of them, each site's at most `bound` in magnitude, in multiples of `step`."""

    name: str
    shape: tuple[int, ...]
    bound: float
    step: float


class Flags(Struct, frozen=True, tag="flags"):
    """Yes-or-no places of which the total tells only whether any site said yes."""

    name: str
    shape: tuple[int, ...]


Block = Reals | Flags


def size(block: Block) -> int:
    return int(np.prod(block.shape, dtype=np.int64))


def reals(name: str, shape: tuple[int, ...], bound: float, sites: int) -> Reals:
    """A block of numbers with the finest precision at which `sites` contributions can't overflow Z_2^64."""
    return Reals(name, shape, bound, fixed_point.finest_step(bound, sites))


class Step(Struct, frozen=True):
    """One pass: what to total, and the public state (encoded by the kind) that the sites need for it."""

    name: str  # for people: "means", "iteration 3"
    blocks: tuple[Block, ...]
    state: bytes = b""


Contribution = Mapping[str, npt.ArrayLike]  # block name → numbers of its shape, or booleans for Flags


class Total(Struct, frozen=True):
    """What the protocol gives: per block the sum (float64), or for Flags whether any site said yes (bool)."""

    sites: int  # how many contributions it holds
    values: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.bool_]]
    noise: Mapping[str, float] = {}  # per block the standard deviation of the noise in each number; none if empty

    def real(self, name: str) -> Array:
        return np.asarray(self.values[name], dtype=np.float64)

    def flag(self, name: str) -> npt.NDArray[np.bool_]:
        return np.asarray(self.values[name], dtype=np.bool_)

    def number(self, name: str) -> float:
        return float(self.real(name).reshape(-1)[0])

    def count(self, name: str) -> int:
        return round(self.number(name))


class Column(Struct, frozen=True):
    """What others may know of a column. `categories` are declared by the institution, never read from the rows."""

    name: str
    type: Literal["number", "text"]
    unit: str = ""
    categories: tuple[str, ...] = ()


class Schema(Struct, frozen=True):
    """What others may know of a table: nothing of its rows."""

    table: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise Refused(f"table '{self.table}' has no column '{name}'")


class Table(Struct, frozen=True):
    """A site's rows. Numbers are float64 with NaN where missing; text is an object array with None where missing.

    Numeric categories are written as R does: 2.0 is "2".
    """

    schema: Schema
    rows: int
    columns: Mapping[str, npt.NDArray[np.generic]]

    def numbers(self, name: str) -> Array:
        if self.schema.column(name).type != "number":
            raise Refused(f"column '{name}' of table '{self.schema.table}' holds text where numbers are due")
        return np.asarray(self.columns[name], dtype=np.float64)

    def texts(self, name: str) -> npt.NDArray[np.object_]:
        return np.asarray(self.columns[name], dtype=np.object_)


class NoiseAdded(Struct, frozen=True, kw_only=True):
    """What an answer says of its noise. `deviations`: per block of its last total, in each number of it."""

    epsilon: float
    delta: float
    unit: Unit
    id_column: str
    rows_per_person: int
    deviations: dict[str, float]


class Answer(Struct, frozen=True, tag_field="kind", kw_only=True):
    """What a job gives. Subclasses carry `tag=` their kind; `notes` says what was rounded, dropped or coarsened.

    What only an answer under noise has is left out of the encoding of any other (UNSET).
    """

    notes: tuple[str, ...] = ()
    noise: NoiseAdded | UnsetType = UNSET

    @abstractmethod
    def disclosed(self, rules: Rules) -> "Answer":
        """As it may be shown under these rules; refuses what may not be shown at all. Every figure goes through
        `privacy/disclosure.py`."""

    def predictors(self) -> tuple[str, ...]:
        """The columns that `predict` reads; refuses if the answer is no fitted model."""
        raise Refused("an answer of this kind is no model, and predicts nothing")

    def predict(self, table: "Table") -> "Mapping[str, Array]":
        """Of each row of one's own table: one column of numbers or more, NaN where a row misses what that takes."""
        del table
        self.predictors()
        return {}

    def exhibit(self) -> Exhibit:
        """What it shows, as tables and plots; unless a kind says otherwise, its fields one by one."""
        fields = [field for field in structs.asdict(self).items() if field[0] not in ("notes", "noise")]
        rows = tuple((name.replace("_", " "), str(value)) for name, value in fields)
        return Exhibit((), (Sheet("answer", ("figure", "value"), rows),))


class Job(Struct, frozen=True, tag_field="kind", kw_only=True):
    """A question. The fields are its parameters, and the form on the screen; subclasses carry `tag=` their kind.

    Field descriptions and limits come from `Annotated[..., Meta(title=, description=, ge=, …)]`.
    """

    title: ClassVar[str]  # for people, in the catalogue
    ring: ClassVar[RingBits] = 64  # in which its totals are added; 32 halves what travels, for large models
    learns: ClassVar[str]  # one sentence: what the totals reveal to whoever receives them, beyond the answer
    open_ended: ClassVar[bool] = False  # whether the rows decide how many steps there are, or how large
    lenient: ClassVar[bool] = False  # whether a table may lack a column that it asks about
    method: ClassVar[Method | None] = None  # what it computes, for a printed report

    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns a site must load. Refuses parameters that contradict each other."""

    @abstractmethod
    def check(self, schema: Schema) -> None:
        """Refuses, in one sentence that names the column, what this table can't answer."""

    @abstractmethod
    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        """The first step; `sites` is how many may contribute, `schemas` those of the participants."""

    @abstractmethod
    def encode(self, table: Table, step: Step) -> Contribution:
        """A site's own share of the step, from its rows alone."""

    @abstractmethod
    def advance(self, step: Step, total: Total) -> Step | Answer:
        """What follows from the total; refuses what has no answer (one class only, a constant column …)."""

    def steps_after(self, step: Step) -> int | None:
        """How many steps follow this one, as far as that is known before its total is."""
        del step
        return None

    def plausible(self, column: str) -> tuple[float, float]:
        """Between which numbers a column lies in rows that are invented, to tell what the question would cost; of
        noughts and ones only, unless a kind says otherwise."""
        del column
        return 0.0, 1.0

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        """The counts that an answer shows, each with the rows that it counts, exactly; for what several releases show
        together. None of an answer that is no count."""
        del shown, exact
        return ()

    def under_noise(self, noise: Noise) -> "Noisy":
        """The same question with noise in its totals, or one sentence that says why it can't be asked so."""
        del noise
        raise Refused(f"'{self.title}' can't be asked under noise: nothing says how much one row changes its totals")


class Example(Struct, frozen=True):
    """Documentation, the form's first filling and a test, at once: `job` over `tables` gives `answer`."""

    job: Job
    tables: Mapping[str, Table]
    answer: Answer


# Chance for flags: bytes of this size from a secret stream of the site's own, never given twice.
Chance = Callable[[int], bytes]


def check_step(step: Step, sites: int, bits: RingBits = 64) -> None:
    """What a site and the hub check before they touch a step: the ring can't overflow, the size is carried."""
    names = [block.name for block in step.blocks]
    if len(set(names)) != len(names) or not names:
        raise Refused("a step names its blocks once each, and has at least one")
    for block in step.blocks:
        if any(extent < 1 for extent in block.shape):
            raise Refused(f"block '{block.name}' has an empty dimension")
        if isinstance(block, Reals):
            fixed_point.check_ring(block.bound, block.step, sites, bits)
    if sum(size(block) for block in step.blocks) > MAX_ELEMENTS:
        raise Refused(f"the step '{step.name}' holds more than {MAX_ELEMENTS} numbers; ask for fewer cells or columns")


def to_ring(step: Step, contribution: Contribution, chance: Chance, bits: RingBits = 64) -> fixed_point.Ring:
    """A contribution as one vector over Z_2^`bits`, in the order of the step's blocks."""
    vector = np.empty(sum(size(block) for block in step.blocks), dtype=fixed_point.UNSIGNED[bits])
    start = 0
    for block in step.blocks:
        values = np.asarray(contribution[block.name])
        if values.shape != block.shape:
            raise ValueError(f"block {block.name} has shape {values.shape}, the step says {block.shape}")
        if isinstance(block, Reals):
            part = fixed_point.encode(values, block.bound, block.step, bits)
        else:
            yes = values.astype(np.bool_).reshape(-1)
            drawn = np.frombuffer(chance(vector.itemsize * yes.size), dtype=vector.dtype.newbyteorder("<"))
            part = np.where(yes, drawn, vector.dtype.type(0))
        vector[start : start + size(block)] = part
        start += size(block)
    return vector


def fit(step: Step, contribution: Contribution) -> Contribution:
    """`contribution`, if the step asks for exactly this: the same names, shapes and sorts.

    A hub that asks for numbers where a kind has flags would learn how many sites say yes; a site refuses here.
    """
    if {block.name for block in step.blocks} != set(contribution):
        raise ProtocolViolation(f"the step '{step.name}' does not name the blocks that its state calls for")
    for block in step.blocks:
        values = np.asarray(contribution[block.name])
        if values.shape != block.shape or (values.dtype == np.bool_) != isinstance(block, Flags):
            raise ProtocolViolation(f"block '{block.name}' of step '{step.name}' is not what its state calls for")
    return contribution


def from_ring(step: Step, vector: fixed_point.Ring, sites: int) -> Total:
    """The total of a step, from the sum of the contributions' vectors."""
    values: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.bool_]] = {}
    start = 0
    for block in step.blocks:
        part = vector[start : start + size(block)].reshape(block.shape)
        start += size(block)
        values[block.name] = fixed_point.decode(part, block.step) if isinstance(block, Reals) else part != 0
    if start != vector.size:
        raise ValueError("the vector is longer than the step")
    return Total(sites, values)


def pooled(job: Job, tables: Mapping[str, Table], chance: Chance) -> Answer:
    """Runs `job` over `tables` with a plain sum in one process: the reference that every protection must equal."""
    for table in tables.values():
        job.check(table.schema)
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        check_step(step, len(tables))
        total = np.zeros(sum(size(block) for block in step.blocks), dtype=np.uint64)
        for table in tables.values():
            total += to_ring(step, job.encode(table, step), chance)
        step = job.advance(step, from_ring(step, total, len(tables)))
    return step


def encode_state(state: Struct) -> bytes:
    """A kind's public state as deterministic bytes."""
    return msgspec.msgpack.encode(state, order="deterministic")
