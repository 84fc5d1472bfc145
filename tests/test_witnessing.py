"""What a witness cosigns, and what it answers to everything else: a history that was rewritten above all."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.audit import witnessing
from hansa.audit.checkpoint import Checkpoint, cosigned
from hansa.audit.note import Note, Signer, parse_lines
from hansa.audit.tree import EMPTY_HEAD, Head
from hansa.audit.witnessing import Answer, Asked, Granted, judge
from hansa.errors import ProtocolViolation
from tests.grown import ED25519, LOG, MLDSA44, ORIGIN, TIME, WITNESSES, Grown, numbered, signed

GROWN = Grown(numbered(30))


def asked(old: int, new: int) -> bytes:
    proof = GROWN.consistency(old, new) if old else ()
    return bytes(Asked(old, proof, signed(GROWN.head(new))))


def status(last: Head | None, body: bytes) -> int:
    judged = judge(last, body, LOG.key)
    return witnessing.GRANTED if isinstance(judged, Granted) else judged.status


def test_a_witness_grants_every_step_of_a_log_that_grows() -> None:
    last = None
    for size in (0, 0, 1, 2, 2, 5, 8, 21, 30):
        judged = judge(last, asked(last.size if last else 0, size), LOG.key)
        assert judged == Granted(Checkpoint(ORIGIN, GROWN.head(size)))
        last = judged.checkpoint.head


def test_a_body_is_read_back() -> None:
    parsed = witnessing.parse(asked(6, 11))
    assert (parsed.old, parsed.proof) == (6, GROWN.consistency(6, 11))
    assert bytes(parsed) == asked(6, 11)


def test_an_answer_is_the_lines_that_a_note_takes() -> None:
    said = Checkpoint(ORIGIN, GROWN.head())
    lines = ED25519["north"].cosign(said, TIME), MLDSA44["north"].cosign(said, TIME)
    answer = witnessing.answer(lines)
    assert answer.status == 200
    assert parse_lines(answer.body.decode()) == lines
    assert cosigned(Note(said.text, lines), WITNESSES) == {"north": TIME}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("old 6", "old 06"),
        ("old 6", "old six"),
        ("old 6", "old -6"),
        ("old 6", "6"),
        ("old 6\n", ""),
        ("old 6\n", "old 6\n" + (("A" * 43 + "=\n") * 63)),
        ("old 6\n", "old 6\nAAAA\n"),
        ("old 6\n", "old 6\n" + "A" * 42 + "B=\n"),
        ("\n\nhub", "\nhub"),
        ("\n\nhub", "\n\n\nhub"),
        ("\n11\n", "\n11\nextension\n"),
        ("\n11\n", "\n011\n"),
        ("\n11\n", "\n11\t\n"),
    ],
)
def test_a_malformed_body_is_400(old: str, new: str) -> None:
    body = asked(6, 11).decode()
    assert old in body
    assert status(GROWN.head(6), body.replace(old, new).encode()) == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_400(body: bytes) -> None:
    assert status(None, body) == 400


def test_another_origin_is_404_and_a_missing_or_bad_signature_of_the_log_is_403() -> None:
    head = GROWN.head(3)
    stranger = Signer("other.example/log", bytes([9]) * 32)
    assert status(None, bytes(Asked(0, (), signed(head, stranger)))) == 404
    forged = Signer(ORIGIN, bytes([9]) * 32).sign(Checkpoint(ORIGIN, head).text)
    assert status(None, bytes(Asked(0, (), forged))) == 403
    moved = Note(Checkpoint(ORIGIN, head).text, signed(GROWN.head(4)).lines)
    assert status(None, bytes(Asked(0, (), moved))) == 403
    both = Note(moved.text, (*signed(head).lines, *forged.lines))
    assert status(None, bytes(Asked(0, (), both))) == 200


def test_an_old_size_above_the_checkpoints_is_400_and_another_than_ours_is_409_with_ours() -> None:
    body = bytes(Asked(12, (), signed(GROWN.head(11))))
    assert status(GROWN.head(12), body) == 400
    assert status(GROWN.head(6), body) == 400
    for last, old in ((GROWN.head(6), 0), (GROWN.head(6), 5), (None, 5), (GROWN.head(12), 11)):
        judged = judge(last, asked(old, 20), LOG.key)
        assert judged == Answer(409, f"{last.size if last else 0}\n".encode())


def test_a_wrong_proof_and_another_root_of_the_same_size_are_422() -> None:
    note = signed(GROWN.head(11))
    right = GROWN.consistency(6, 11)
    for wrong in ((), right[:-1], (*right, right[0]), right[::-1], GROWN.consistency(6, 12)):
        assert status(GROWN.head(6), bytes(Asked(6, wrong, note))) == 422
    assert status(None, bytes(Asked(0, right, note))) == 422
    assert status(GROWN.head(11), bytes(Asked(11, (), note))) == 200
    assert status(GROWN.head(11), bytes(Asked(11, right, note))) == 422
    assert status(Head(11, bytes(32)), bytes(Asked(11, (), note))) == 422
    assert status(None, bytes(Asked(0, (), signed(Head(0, bytes(32)))))) == 422
    assert status(EMPTY_HEAD, bytes(Asked(0, (), signed(EMPTY_HEAD)))) == 200


def rewritten(entries: list[bytes], draw: random.Random) -> tuple[str, list[bytes]]:
    """Another history of the same log, then new entries."""
    history, at = list(entries), draw.randrange(len(entries))
    acts = ["modify", "delete", "truncate"] + ["swap"] * (len(history) > 1)
    match act := draw.choice(acts):
        case "modify":
            history[at] += b"!"
        case "delete":
            del history[at]
        case "truncate":
            del history[at:]
        case "swap":
            to = draw.choice([other for other in range(len(history)) if other != at])
            history[at], history[to] = history[to], history[at]
    return act, history + numbered(draw.choice((0, 1, 2, draw.randrange(60))), start=10_000)


def test_of_2_000_histories_that_were_rewritten_and_extended_none_is_granted() -> None:
    draw = random.Random(7)
    acts: Counter[str] = Counter()
    answers: Counter[int] = Counter()
    while acts.total() < 2_000:
        honest = Grown(numbered(draw.randint(1, 120)))
        last = honest.head()
        act, history = rewritten(honest.entries, draw)
        other = Grown(history)
        head = other.head()
        if not head.size:
            assert status(last, bytes(Asked(last.size, (), signed(head)))) == 400
        proofs = [(last.size, ()), (head.size, ()), (0, ())]
        if 0 < last.size <= head.size:
            proofs.append((last.size, other.consistency(last.size)))
        honest.append(numbered(max(0, head.size - last.size), start=20_000))
        proofs.append((last.size, honest.consistency(last.size)))
        for old, proof in proofs:
            judged = judge(last, bytes(Asked(old, proof, signed(head))), LOG.key)
            assert isinstance(judged, Answer), act
            answers[judged.status] += 1
        acts[act] += 1
        assert status(last, bytes(Asked(last.size, honest.consistency(last.size), signed(honest.head())))) == 200
    assert set(acts) == {"modify", "delete", "swap", "truncate"}
    assert set(answers) == {400, 409, 422}


def test_asked_from_elsewhere_is_no_body() -> None:
    with pytest.raises(ProtocolViolation):
        witnessing.parse(bytes(signed(GROWN.head())))
