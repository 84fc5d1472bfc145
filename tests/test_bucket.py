"""Chunks in an S3 store: the hub's settings, a store that is away, and a job through it. The rest is in test_blobs."""

import logging
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.crypto import prg
from hansa.crypto.merkle import leaf
from hansa.errors import Refused
from hansa.hub import rounds
from hansa.hub.settings import open_chunks, read_settings
from hansa.mail import blobs
from hansa.mail.blobs import Folder
from hansa.mail.boxes import SetAside
from hansa.mail.bucket import Access, Bucket
from hansa.messages import HUB
from hansa.replay import replay
from hansa_site import vectors
from tests.s3_server import S3Server
from tests.test_replay import evidence_of
from tests.test_world import check_right, took_part
from tests.world import World

pytestmark = pytest.mark.processes

RUN = "0" * 31 + "a"
SECRET = "correct horse"


def home_with(folder: Path, *lines: str) -> Path:
    settings = ['database = "sqlite://"', 'private = "unix:///nowhere"', *lines, "[mailboxes]"]
    (folder / "hub.toml").write_text("\n".join(settings), encoding="utf-8")
    return folder


def store_of(access: Access) -> str:
    fields = ", ".join(f'{name} = "{getattr(access, name)}"' for name in Access.__struct_fields__)
    return f"store = {{{fields}}}"


def test_a_hub_keeps_chunks_in_its_home_unless_its_settings_name_a_store(tmp_path: Path, s3: S3Server) -> None:
    assert isinstance(open_chunks(home_with(tmp_path)), Folder)
    home = home_with(tmp_path, f'chunks = "{s3.make()}"', store_of(s3.access))
    digest = open_chunks(home).put(RUN, b"chunk")
    other = open_chunks(home)  # as a worker, the page or a download opens it
    assert isinstance(other, Bucket) and other.get(RUN, digest) == b"chunk"


def test_credentials_may_come_from_the_environment(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    home = home_with(tmp_path, f'chunks = "{s3.make()}"', store_of(Access(s3.endpoint)))
    place = open_chunks(home)
    assert place.get(RUN, place.put(RUN, b"chunk")) == b"chunk"


@pytest.mark.parametrize(
    ("url", "access", "sentence"),
    [
        ("https://bucket/prefix", Access(), "s3://bucket/prefix"),
        ("s3://user:word@bucket/prefix", Access(), "s3://bucket/prefix"),
        ("s3://", Access(), "s3://bucket/prefix"),
        ("s3://bucket/x?y", Access(), "s3://bucket/prefix"),
        ("s3://[", Access(), "malformed"),
        ("s3://bucket", Access("http://store.example.org"), "https"),
        ("s3://bucket", Access("store.example.org"), "https"),
        ("s3://bucket", Access("https://x", "", "key"), "or neither"),
    ],
)
def test_a_store_that_can_not_be_is_refused_in_a_sentence(url: str, access: Access, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        Bucket(url, access)
    assert "word" not in str(refused.value)


def test_a_store_that_does_not_answer_is_refused_at_the_start_and_no_secret_is_shown(
    tmp_path: Path, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(s3.endpoint, "us-east-1", "key", SECRET)
    nowhere = home_with(tmp_path, 'chunks = "s3://no-such-bucket"', store_of(access))
    with pytest.raises(Refused, match="does not answer") as refused:
        open_chunks(nowhere)
    shown = f"{refused.value!r} {read_settings(nowhere)!r} {access!r} {Bucket('s3://no-such-bucket', access)!r}"
    assert SECRET not in shown + caplog.text and refused.value.__suppress_context__


def test_a_store_that_is_away_is_an_oserror_and_is_found_again(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        place = server.bucket()
        digest = place.put(RUN, b"chunk")
        server.stop()
        for act in (
            partial(place.put, RUN, b"another"),
            partial(place.get, RUN, digest),
            partial(place.missing, RUN, [digest]),
            partial(place.erase, RUN),
            place.runs,
        ):
            with pytest.raises(OSError, match="the store says"):
                act()
        server.start()  # with empty memory: what was there is missing, and can be fetched again
        server.make("hansa-0")
        assert place.missing(RUN, [leaf(b"chunk")]) == [digest]


@pytest.fixture
def every_vector_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (prg, blobs):
        monkeypatch.setattr(module, "CHUNK_BYTES", 256)
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 0)


@pytest.mark.usefixtures("every_vector_is_large")
def test_a_job_with_large_vectors_runs_through_a_store_and_replays_from_it(tmp_path: Path, s3: S3Server) -> None:
    place = s3.bucket()
    world = World(tmp_path, sites=3, hub_chunks=place)
    run = world.propose()
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names and place.runs() == [run]
    check_right(world, run)
    assert replay(evidence_of(world, run), world.charter, partial(place.get, run)).exact


@pytest.mark.usefixtures("every_vector_is_large")
def test_a_store_that_is_away_for_a_while_sets_no_letter_aside_and_ends_no_job(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    place = s3.bucket()
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=600), hub_chunks=place)
    run = world.propose()
    world.run_until(lambda: world.job(run).status == "running")
    tried = [0]

    def away(*_any: object) -> None:
        tried[0] += 1
        raise OSError("the store says GenericError")

    with monkeypatch.context() as patch:
        for name in ("put_each", "get", "missing", "size"):
            patch.setattr(place, name, away)
        world.run_until(lambda: tried[0] > 20)
        assert world.job(run).status == "running", world.job(run).reason
    assert world.finish(run).status == "done", world.job(run).reason
    with Session(world.engines[HUB]) as db:
        assert db.scalars(select(SetAside)).all() == []
    assert took_part(world, run) == world.names
    check_right(world, run)
