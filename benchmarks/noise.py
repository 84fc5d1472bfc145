"""Discrete Gaussian numbers a second, by both samplers, beside numpy's rounded normal numbers: what no sampler that is
exact does without is a uniform word, a comparison and a sign, and numpy's has neither a secret stream nor a tail.
"""

import os
from collections.abc import Iterable

import numpy as np

from benchmarks.machine import cpu
from hansa.crypto import prg
from hansa.privacy import sampling

MANY = 10**6


def chance(size: int) -> bytes:
    return prg.stream(os.urandom(32), b"benchmark", size)


def lines() -> Iterable[str]:
    generator = np.random.default_rng(1)
    for bits in (16, 20, 26):
        variance = 2**bits
        floor = MANY / cpu(lambda: np.rint(generator.normal(0.0, variance**0.5, MANY)).astype(np.int64))  # noqa: B023
        begun = cpu(lambda: sampling._thresholds.__wrapped__(variance), 3)  # noqa: B023
        sampling.by_inversion(variance, 1, chance)
        many = MANY / cpu(lambda: sampling.by_inversion(variance, MANY, chance))  # noqa: B023
        few = sampling.FEW / cpu(lambda: sampling.by_rejection(variance, sampling.FEW, chance))  # noqa: B023
        yield (
            f"| σ = 2^{bits // 2} | {few / 1e3:.0f} k/s | {many / 1e6:.1f} M/s | {begun * 1e3:.0f} ms "
            f"| {floor / 1e6:.1f} M/s | {floor / many:.1f} |"
        )
