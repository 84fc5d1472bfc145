"""Whether a step follows from the total before it: what a site asks before it contributes a second time.

`advance` is a pure function of the step and its total, so a site that is shown the total can compute what must come
next. Numbers are compared to within `TOLERANCE`, because two machines' linear algebra differs in the last bits;
everything else must be equal.
"""

import math
from typing import Any

import msgspec

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs.base import Flags, Job, Step, Total

TOLERANCE = 1e-6  # relative, with an absolute part of the same size


def check_follows(job: Job, before: Step, total: Total, asked: Step) -> None:
    """Raises ProtocolViolation unless `asked` is what `job` asks after `total`; Refused if it would refuse itself."""
    try:
        due = job.advance(before, total)
    except NotEnoughSites as error:
        raise Refused(str(error)) from error
    except (ValueError, ArithmeticError) as error:  # a total that no rows could have made
        raise ProtocolViolation("the last total is not one that this job could have") from error
    if not isinstance(due, Step):
        raise ProtocolViolation("the job has its answer, and yet another step is asked")
    if (due.name, len(due.blocks)) != (asked.name, len(asked.blocks)):
        raise ProtocolViolation("another step is asked than follows from the last total")
    for one, other in zip(due.blocks, asked.blocks, strict=True):
        if (type(one), one.name, one.shape) != (type(other), other.name, other.shape):
            raise ProtocolViolation(f"block '{other.name}' is not what follows from the last total")
        if isinstance(one, Flags) or isinstance(other, Flags):
            continue
        if not (close(one.bound, other.bound) and 0.5 <= one.step / other.step <= 2):
            raise ProtocolViolation(f"the bound or precision of block '{other.name}' does not follow")
    if not close(_plain(due.state), _plain(asked.state)):
        raise ProtocolViolation("the public state is not what follows from the last total")


def _plain(state: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(state) if state else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("the public state is malformed") from error


def close(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of floats."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)
