"""Whatever bytes an export holds, the verifier ends with findings or with one of our errors."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import ProtocolViolation
from hansa.messages import HUB, encode
from hansa.verify.notes import read_checkpoint, read_note
from hansa.verify.verdict import verify
from tests import exports
from tests.exports import files, good, new_log, source

quick = settings(derandomize=True, database=None, deadline=None, max_examples=150)
GOOD = files(good(), [5, 40])
PATHS = sorted(GOOD)
OWN = good().signed[1]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)


def holds(found: exports.Files) -> bool:
    try:
        return verify(source(found), OWN).outcome == "holds"
    except ProtocolViolation:
        return False


def test_the_export_that_is_damaged_here_holds() -> None:
    assert holds(GOOD)


@quick
@given(st.sampled_from(PATHS), st.data())
def test_no_byte_of_an_export_may_change(path: str, data: st.DataObject) -> None:
    """But in the names of a policy, which may be any."""
    content = bytearray(GOOD[path])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    if path != "policy":
        assert not holds(GOOD | {path: bytes(content)})
    else:
        holds(GOOD | {path: bytes(content)})


@quick
@given(st.sampled_from(PATHS), st.data())
def test_no_file_of_an_export_may_be_cut(path: str, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(GOOD[path]) - 1))
    if path != "policy":
        assert not holds(GOOD | {path: GOOD[path][:length]})
    else:
        holds(GOOD | {path: GOOD[path][:length]})


@quick
@given(st.sampled_from(PATHS), st.binary(max_size=400))
def test_arbitrary_bytes_in_any_file_do_not_hold(path: str, data: bytes) -> None:
    assert not holds(GOOD | {path: data})


@quick
@given(st.sampled_from(["checkpoints/", "charters/", "payloads/", "evidence/"]), st.text(max_size=20), st.binary())
def test_files_of_arbitrary_names_are_no_python_errors(folder: str, name: str, data: bytes) -> None:
    holds(GOOD | {folder + name: data})


@quick
@given(values)
def test_a_leaf_of_arbitrary_values_is_no_python_error(value: Any) -> None:
    log = good()
    for leaf in (encode(value), encode((encode(value), bytes(64)))):
        log.leaves[20] = leaf
        assert not holds(files(log))


DETAILS = [
    "plan",
    "sites",
    "step",
    "locked",
    "survivors",
    "answer",
    "version",
    "charter",
    "status",
    "what",
    "site",
    "session",
]


@quick
@given(st.data())
def test_acts_in_any_order_with_any_details_are_no_python_errors(data: st.DataObject) -> None:
    from hansa.verify.entries import OF_HUB, OF_MEMBER

    log = new_log()
    for _ in range(data.draw(st.integers(1, 12))):
        by = data.draw(st.sampled_from([HUB, "a", "b"]))
        act = data.draw(st.sampled_from(sorted(OF_HUB if by == HUB else OF_MEMBER)))
        needed = (OF_HUB if by == HUB else OF_MEMBER)[act]
        text = st.sampled_from(["0", "1", "a, b, c", "a", "done", "x" * 64, "²", ""])
        details = {name: data.draw(text) for name in needed}
        log.put(by, act, exports.RUN, data.draw(st.none() | st.binary(max_size=9)), details)
    assert isinstance(holds(files(log)), bool)


@quick
@given(st.text(max_size=200))
def test_any_text_as_a_note_is_read_or_refused(text: str) -> None:
    for data in (text.encode("utf-8", "surrogatepass"), f"o\n1\n{text}\n\n— {text}\n".encode("utf-8", "replace")):
        with pytest.raises(ProtocolViolation):
            read_checkpoint(read_note(data))
