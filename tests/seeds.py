"""Seeds of one history each: the first plays in `make test`, the others in `make test-slow`."""

from typing import Any

import pytest


def seeds(count: int) -> list[Any]:
    return [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, count))]
