"""What left a site is told to the byte, by job and sort, and each sort of letter has its meaning in words."""

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.crypto import prg
from hansa.hub import models, rounds
from hansa.mail import blobs
from hansa.mail.boxes import Outbox
from hansa.mail.database import migrate, open_engine, revision
from hansa.mail.letters import TO_HUB
from hansa.messages import HUB
from hansa.plan import Question
from hansa.protocols import key_setup, release, secure_sum
from hansa_dashboard.at_site import letters
from hansa_site import leaving, showing, vectors
from hansa_site.answering import STATES
from hansa_site.journal import Sent, Spoken
from hansa_site.policy import Budget
from hansa_site.showing import OpenedSite
from tests.consoles import Console, quick_keys
from tests.world import EVERYTHING, OPEN, Faults, World


@pytest.fixture(autouse=True)
def cheaper_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_keys(monkeypatch)


def ask(world: World, bins: int = 2) -> str:
    parameters = {"column": "x", "low": 0.0, "high": 9.0, "bins": bins}
    return world.ask(Question("histogram", "numbers", parameters, disclosure=EVERYTHING))


def every_letter_has_its_row(world: World, name: str) -> None:
    with Session(world.engines[name]) as db:
        written = [(row.run, row.kind, len(row.data), sha256(row.data).digest()) for row in db.scalars(select(Outbox))]
        told = select(Sent).where(Sent.kind != leaving.CHUNK)
        rows = [(row.run, row.kind, row.size, row.digest) for row in db.scalars(told)]
        receivers = set(db.scalars(select(Sent.receiver)))
        sorts = {(row.kind, row.holds) for row in db.scalars(told)}
    assert Counter(rows) == Counter(written) and receivers == {HUB} and len(sorts) > 8
    assert all(letters.meaning(*sort) is not letters._UNKNOWN for sort in sorts), sorts


@pytest.mark.parametrize("faults", [Faults(), Faults(drop=0.1, repeat=0.1, delay=2.0)], ids=["well", "badly"])
def test_every_letter_that_left_has_one_row_of_its_very_bytes_however_often_it_is_sent(
    tmp_path: Path, faults: Faults
) -> None:
    policy = replace(OPEN, budget={"numbers": Budget("1", "1e-6")})
    world = World(tmp_path, sites=3, faults=faults, policy=policy)
    assert world.finish(ask(world)).status == models.DONE
    world.restart("s1")
    world.drain()
    for name in world.names:
        every_letter_has_its_row(world, name)


def test_chunks_that_left_stand_there_once_each_by_the_digest_that_a_signed_letter_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (prg, blobs):
        monkeypatch.setattr(module, "CHUNK_BYTES", 256)
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 0)
    world = World(tmp_path, sites=3, faults=Faults(drop=0.05), policy=OPEN)
    kept: dict[bytes, int] = {}
    lay = world.desks["s1"].folder.put_all

    def put_all(run: str, buffer: memoryview, digests: object = None) -> tuple[bytes, ...]:
        made = lay(run, buffer, digests)  # type: ignore[arg-type]
        kept.update({digest: world.desks["s1"].folder.size(run, digest) for digest in made})
        return made

    monkeypatch.setattr(world.desks["s1"].folder, "put_all", put_all)
    run = ask(world, bins=100)
    assert world.finish(run).status == models.DONE, world.job(run).reason
    with Session(world.engines["s1"]) as db:
        rows = db.scalars(select(Sent).where(Sent.kind == leaving.CHUNK)).all()
    assert {row.digest: row.size for row in rows} == {digest: size + 16 for digest, size in kept.items()}
    assert len(rows) == len(kept) > 3 and {row.run for row in rows} == {run}


def test_letters_that_nobody_keeps_are_counted_with_their_bytes(tmp_path: Path) -> None:
    world, flown = World(tmp_path, sites=3, policy=OPEN), Counter[str]()
    launch = world.launch

    def watched(sender: str, receiver: str, data: bytes) -> None:
        if sender == "s1":
            header, _ = world.desks[HUB].read(data, TO_HUB)
            flown[header.kind] += len(data)
        launch(sender, receiver, data)

    with Session(world.engines["s1"]) as db, db.begin():
        for row in db.scalars(select(Spoken)):
            db.delete(row)
    assert world.desks["s1"].counted is not None
    world.desks["s1"].counted.take()
    world.launch = watched  # type: ignore[method-assign]
    assert world.finish(ask(world)).status == models.DONE
    world.drain()
    end = world.now + 30
    world.run_until(lambda: world.now > end)
    with Session(world.engines["s1"]) as db:
        told = {row.kind: row.size for row in db.scalars(select(Spoken))}
    assert set(told) == {"acks", "cosigned"}
    assert told["acks"] == flown["acks"]
    assert told["cosigned"] >= flown["cosigned"] > 0
    assert world.desks[HUB].counted is None, "nobody takes what the hub would count"


def test_the_console_adds_up_what_left_by_job_and_sort(tmp_path: Path) -> None:
    console = Console(tmp_path, OPEN)
    run = console.ask()
    console.world.finish(run)
    console.world.drain()
    site = OpenedSite(console.home)
    with Session(console.engine) as db:
        sizes = {row.run: 0 for row in db.scalars(select(Sent))}
        for row in db.scalars(select(Sent)):
            sizes[row.run] += row.size
    assert {job.run: job.size for job in showing.by_job(site)} == sizes
    found = showing.letters(site, run)
    assert sum(leaf.size for leaf in found) == sizes[run] == sum(sort.size for sort in showing.left(site, run))
    assert showing.overview(site).left == sum(sort.size for sort in showing.left(site)) >= sum(sizes.values())
    [contribution] = [sort for sort in showing.left(site, run) if sort.holds == "contributed"]
    assert contribution.size > 1000 and showing.uncounted(site, run) == 0
    detail = showing.job(site, run)
    assert detail is not None and detail.view.left == sizes[run] and detail.view.totals == contribution.count
    with Session(console.engine) as db, db.begin():  # as of a job from before rows were kept
        for row in db.scalars(select(Sent).where(Sent.run == run)):
            db.delete(row)
    assert showing.uncounted(site, run) > 1000


# ---- in words ----


def replies() -> set[str]:
    """The tag of each message that a site's protocols answer with."""
    found = {release.Agreed.__struct_config__.tag}
    for state in get_args(STATES):
        request = state.accepts.__struct_config__.tag
        found |= ANSWERS[request]
    return {str(tag) for tag in found}


ANSWERS = {
    key_setup.Manifest.__struct_config__.tag: {key_setup.Offer.__struct_config__.tag},
    key_setup.Offers.__struct_config__.tag: {key_setup.Reveal.__struct_config__.tag},
    key_setup.Reveals.__struct_config__.tag: {key_setup.Encapsulated.__struct_config__.tag},
    key_setup.Delivered.__struct_config__.tag: {key_setup.Ready.__struct_config__.tag},
    secure_sum.Contribute.__struct_config__.tag: {secure_sum.Contributed.__struct_config__.tag},
    secure_sum.Lock.__struct_config__.tag: {secure_sum.Locked.__struct_config__.tag},
    secure_sum.Unmask.__struct_config__.tag: {secure_sum.Shares.__struct_config__.tag},
}


def test_every_letter_that_a_site_may_send_has_a_meaning_in_words() -> None:
    kinds = {(kind, "") for kind in TO_HUB - {"reply"}} | {("reply", tag) for tag in replies()} | {(leaving.CHUNK, "")}
    assert len(kinds) == 21
    for kind, holds in kinds:
        found = letters.meaning(kind, holds)
        assert found is not letters._UNKNOWN, (kind, holds)
        assert found.says.endswith(".") and len(found.says) > 15
    assert letters.meaning("later", "") is letters._UNKNOWN and letters.title("later", "") == "later"


def test_a_database_of_before_is_brought_up_to_date_and_back(tmp_path: Path) -> None:
    from alembic import command

    from hansa.mail import database

    engine = open_engine(f"sqlite:///{tmp_path}/site.sqlite")
    migrate(engine, "site")
    assert revision(engine, "site").now == revision(engine, "site").newest
    config = database._migrations("site")
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
    migrate(engine, "site")
    assert revision(engine, "site").now == revision(engine, "site").newest
    engine.dispose()
