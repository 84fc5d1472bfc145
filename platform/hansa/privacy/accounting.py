"""Privacy loss in whole numbers: nothing that is compared, added up or stored is a float.

| what | unit | name |
|---|---|---|
| ε | 10^-6 | `micro_epsilon` |
| δ | 10^-12 | `pico_delta` |
| ρ of zero-concentrated differential privacy (Bun and Steinke, TCC 2016) | 10^-9 | `nano_rho` |

ρ is the currency: what several releases cost is the sum of their ρ. What people agree to is (ε, δ), and the bound
between the two is Proposition 12 of Canonne, Kamath and Steinke (NeurIPS 2020) as dp-accounting computes it. Every
conversion rounds to the side of more privacy. A millionth of each δ is set aside for how far the sampler may be from
the distribution it is meant to have (`sampling.py`).
"""

import math
import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from hansa.errors import Refused

MICRO, PICO, NANO = 10**6, 10**12, 10**9
LARGEST_EPSILON = 100 * MICRO  # above it, a δ would not cover what it is set aside for, and nobody is protected
_SET_ASIDE = 1e-6  # of δ, for the sampler
_LARGEST_RHO = 2**40  # nano; far above what LARGEST_EPSILON gives
_SLACK = 1e-11  # what float64 may lose in the bound, relatively and absolutely
_LEAST_ORDER = 1.011  # below it dp-accounting leaves the bound out, as unstable
_WRITTEN = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


def parse_epsilon(value: object) -> int:
    """micro-ε of what a person wrote, exactly: "1.5", 2 or 0.1; refuses what has no such whole number."""
    return _parse(value, "ε", 6, LARGEST_EPSILON, "at most 100")


def parse_delta(value: object) -> int:
    """pico-δ of what a person wrote: "1e-6"; refuses what has no such whole number."""
    return _parse(value, "δ", 12, PICO - 1, "below 1")


def written(amount: int, places: int) -> str:
    """A whole number of 10^-`places` as a decimal number, without needless zeros: (1500000, 6) is "1.5"."""
    whole, part = divmod(amount, 10**places)
    return f"{whole}.{part:0{places}}".rstrip("0").rstrip(".")


def rho_of_pure(micro_epsilon: int) -> int:
    """nano-ρ that pure ε-differential privacy costs: ε²/2 (Bun and Steinke 2016, Proposition 1.4), rounded up."""
    _check(micro_epsilon, LARGEST_EPSILON, "ε")
    return -(-(micro_epsilon**2) // (2 * MICRO**2 // NANO))


@lru_cache(maxsize=256)
def rho_of(micro_epsilon: int, pico_delta: int) -> int:
    """The largest nano-ρ for which ρ-zCDP gives (ε, δ)-differential privacy; refuses where that is none."""
    _check(micro_epsilon, LARGEST_EPSILON, "ε")
    _check(pico_delta, PICO - 1, "δ")
    if epsilon_of(1, pico_delta) > micro_epsilon:
        raise Refused("ε and δ are so small that no noise is loud enough for them")
    within, beyond = 1, _LARGEST_RHO
    while beyond - within > 1:
        middle = (within + beyond) // 2
        if epsilon_of(middle, pico_delta) <= micro_epsilon:
            within = middle
        else:
            beyond = middle
    return within


def epsilon_of(nano_rho: int, pico_delta: int) -> int:
    """The micro-ε, rounded up, that ρ-zCDP gives at this δ; zero for no loss at all."""
    _check(pico_delta, PICO - 1, "δ")
    if nano_rho == 0:
        return 0
    _check(nano_rho, _LARGEST_RHO, "ρ")
    epsilon = _least_epsilon(nano_rho / NANO, pico_delta / PICO * (1 - _SET_ASIDE))
    return math.ceil((epsilon * (1 + _SLACK) + _SLACK) * MICRO) if epsilon else 0


def _least_epsilon(rho: float, delta: float) -> float:
    """Over orders α of Rényi divergence near 1 + √(ln(1/δ)/ρ), the best of the classical bound, then nearer to the best
    of those. A worse order is only a larger ε, so no search can make this too small.
    """
    from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

    place, width, found = math.sqrt(-math.log(delta) / rho), math.log(8.0), math.inf
    for _ in range(3):
        above = [place * math.exp(width * step / 24) for step in range(-24, 25)]
        orders = [max(1 + some, _LEAST_ORDER) for some in above]
        epsilon, order = compute_epsilon(orders, [rho * some for some in orders], delta)
        found = min(found, float(epsilon))
        place, width = float(order) - 1, width / 12
    return found


def _check(amount: int, largest: int, what: str) -> None:
    """Amounts that were parsed always fit; others are our own mistake."""
    if type(amount) is not int or not 0 < amount <= largest:
        raise ValueError(f"{what} is not a whole number from 1 to {largest}")


def _parse(value: object, what: str, places: int, largest: int, limit: str) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused(f"{what} is due as a number")
    if isinstance(value, int) and abs(value) > largest:
        raise Refused(f"{what} is too large: it is {limit}")
    text = value.strip() if isinstance(value, str) else repr(value)
    if text.startswith("-") and _WRITTEN.fullmatch(text[1:]):
        raise Refused(f"{what} is below zero")
    if not _WRITTEN.fullmatch(text):
        raise Refused(f"{what} is not a decimal number like 1.5 or 1e-6")
    amount = Fraction(Decimal(text)) * 10**places
    if amount == 0:
        raise Refused(f"{what} is zero, which no noise can reach")
    if amount > largest:
        raise Refused(f"{what} is too large: it is {limit}")
    if amount.denominator != 1:
        raise Refused(f"{what} has more than {places} decimal places")
    return int(amount)
