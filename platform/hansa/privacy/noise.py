"""How much noise a step needs, and each site's share of it: the distributed discrete Gaussian.

Follows Kairouz, Liu and Steinke, *The Distributed Discrete Gaussian Mechanism* (ICML 2021), Proposition 14. Each site
adds a share of variance s² per number under its masks, on a lattice of g ring units. m honest survivors are sure to be
in the total, so what the rows are hidden by is at least the sum of m shares; more shares are noise on top, which takes
nothing away. For two inputs whose numbers differ by D in the L2 norm, in lattice units, over d numbers, the total is
ρ-zCDP with

    ρ = ½ (D / (√m s) + τ √d)²,        τ = 10 Σ_{k<m} exp(−2π² s² k/(k+1)) ≤ 10 m exp(−π² s²).

Each line of the accounting, all in whole numbers and fractions, rounded up:

* A step's ρ is split evenly over its blocks, and they add up again (composition of zCDP).
* D in lattice units is (sensitivity + float √d) / g, plus √d where numbers are rounded to the lattice: what two numbers
  differ by grows by less than 1 when each is rounded to the nearest whole. `float` is what the numbers of a
  contribution may be off from those whose sensitivity is stated, both of two inputs together. Whole multiples of the
  lattice are not rounded and are exact in floats, so they have neither term.
* s² ≥ D² (1 + 2^-18) / (2 ρ m). Of these 2^-18, half are for the float in which a kind states its sensitivity, half for
  τ: s² ≥ 2^14 always, so that τ √d < 2^-200000, while √(2ρ) > 2^-15 for every ρ that isn't zero.
* A sum of discrete Gaussians is taken modulo the ring: that is done to the noisy total, and costs nothing.

The lattice is the coarsest whose shares have s² ≥ 2^16 and whose rounding is below 1/64 of the sensitivity; where the
sampler's table would get too large for that, 1/8, or as much as the sensitivity. A ring that a hub makes too coarse
only makes more noise.
"""

from fractions import Fraction
from math import isqrt, sqrt
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hansa.errors import Refused
from hansa.privacy import accounting, sampling
from hansa.privacy.accounting import NANO
from hansa.privacy.sampling import MOST_VARIANCE, Chance, Numbers

Unit = Literal["row", "person", "member"]
LEAST_VARIANCE, FINE_VARIANCE, LARGE_VARIANCE = 2**14, 2**16, 2**26  # of a share, in lattice units squared
TAIL = 12  # standard deviations; of 2^38 numbers one exceeds them with probability below 2^-60
_MARGIN = 1 + Fraction(1, 2**18)
_ROUNDING = ((Fraction(1, 64), LARGE_VARIANCE), (Fraction(1, 8), MOST_VARIANCE), (Fraction(1), MOST_VARIANCE))


class Noise(Struct, frozen=True, forbid_unknown_fields=True):
    """What was agreed about one answer: (ε, δ) for a unit, which is a row, the rows of one id at one site, or all rows
    that a member gives.

    A person with rows at several sites is several units: at r sites, the ρ of the answer counts r² times for them.
    """

    micro_epsilon: Annotated[int, Meta(ge=1, le=accounting.LARGEST_EPSILON)]
    pico_delta: Annotated[int, Meta(ge=1, lt=accounting.PICO)]
    unit: Unit = "row"
    id_column: Annotated[str, Meta(max_length=200)] = ""  # of a person; empty for rows
    rows_per_person: Annotated[int, Meta(ge=1, le=1000)] = 1  # a site keeps so many rows of an id, or of all

    def check(self) -> None:
        """Refuses what contradicts itself, and what no noise is loud enough for."""
        if (self.unit == "person") != bool(self.id_column):
            raise Refused("noise for persons needs the column of their ids; noise for rows or members has none")
        if self.unit == "row" and self.rows_per_person != 1:
            raise Refused("noise for rows counts no rows per person")
        _ = self.nano_rho

    @property
    def hides(self) -> str:
        """The unit, for people."""
        return hidden(self.unit, self.id_column, self.rows_per_person)

    @property
    def written(self) -> tuple[str, str]:
        """ε and δ for people, exactly."""
        return accounting.written(self.micro_epsilon, 6), accounting.written(self.pico_delta, 12)

    @property
    def nano_rho(self) -> int:
        """What the answer costs."""
        return accounting.rho_of(self.micro_epsilon, self.pico_delta)


def hidden(unit: Unit, id_column: str, rows: int) -> str:
    of = {"person": f"the rows of one '{id_column}' at one site", "member": f"all that one member gives, {rows} rows"}
    return of.get(unit, "one row")


class Block(Struct, frozen=True):
    """What noise must know of the numbers it hides. Lengths are in ring units."""

    elements: int
    sensitivity: float  # L2: by how much one unit of privacy changes one site's numbers
    floating: float = 0.0  # by how much the floats of two inputs, per number, may differ beyond that
    whole: int = 0  # numbers are exact multiples of so many units, a power of two; 0 if they are not


class Share(Struct, frozen=True):
    """What a site adds to each number of a block: `lattice` times N_Z(0, `variance`)."""

    lattice: int  # ring units, a power of two
    variance: int  # lattice units squared

    def draw(self, elements: int, chance: Chance) -> Numbers:
        """In ring units; wraps around as the ring does."""
        return sampling.draw(self.variance, elements, chance) * self.lattice

    def deviation(self, sites: int) -> float:
        """The standard deviation, in ring units, of the sum over `sites` that each added their share."""
        return self.lattice * sqrt(self.variance * sites)

    def tail(self) -> int:
        """What one share stays below in magnitude, in ring units, but for a probability of 2^-60 a step."""
        return TAIL * (isqrt(self.variance) + 1) * self.lattice


def shares_of(blocks: tuple[Block, ...], nano_rho: int, honest: int) -> tuple[Share, ...]:
    """Each block's share for a step that may cost `nano_rho`, where `honest` shares are sure to be in the total."""
    if honest < 1:
        raise ValueError("noise that nobody honest adds hides nothing")
    if nano_rho < len(blocks):
        raise Refused("the noise budget is too small to be split over the totals of this job")
    return tuple(_share(block, Fraction(nano_rho // len(blocks), NANO), honest) for block in blocks)


def _share(block: Block, rho: Fraction, honest: int) -> Share:
    for most, largest in _ROUNDING:
        found = _coarsest(block, rho, honest, most)
        if found.variance <= largest:
            return found
    raise Refused("so much noise over so many numbers has no room here: ask for fewer numbers or a larger ε")


def _coarsest(block: Block, rho: Fraction, honest: int, most: Fraction) -> Share:
    """The share on the coarsest lattice whose rounding is at most that part of the sensitivity; else on the finest."""
    for exponent in range(62, 0, -1):
        lattice = 1 << exponent
        if _rounding(block, lattice) <= most * Fraction(block.sensitivity):
            variance = _variance(block, lattice, rho, honest)
            if variance >= FINE_VARIANCE:
                return Share(lattice, variance)
    return Share(1, _variance(block, 1, rho, honest))


def _variance(block: Block, lattice: int, rho: Fraction, honest: int) -> int:
    """s² in lattice units, from what one unit of privacy changes."""
    change = (Fraction(block.sensitivity) + _rounding(block, lattice)) / lattice
    if not _on_lattice(block, lattice):
        change += Fraction(block.floating) * _root(block.elements) / lattice
    least = -(-change * change * _MARGIN // (2 * rho * honest))
    return max(int(least), LEAST_VARIANCE)


def _rounding(block: Block, lattice: int) -> Fraction:
    """What rounding to the lattice adds to the sensitivity, in ring units."""
    return Fraction(0) if _on_lattice(block, lattice) else lattice * _root(block.elements)


def _on_lattice(block: Block, lattice: int) -> bool:
    return block.whole > 0 and block.whole % lattice == 0


def _root(number: int) -> Fraction:
    """√number, rounded up."""
    return Fraction(isqrt(number << 64) + 1, 2**32)
