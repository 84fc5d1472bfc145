"""A site contributes to a step only if it is the one that follows from the total before."""

import hashlib
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from hansa.errors import ProtocolViolation
from hansa.jobs import EXAMPLES
from hansa.jobs.base import Answer, Flags, Job, Reals, Step, Total, from_ring, reals, size, to_ring
from hansa.jobs.verification import _plain, check_follows

Link = tuple[Job, Step, Total, Step]


def chance(size: int) -> bytes:
    return hashlib.shake_256(b"flags").digest(size)


def links(kind: str) -> Iterator[Link]:
    """Every (job, step, its total, the step that follows) of the kind's example."""
    job, tables = EXAMPLES[kind].job, EXAMPLES[kind].tables
    step = job.begin([table.schema for table in tables.values()], len(tables))
    while True:
        vector = np.zeros(sum(size(block) for block in step.blocks), dtype=np.uint64)
        for table in tables.values():
            vector += to_ring(step, job.encode(table, step), chance)
        total = from_ring(step, vector, len(tables))
        following = job.advance(step, total)
        if isinstance(following, Answer):
            return
        yield job, step, total, following
        step = following


ALL = [(kind, place) for kind in EXAMPLES for place, _ in enumerate(links(kind))]


@pytest.mark.parametrize(("kind", "place"), ALL)
def test_an_honest_step_follows(kind: str, place: int) -> None:
    job, step, total, following = list(links(kind))[place]
    check_follows(job, step, total, following)


@pytest.mark.parametrize(("kind", "place"), ALL)
def test_the_same_step_twice_does_not_follow(kind: str, place: int) -> None:
    job, step, total, _ = list(links(kind))[place]
    with pytest.raises(ProtocolViolation):
        check_follows(job, step, total, step)


def moved(value: object) -> object:
    """The state with its first float moved by a thousandth."""
    found = False

    def walk(part: object) -> object:
        nonlocal found
        if isinstance(part, float) and not found and np.isfinite(part):
            found = True
            return part * 1.001 + 0.001
        if isinstance(part, dict):
            return {key: walk(item) for key, item in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    result = walk(value)
    return result if found else None


@pytest.mark.parametrize(("kind", "place"), ALL)
def test_a_state_that_is_moved_a_little_does_not_follow(kind: str, place: int) -> None:
    job, step, total, following = list(links(kind))[place]
    lie = moved(msgspec.msgpack.decode(following.state))
    if lie is None:  # a state without a number has nothing to move; the next test changes its blocks
        return
    forged = msgspec.structs.replace(following, state=msgspec.msgpack.encode(lie, order="deterministic"))
    with pytest.raises(ProtocolViolation):
        check_follows(job, step, total, forged)


@pytest.mark.parametrize(("kind", "place"), ALL)
def test_blocks_that_are_more_telling_do_not_follow(kind: str, place: int) -> None:
    job, step, total, following = list(links(kind))[place]
    first, *rest = following.blocks
    for other in (
        reals(first.name, first.shape, 1e9, 3) if isinstance(first, Flags) else Flags(first.name, first.shape),
        msgspec.structs.replace(first, name="another"),
        msgspec.structs.replace(first, shape=(*first.shape, 2)),
        *([msgspec.structs.replace(first, step=first.step / 16)] if isinstance(first, Reals) else []),
    ):
        with pytest.raises(ProtocolViolation):
            check_follows(job, step, total, msgspec.structs.replace(following, blocks=(other, *rest)))


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_no_step_follows_an_answer(kind: str) -> None:
    chain = list(links(kind))
    if not chain:
        return
    job, _, _, last = chain[-1]
    tables = EXAMPLES[kind].tables
    vector = np.zeros(sum(size(block) for block in last.blocks), dtype=np.uint64)
    for table in tables.values():
        vector += to_ring(last, job.encode(table, last), chance)
    with pytest.raises(ProtocolViolation, match="has its answer"):
        check_follows(job, last, from_ring(last, vector, len(tables)), last)


def test_the_last_digits_of_another_machine_make_no_difference() -> None:
    job, step, total, following = list(links("glm"))[-1]
    nearly = {name: value if value.dtype == np.bool_ else value * (1 + 1e-12) for name, value in total.values.items()}
    check_follows(job, step, Total(total.sites, nearly), following)


@pytest.mark.parametrize("state", [b"\xa1\xe8", b"\xc1", b"\x91" * 5000])
def test_a_public_state_that_is_no_value_at_all_is_the_hubs_fault(state: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="malformed"):
        _plain(state)
