"""Discrete Gaussian noise: distributed as it should be, as loud as its accounting needs; planted faults are found."""

import json
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import Refused
from hansa.privacy import noise, sampling
from hansa.privacy.accounting import NANO
from hansa.privacy.noise import Block, Noise, Share, shares_of
from hansa.privacy.sampling import Chance, Numbers
from tests import real_rows

Sampler = Callable[[int, int, Chance], Numbers]
VECTORS = json.loads((Path(__file__).parent / "vectors" / "dp" / "discrete_gaussian.json").read_text())


def probabilities(variance: int, largest: int) -> np.ndarray:
    """P[−largest … largest], in floats: a second way to the distribution."""
    x = np.arange(-largest, largest + 1)
    mass = np.exp(-(x * x) / (2 * variance))
    whole = np.arange(-60 * math.isqrt(variance) - 60, 60 * math.isqrt(variance) + 61)
    return mass / math.fsum(np.exp(-(whole * whole) / (2 * variance)))


# ---- the battery: what is wrong with a sampler, in words ----


def faults(sampler: Sampler, variance: int, size: int) -> set[str]:
    """By 200 000 numbers or so: bins of equal weight, balance of signs, spread; each test errs once in 10^5."""
    drawn = sampler(variance, size, real_rows.Chance(f"noise {variance}"))
    largest = 5 * math.isqrt(variance) + 5
    expected = np.concatenate([[0.0], probabilities(variance, largest), [0.0]])
    expected[0] = expected[-1] = (1 - expected.sum()) / 2
    counted = np.bincount(np.clip(drawn, -largest - 1, largest + 1) + largest + 1, minlength=expected.size)
    edges = np.flatnonzero(np.diff(np.floor(np.cumsum(expected) * 60), prepend=-1))
    bins, due = np.add.reduceat(counted, edges), np.add.reduceat(expected, edges) * size
    found = set()
    chi_squared = ((bins - due) ** 2 / due).sum()
    if chi_squared > bins.size - 1 + 4.5 * math.sqrt(2 * (bins.size - 1)) + 12:
        found.add("shape")
    above, nonzero = int((drawn > 0).sum()), int((drawn != 0).sum())
    if abs(above - nonzero / 2) > 4.5 * math.sqrt(nonzero) / 2:
        found.add("sign")
    if abs(float((drawn.astype(np.float64) ** 2).mean()) / variance - 1) > 4.5 * math.sqrt(2 / size):
        found.add("spread")
    return found


def tail_faults(sampler: Sampler, variance: int) -> set[str]:
    """Whether the rarest words there are give the magnitudes that inversion in 60 decimal digits gives."""
    ones, found = 2**64 - 1, set()
    for gap in (2**12, 2**20, 2**28, 2**34, 2**44):
        word = ones - 2 * gap
        for negative in (0, 1):
            words = np.full(1, (word & ~1) | negative, dtype="<u8").tobytes()
            drawn = int(sampler(variance, 1, lambda size, words=words: (words * size)[:size])[0])  # type: ignore[misc]
            if abs(drawn) != magnitude(variance, (word >> 1) / Decimal(2**63)) or (drawn < 0) != bool(negative):
                found.add("tail")
    return found


def magnitude(variance: int, uniform: Decimal) -> int:
    """How many k have P[|x| ≤ k] ≤ `uniform`."""
    with localcontext() as context:
        context.prec = 60
        scale = Decimal(2 * variance)
        masses = [(Decimal(-k * k) / scale).exp() for k in range(14 * math.isqrt(variance) + 14)]
        total, so_far = 2 * sum(masses) - 1, Decimal(-1)
        for k, mass in enumerate(masses):
            so_far += 2 * mass
            if so_far / total > uniform:
                return k
    raise AssertionError("no table is that long")


@pytest.mark.parametrize(("variance", "size"), [(1, 20_000), (25, 20_000), (2**14 + 1, 10_000)])
def test_rejection_draws_discrete_gaussians(variance: int, size: int) -> None:
    assert faults(sampling.by_rejection, variance, size) == set()


@pytest.mark.parametrize("variance", [1, 4, 100, 2**16 + 7])
def test_inversion_draws_discrete_gaussians(variance: int) -> None:
    assert faults(sampling.by_inversion, variance, 200_000) == set()
    if variance > 1:
        assert tail_faults(sampling.by_inversion, variance) == set()


def words(chance: Chance, size: int) -> np.ndarray:
    return np.frombuffer(chance(8 * size), dtype="<u8").astype(np.uint64)


def rounded_and_too_wide(variance: int, size: int, chance: Chance) -> Numbers:
    from scipy.special import ndtri

    uniform = (words(chance, size) + 0.5) / 2.0**64
    return np.rint(1.02 * math.sqrt(variance) * ndtri(uniform)).astype(np.int64)


def off_by_one(variance: int, size: int, chance: Chance) -> Numbers:
    drawn = sampling.by_inversion(variance, size, chance)
    return drawn + np.sign(drawn)


def zero_twice(variance: int, size: int, chance: Chance) -> Numbers:
    """A sign drawn for a one-sided table that gives zero its weight twice."""
    mass = probabilities(variance, 10 * math.isqrt(variance))[10 * math.isqrt(variance) :]
    drawn, uniform = words(chance, size), np.cumsum(mass / mass.sum())
    places = np.searchsorted(uniform, (drawn >> np.uint64(1)) / 2.0**63)
    return np.where(drawn & np.uint64(1), -places, places)


def leaning(variance: int, size: int, chance: Chance) -> Numbers:
    drawn = np.abs(sampling.by_inversion(variance, size, chance))
    return np.where(words(chance, size) < np.uint64(0.49 * 2**64), -drawn, drawn)


def one_sided(variance: int, size: int, chance: Chance) -> Numbers:
    return np.abs(sampling.by_inversion(variance, size, chance))


def of_32_bits(variance: int, size: int, chance: Chance) -> Numbers:
    """Uniforms cut to 32 bits: right in every bin that can be counted, wrong where it matters."""
    table, drawn = sampling._thresholds(variance), words(chance, size)
    places = np.searchsorted(table, (drawn >> np.uint64(33)) << np.uint64(31))
    return np.where(drawn & np.uint64(1), -places, places).astype(np.int64)


@pytest.mark.parametrize(
    ("planted", "due"),
    [
        (rounded_and_too_wide, {"shape", "spread"}),
        (off_by_one, {"shape", "spread"}),
        (zero_twice, {"shape"}),
        (leaning, {"sign"}),
        (one_sided, {"shape", "sign"}),
        (of_32_bits, {"tail"}),
    ],
)
def test_a_planted_fault_is_found(planted: Sampler, due: set[str]) -> None:
    assert due <= faults(planted, 100, 200_000) | tail_faults(planted, 100)


def test_probabilities_are_those_of_the_vectors() -> None:
    for row in VECTORS["discrete_gaussian"]:
        if row["sigma2"] < 1:
            continue
        whole = sampling._cumulative(int(row["sigma2"]))
        at_zero, to_one = (probability / 2**384 for probability in whole[:2])
        assert at_zero == pytest.approx(row["P0"], rel=1e-14)
        assert (to_one - at_zero) / 2 == pytest.approx(row["P1"], rel=1e-13)
        variance = sum(k * k * (one - two) for k, two, one in zip(range(1, 10**6), whole, whole[1:], strict=False))
        assert variance / 2**384 == pytest.approx(row["variance"], rel=1e-13)


def test_rejection_agrees_with_the_vectors_sampler() -> None:
    for variance, found in VECTORS["sampler_check"].items():
        drawn = sampling.by_rejection(int(variance), 4_000, real_rows.Chance("vectors"))
        assert drawn.var() == pytest.approx(found["var"], rel=0.1)


def test_a_word_that_meets_a_threshold_is_decided_by_the_bits_that_follow() -> None:
    whole, table = sampling._cumulative(100), sampling._thresholds(100)
    for place in (0, 3, 40, table.size - 1):
        first, rest = int(table[place]), whole[place] % 2**321
        for more, due in ((rest, place + 1), (rest - 1, place)):
            answers = [np.uint64(first << 1).tobytes(), (more << 63).to_bytes(48, "little")]
            assert abs(int(sampling.by_inversion(100, 1, lambda _size, left=answers: left.pop(0))[0])) == due  # type: ignore[misc]


def test_few_numbers_are_drawn_by_rejection_and_many_by_inversion() -> None:
    for size, sampler in ((sampling.FEW, sampling.by_rejection), (sampling.FEW + 1, sampling.by_inversion)):
        drawn = sampling.draw(2**16, size, real_rows.Chance("both"))
        assert drawn.tolist() == sampler(2**16, size, real_rows.Chance("both")).tolist()
    with pytest.raises(ValueError, match="variance"):
        sampling.draw(2**40, 1, real_rows.Chance())


# ---- how much ----


@pytest.mark.parametrize("sites", [3, 10, 50])
@pytest.mark.parametrize("share_dropped", [0.0, 0.2])
def test_the_error_of_noisy_totals_is_what_theory_says(sites: int, share_dropped: float) -> None:
    runs, dropped = 2_000, round(share_dropped * sites)
    survivors, corrupt = sites - dropped, max(1, (sites - 1) // 3)
    honest = survivors - corrupt
    (share,) = shares_of((Block(1, 1000.0, whole=2**10),), NANO // 50, honest)
    total, exact = np.zeros(runs, dtype=np.uint64), np.zeros(runs, dtype=np.uint64)
    for site in range(dropped, sites):
        chance, values = real_rows.Chance(f"{site} of {sites}"), np.arange(runs, dtype=np.uint64) << np.uint64(50)
        drawn = [share.draw(size, chance) for size in ((1000, 1000) if sites == 3 else (runs,))]
        total += values + np.concatenate(drawn).view(np.uint64)
        exact += values
    error = (total - exact).view(np.int64).astype(np.float64)
    theory = 1000 / math.sqrt(2 * 0.02) * math.sqrt(survivors / honest)
    assert share.deviation(survivors) == pytest.approx(theory, rel=1e-4)
    assert error.std() == pytest.approx(theory, rel=0.05)
    assert abs(error.mean()) < 4 * theory / math.sqrt(runs)


def least_variance(block: Block, rho: Fraction, honest: int, share: Share) -> Fraction:
    """What the theorem needs without τ, in another order than the product computes it."""
    on_lattice = block.whole and block.whole % share.lattice == 0
    root = Fraction(math.isqrt(block.elements << 80), 2**40)
    change = Fraction(block.sensitivity) / share.lattice
    if not on_lattice:
        change += root + Fraction(block.floating) / share.lattice * root
    return change**2 / (2 * rho * honest)


blocks = st.builds(
    Block,
    st.integers(1, 10**6),
    st.floats(1e-6, 2.0**50),
    st.floats(0, 1e6),
    st.sampled_from([0, 1, 2**10, 2**30]),
)


@given(st.lists(blocks, min_size=1, max_size=4).map(tuple), st.integers(10, 60 * NANO), st.integers(1, 600))
@settings(max_examples=150)
def test_a_share_is_loud_enough_for_every_line_of_the_accounting(
    found: tuple[Block, ...], nano_rho: int, honest: int
) -> None:
    try:
        shares = shares_of(found, nano_rho, honest)
    except Refused as refusal:
        assert "no room" in str(refusal)
        return
    rho = Fraction(nano_rho // len(found), NANO)
    assert rho * len(found) <= Fraction(nano_rho, NANO)
    for block, share in zip(found, shares, strict=True):
        assert share.variance >= noise.LEAST_VARIANCE and share.lattice & (share.lattice - 1) == 0
        assert share.variance >= least_variance(block, rho, honest, share) * (1 + Fraction(1, 2**19))
        assert share.variance <= sampling.MOST_VARIANCE


@given(st.integers(1, 10**4), st.floats(1.0, 2.0**30), st.integers(10**7, 10 * NANO), st.integers(1, 50))
def test_a_fine_ring_makes_little_more_noise_than_real_numbers_would(
    elements: int, sensitivity: float, nano_rho: int, honest: int
) -> None:
    ring = sensitivity * 2.0**20 * math.sqrt(elements)
    (share,) = shares_of((Block(elements, ring),), nano_rho, honest)
    ideal = ring / math.sqrt(2 * nano_rho / NANO)
    assert ideal <= share.deviation(honest) <= ideal * (1 + 1 / 8 + 1e-3)
    if share.variance <= 2**17:
        assert share.deviation(honest) <= ideal * (1 + 1 / 60)


def test_whole_numbers_pay_nothing_for_the_lattice() -> None:
    (share,) = shares_of((Block(10**6, 2.0**20, whole=2**20),), NANO // 50, 4)
    assert share.deviation(4) == pytest.approx(2**20 / math.sqrt(0.04), rel=1e-4)
    assert share.variance < noise.LARGE_VARIANCE


def test_a_coarse_ring_costs_precision_only() -> None:
    (share,) = shares_of((Block(4, 1e-9),), NANO, 3)
    assert (share.lattice, share.variance) == (1, noise.LEAST_VARIANCE)


def test_what_tau_adds_is_covered_by_the_margin() -> None:
    """τ ≤ 10 m exp(−π² s²) at the least variance, over the most numbers, against half of 2^-18 of the least √(2ρ)."""
    with localcontext() as context:
        context.prec, context.Emin = 30, -(10**9)
        tau = 10 * 2000 * (Decimal("-9.8696") * noise.LEAST_VARIANCE).exp()
        assert tau * Decimal(2**27).sqrt() < Decimal(2) ** -200_000
    assert math.sqrt(2 / NANO) > 2**-15


def test_the_tail_of_a_share_is_beyond_what_is_ever_drawn() -> None:
    share = Share(8, 2**16)
    assert share.tail() == 12 * 257 * 8
    assert np.abs(share.draw(100_000, real_rows.Chance("tail"))).max() < share.tail()
    assert 2 * math.exp(-(noise.TAIL**2) / 2) * 2**38 < 2**-60


def test_noise_that_contradicts_itself_is_refused() -> None:
    Noise(10**6, 10**6, "person", "id", 3).check()
    Noise(10**6, 10**6, "member", "", 3).check()
    for wrong in (
        Noise(10**6, 10**6, "person"),
        Noise(10**6, 10**6, "row", "id"),
        Noise(10**6, 10**6, "member", "id"),
        Noise(10**6, 10**6, rows_per_person=2),
        Noise(1, 1),
    ):
        with pytest.raises(Refused):
            wrong.check()


def test_a_budget_that_can_not_be_split_is_refused() -> None:
    with pytest.raises(Refused, match="too small to be split"):
        shares_of((Block(1, 1.0), Block(1, 1.0)), 1, 3)
    with pytest.raises(Refused, match="ask for fewer numbers or a larger"):
        shares_of((Block(10**6, 1.0),), 1, 3)
    with pytest.raises(ValueError, match="nobody honest"):
        shares_of((Block(1, 1.0),), NANO, 0)
