"""Privacy loss in whole numbers, against the formulas of others, and always on the side of more privacy."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.errors import Refused
from hansa.privacy import accounting
from hansa.privacy.accounting import MICRO, NANO, PICO, epsilon_of, parse_delta, parse_epsilon, rho_of, rho_of_pure

VECTORS = Path(__file__).parent / "vectors" / "dp"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def test_epsilon_is_that_of_canonne_kamath_and_steinke() -> None:
    for rho, delta, expected in vectors("discrete_gaussian.json")["cdp_eps(rho,delta)"]:
        found = epsilon_of(round(rho * NANO), round(delta * PICO)) / MICRO
        assert expected <= found <= expected * (1 + 1e-6) + 2e-6


def test_rho_is_that_of_canonne_kamath_and_steinke_and_never_more() -> None:
    for epsilon, delta, expected in vectors("discrete_gaussian.json")["cdp_rho(eps,delta)"]:
        found = rho_of(round(epsilon * MICRO), round(delta * PICO)) / NANO
        assert expected * (1 - 1e-5) <= found <= expected


def test_what_a_rho_gives_at_its_delta_is_not_below_the_delta_itself() -> None:
    for rho, epsilon, delta in vectors("discrete_gaussian.json")["cdp_delta(rho,eps)"]:
        pico = math.floor(delta * PICO)
        if 0 < pico < PICO:
            assert epsilon_of(round(rho * NANO), pico) >= round(epsilon * MICRO)


def test_gaussians_composed_cost_what_dp_accounting_says_or_a_little_less() -> None:
    rows = [row for row in vectors("dp_accounting.json")["rows"] if row["event"].startswith("SelfComposed(Gaussian(")]
    assert len(rows) == 24
    for row in rows:
        sigma, times = row["event"].removeprefix("SelfComposed(Gaussian(").rstrip(")").split("),")
        rho = int(times) * NANO / (2 * float(sigma) ** 2)
        found = epsilon_of(round(rho), round(row["delta"] * PICO)) / MICRO
        assert row["pld_epsilon"] < found <= row["rdp_epsilon"] + 2e-6  # ours takes any order, theirs a fixed list


@given(st.integers(1_000, 100 * MICRO), st.integers(1, PICO // 10))
def test_there_and_back_never_exceeds_what_was_agreed(micro_epsilon: int, pico_delta: int) -> None:
    try:
        rho = rho_of(micro_epsilon, pico_delta)
    except Refused as refusal:
        assert "so small" in str(refusal) and epsilon_of(1, pico_delta) > micro_epsilon
        return
    assert epsilon_of(rho, pico_delta) <= micro_epsilon
    assert epsilon_of(rho + max(3, rho // 10**6), pico_delta) >= micro_epsilon - 1


@given(st.integers(1, 10**11), st.integers(1, 10**10), st.integers(1, PICO // 10), st.integers(0, PICO // 10))
def test_more_loss_is_more_epsilon_and_more_delta_less(rho: int, more: int, delta: int, further: int) -> None:
    epsilon = epsilon_of(rho, delta)
    assert epsilon_of(rho + more, delta) + 1 >= epsilon
    assert epsilon_of(rho, delta + further) <= epsilon + 1
    assert epsilon_of(0, delta) == 0


def test_pure_epsilon_costs_half_its_square_rounded_up() -> None:
    assert [rho_of_pure(micro) for micro in (1, 44, 45, 100, MICRO, 2 * MICRO)] == [1, 1, 2, 5, NANO // 2, 2 * NANO]


@pytest.mark.parametrize(
    ("value", "micro"),
    [("1.5", 1_500_000), (" 2 ", 2 * MICRO), (0.1, 100_000), (1e-6, 1), ("1E-6", 1), (3, 3 * MICRO), ("100", 10**8)],
)
def test_an_epsilon_is_read_exactly(value: object, micro: int) -> None:
    assert parse_epsilon(value) == micro
    assert parse_epsilon(accounting.written(micro, 6)) == micro


@pytest.mark.parametrize(("value", "pico"), [("1e-6", 10**6), (1e-05, 10**7), ("0.000000000001", 1), (0.5, PICO // 2)])
def test_a_delta_is_read_exactly(value: object, pico: int) -> None:
    assert parse_delta(value) == pico
    assert parse_delta(accounting.written(pico, 12)) == pico


@pytest.mark.parametrize(
    ("value", "due"),
    [
        ("-1", "below zero"),
        (-0.5, "below zero"),
        (0, "is zero"),
        ("0.000", "is zero"),
        ("0e9", "is zero"),
        (math.nan, "not a decimal number"),
        ("inf", "not a decimal number"),
        (math.inf, "not a decimal number"),
        ("1_000", "not a decimal number"),
        ("١", "not a decimal number"),
        ("", "not a decimal number"),
        ("1e-999999999", "not a decimal number"),
        ("1.0000001", "more than 6 decimal places"),
        (0.1 + 0.2, "more than 6 decimal places"),
        ("101", "too large: it is at most 100"),
        (10**50, "too large"),
        (-(10**50), "too large"),
        (1e300, "too large|not a decimal"),
        (True, "due as a number"),
        (None, "due as a number"),
        ([1], "due as a number"),
    ],
)
def test_what_is_no_epsilon_is_refused_in_a_sentence(value: object, due: str) -> None:
    with pytest.raises(Refused, match=due):
        parse_epsilon(value)


@pytest.mark.parametrize(("value", "due"), [("1", "too large: it is below 1"), ("1e-13", "more than 12 decimal")])
def test_what_is_no_delta_is_refused_in_a_sentence(value: object, due: str) -> None:
    with pytest.raises(Refused, match=due):
        parse_delta(value)


def test_amounts_that_are_not_whole_are_a_mistake_of_ours() -> None:
    for wrong in (1.0, True, -1, 10**20):
        with pytest.raises(ValueError, match="is not a whole number"):
            epsilon_of(wrong, 10**6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a whole number"):
        rho_of(1, 0)


def test_the_smallest_epsilon_has_no_noise_loud_enough() -> None:
    with pytest.raises(Refused, match="so small that no noise is loud enough"):
        rho_of(1, 1)
