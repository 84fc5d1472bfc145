"""Vectors that travel beside the letters, in chunks: the same answers, whatever is lost, and a chunk a site at a time.

The chunks are made tiny here, so that a few numbers are a large vector.
"""

import random
import zipfile
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.orm import Session

from hansa import evidence_file
from hansa.charter import Rules
from hansa.crypto import prg
from hansa.errors import ProtocolViolation
from hansa.hub import rounds
from hansa.hub.evidence import large
from hansa.hub.models import Participant
from hansa.mail import blobs
from hansa.mail.letters import Round, Wanted
from hansa.messages import HUB, decode, encode
from hansa.protocols.base import Vector
from hansa.protocols.masks import as_bytes
from hansa.protocols.secure_sum import Contribute, Contributed, Waiting
from hansa.protocols.survivors import Receipt
from hansa.replay import Evidence, read, replay
from hansa_site import journal, vectors
from tests.seeds import seeds
from tests.test_replay import evidence_of
from tests.test_world import BAD_DAY, check_right, took_part
from tests.world import Faults, World

PATIENT = Rules(round_seconds=600)


@pytest.fixture(autouse=True)
def every_vector_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (prg, blobs):
        monkeypatch.setattr(module, "CHUNK_BYTES", 256)
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 0)


def test_large_vectors_give_the_same_total(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names
    assert world.counts.chunks > 50
    check_right(world, run)
    sizes = [world.desks[HUB].folder.size(run, digest) for digest in large(evidence_of(world, run))]
    moved = [part.bytes_sent + part.bytes_received for part in world.participants(run).values()]
    assert min(moved) > sum(sizes) / len(world.names)


@pytest.mark.parametrize("seed", seeds(2))
def test_chunks_may_be_lost_and_are_wanted_again(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, faults=BAD_DAY, rules=PATIENT)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names
    check_right(world, run)


@pytest.mark.parametrize("seed", seeds(2))
def test_parties_that_stop_in_mid_transfer_go_on_where_they_were(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, faults=Faults(drop=0.05), rules=PATIENT)
    run = world.propose()
    world.run_until(lambda: world.counts.chunks >= 5 + 7 * seed)
    for name in (HUB, *world.names):
        world.restart(name)
    assert world.finish(run).status == "done", world.job(run).reason
    check_right(world, run)


def test_a_site_that_never_sends_its_chunks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, sites=4)
    monkeypatch.setattr(world.sites["s2"]._vectors, "receive", lambda *_any: None)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == ["s0", "s1", "s3"]
    check_right(world, run)


def test_a_site_erases_its_chunks_when_the_job_ends_and_the_hub_keeps_them_as_evidence(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    world.finish(run)
    world.drain()
    world.run_until(lambda: not any(world.desks[name].folder.runs() for name in world.names), 200)
    assert world.desks[HUB].folder.runs() == [run]


def finished(folder: Path) -> tuple[World, str, Evidence]:
    world = World(folder, sites=3)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    return world, run, evidence_of(world, run)


def test_large_totals_are_recomputed_from_evidence_with_its_chunks_beside_it(tmp_path: Path) -> None:
    world, run, evidence = finished(tmp_path)
    folder = world.desks[HUB].folder
    steps = replay(evidence, world.charter, partial(folder.get, run)).steps
    assert all(step.recomputed == step.chunks for step in steps) and max(step.chunks for step in steps) > 3
    with pytest.raises(ProtocolViolation, match="a chunk of the evidence is missing"):
        replay(evidence, world.charter)


def test_a_sampled_replay_reads_only_the_masked_chunks_it_picks(tmp_path: Path) -> None:
    world, run, evidence = finished(tmp_path)
    folder, read = world.desks[HUB].folder, []

    def reading(digest: bytes) -> bytes:
        read.append(digest)
        return folder.get(run, digest)

    steps = replay(evidence, world.charter, reading, lambda chunks: [chunks - 1]).steps
    assert [step.recomputed for step in steps] == [1] * len(steps)
    for step in evidence.sums:
        for chunks in step.contributions.chunks:
            assert not set(chunks[:-1]) & set(read) and chunks[-1] in read


def test_any_single_changed_coordinate_of_any_chunk_is_found(tmp_path: Path) -> None:
    world, run, evidence = finished(tmp_path)
    true = {digest: world.desks[HUB].folder.get(run, digest) for digest in large(evidence)}
    chance = random.Random(3)
    for digest, content in chance.sample(sorted(true.items()), 25):
        place = chance.randrange(len(content))
        false = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(ProtocolViolation, match="not the one that was signed"):
            replay(evidence, world.charter, {**true, digest: false}.__getitem__)


def test_the_evidence_of_large_vectors_is_one_file_of_which_any_chunk_can_be_read(tmp_path: Path) -> None:
    world, run, evidence = finished(tmp_path)
    path = tmp_path / "job.evidence"
    evidence_file.write(path, encode(evidence), large(evidence), partial(world.desks[HUB].folder.get, run))
    opened = evidence_file.EvidenceFile(path)
    assert replay(read(opened.evidence()), world.charter, opened.chunk).exact
    with pytest.raises(LookupError):
        opened.chunk(bytes(32))


@pytest.mark.parametrize("how", ["compressed", "large", "cut", "empty", "none"])
def test_a_file_that_is_no_evidence_is_refused(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "job.evidence"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED) as archive:
        archive.writestr("nothing" if how == "none" else "evidence", bytes(1000))
    if how == "large":
        monkeypatch.setattr(evidence_file, "EVIDENCE_BYTES", 999)
    if how in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[:500] if how == "cut" else b"")
    with pytest.raises(ProtocolViolation):
        evidence_file.EvidenceFile(path).evidence()


def test_the_mailbox_holds_no_chunk_in_clear(tmp_path: Path) -> None:
    world, run, evidence = finished(tmp_path)
    boxes = [box for shelf in world._shelves.values() for box in shelf.values()]
    chunks = [world.desks[HUB].folder.get(run, digest) for digest in large(evidence)]
    assert len(boxes) > 10
    assert not any(chunk in box or chunk[:16] in box for chunk in chunks if any(chunk) for box in boxes)


def test_one_site_may_send_a_vector_as_chunks_that_the_others_send_in_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prg, "CHUNK_BYTES", 2**22)
    monkeypatch.setattr(blobs, "CHUNK_BYTES", 2**22)
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 2**18)
    world = World(tmp_path)
    odd = world.sites["s2"]._vectors

    def keep(run: str, reply: Contributed, vector: Vector) -> None:
        odd._desk.folder.put_all(run, as_bytes(vector), reply.chunks)

    monkeypatch.setattr(odd, "keep", keep)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names
    check_right(world, run)
    assert replay(evidence_of(world, run), world.charter, partial(world.desks[HUB].folder.get, run)).exact


def test_a_contribution_that_the_hubs_disk_lost_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    run = world.propose()

    def gone(*_any: object) -> bytes:
        raise LookupError

    monkeypatch.setattr(world.desks[HUB].folder, "get", gone)
    job = world.finish(run)
    assert (job.status, job.reason) == ("failed", "the hub lost a part of a contribution; its log says more")


def test_a_site_fetches_nothing_for_a_request_that_it_would_refuse(tmp_path: Path) -> None:
    """A hub that names more chunks than the total has would fill the site's disk."""
    world = World(tmp_path)
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    state, party = world.state("s1", run), world.sites["s1"]
    assert isinstance(state, Waiting) and state.before is not None
    receipt = decode(world.job(run).receipt or b"", Receipt)
    more = replace(receipt, chunks=(*receipt.chunks, *(bytes([n]) * 32 for n in range(9))))
    public = world.job(run).step_bytes or b""
    request = Contribute(1, 0, public, tuple(world.names), more)
    with Session(world.engines["s1"]) as db:
        row = db.get_one(journal.Run, run)
        db.expunge(row)
    with pytest.raises(ProtocolViolation, match="not of the sum"):
        party._answering._round(row, Round(10**6, encode(request)))


@pytest.mark.parametrize("asked", [True, False])
def test_a_site_that_is_out_of_the_job_is_shown_no_more_totals(tmp_path: Path, asked: bool) -> None:
    world = World(tmp_path)
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    chunks = decode(world.job(run).receipt or b"", Receipt).chunks
    with Session(world.engines[HUB]) as db, db.begin():
        db.get_one(Participant, (run, "s2")).asked = asked
    before = world.counts.chunks
    world.doors["s2"].vectors.receive(run, Wanted(chunks[:1]), world.now)
    assert world.counts.chunks - before == asked
