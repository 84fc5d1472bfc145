"""Letters that lie or come at the wrong time: what whole parties, with their databases, make of them.

The attacks on the protocol's states are in `test_lying_hub.py`, `test_lying_members.py` and `test_refusals.py`.
"""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.crypto import merkle
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.mail.letters import End, Open, Payload, Refusal, Reply, Round
from hansa.messages import HUB, SUITE, Header, decode, encode, read_envelope, seal_letter
from hansa.protocols.secure_sum import Contribute
from hansa_site.journal import Run, Said
from tests.world import World

VICTIM = "s1"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def until_round(world: World, run: str, number: int) -> None:
    world.run_until(lambda: world.job(run).round >= number or world.job(run).ended_at is not None)
    assert world.job(run).ended_at is None


def sent_to(world: World, site: str, run: str) -> list[Payload]:
    """What the hub has written to `site` in this run, opened with the site's own key."""
    with Session(world.engines[HUB]) as db:
        rows = db.scalars(select(Outbox).where(Outbox.receiver == site, Outbox.run == run).order_by(Outbox.sequence))
        letters = [read_envelope(row.data) for row in rows]
    return [world.desks[site].open(*letter) for letter in letters]


def replies_of(world: World, site: str, run: str) -> list[Payload]:
    with Session(world.engines[site]) as db:
        rows = db.scalars(select(Outbox).where(Outbox.receiver == HUB, Outbox.run == run).order_by(Outbox.sequence))
        letters = [read_envelope(row.data) for row in rows]
    return [world.desks[HUB].open(*letter) for letter in letters]


def settle(world: World, site: str) -> None:
    """The site has every letter that the hub wrote to it, and has worked them off."""
    with Session(world.engines[HUB]) as db:
        rows = db.scalars(select(Outbox).where(Outbox.receiver == site, Outbox.acked_at.is_(None)).order_by(Outbox.id))
        letters = [row.data for row in rows]
    for data in letters:
        world.sites[site].receive(data, world.now)
    while world.sites[site].work(world.now):
        pass


def force(world: World, site: str, run: str, kind: str, payload: Payload) -> None:
    """A hub that lies: one more signed letter, worked off by the site. Call `settle` before."""
    with Session(world.engines[HUB]) as db, db.begin():
        world.desks[HUB].write(db, site, run, kind, payload, world.now)
    settle(world, site)


def state_of(world: World, site: str, run: str) -> bytes | None:
    with Session(world.engines[site]) as db:
        return db.get_one(Run, run).state


def set_aside(world: World, site: str) -> list[str]:
    with Session(world.engines[site]) as db:
        return list(db.scalars(select(SetAside.reason)))


def test_another_request_under_a_round_that_was_answered_changes_nothing(world: World) -> None:
    run = world.propose()
    until_round(world, run, 5)
    asked = [payload for payload in sent_to(world, VICTIM, run) if isinstance(payload, Round)]
    settle(world, VICTIM)
    before, said = state_of(world, VICTIM, run), len(replies_of(world, VICTIM, run))
    force(world, VICTIM, run, "round", Round(asked[-2].number, asked[-1].message + b"\0"))
    assert "asked again with another request" in " ".join(set_aside(world, VICTIM))
    assert state_of(world, VICTIM, run) == before
    told = replies_of(world, VICTIM, run)[said:]
    assert not any(isinstance(reply, Reply) for reply in told)


def contribution_asked(world: World, run: str) -> Round:
    """The last request for numbers that the hub wrote to the victim."""
    for payload in reversed(sent_to(world, VICTIM, run)):
        if isinstance(payload, Round) and b"contribute" in payload.message[:32]:
            return payload
    raise AssertionError("no contribution was asked")


@pytest.mark.parametrize(
    "lie", ["another step's state", "a smaller cohort", "a total that is not the receipt's", "a false total"]
)
def test_a_step_that_does_not_follow_gets_no_numbers(world: World, lie: str) -> None:
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1 or world.job(run).ended_at is not None)
    world.kill(VICTIM)  # its letters are delivered by hand below, with a lie among them
    asked = contribution_asked(world, run)
    request = decode(asked.message, Contribute)
    assert request.receipt is not None
    assert request.receipt.total(asked.beside, len(asked.beside) // 8, 64).size
    first = next(
        decode(payload.message, Contribute)
        for payload in sent_to(world, VICTIM, run)
        if isinstance(payload, Round) and b"contribute" in payload.message[:32]
    )
    false = bytes(8) + asked.beside[8:]
    forged, beside = {
        "another step's state": (replace(request, public=first.public), asked.beside),
        "a smaller cohort": (replace(request, cohort=request.cohort[:2]), asked.beside),
        "a total that is not the receipt's": (request, false),
        "a false total": (replace(request, receipt=replace(request.receipt, chunks=(merkle.leaf(false),))), false),
    }[lie]
    number = contribution_asked(world, run).number
    with Session(world.engines[HUB]) as db, db.begin():  # the lie goes instead of the honest request
        rows = db.scalars(select(Outbox).where(Outbox.receiver == VICTIM, Outbox.run == run).order_by(Outbox.sequence))
        letters = [(row.sequence, row.data) for row in rows]
    with Session(world.engines[VICTIM]) as db:
        known = set(db.scalars(select(Inbox.sequence).where(Inbox.run == run)))
        said = set(db.scalars(select(Said.number).where(Said.run == run)))
    if number in said:
        pytest.fail("the honest request came first; the schedule has changed")
    for sequence, data in letters:
        payload = world.desks[VICTIM].open(*read_envelope(data))
        if sequence not in known and not (isinstance(payload, Round) and payload.number == number):
            world.sites[VICTIM].receive(data, world.now)
    while world.sites[VICTIM].work(world.now):
        pass
    lying = world.desks[HUB]._seal(VICTIM, run, letters[-1][0], "round", Round(number, encode(forged), beside))
    world.sites[VICTIM].receive(lying, world.now)
    while world.sites[VICTIM].work(world.now):
        pass
    with Session(world.engines[VICTIM]) as db:
        assert db.get(Said, (run, number)) is None
        refused = db.get_one(Run, run).status.startswith("refused")
    assert refused or set_aside(world, VICTIM)


def test_setup_is_not_opened_again_after_a_contribution(world: World) -> None:
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    opened = next(payload for payload in sent_to(world, VICTIM, run) if isinstance(payload, Open))
    settle(world, VICTIM)
    before = state_of(world, VICTIM, run)
    force(world, VICTIM, run, "open", Open(opened.number + 1000, opened.message))
    assert "setup is asked for again" in " ".join(set_aside(world, VICTIM))
    assert state_of(world, VICTIM, run) == before


def test_after_the_end_a_site_answers_nothing_more_of_that_job(world: World) -> None:
    run = world.propose()
    until_round(world, run, 5)
    request = next(payload for payload in reversed(sent_to(world, VICTIM, run)) if isinstance(payload, Round))
    settle(world, VICTIM)
    force(world, VICTIM, run, "end", End("done"))
    said = len(replies_of(world, VICTIM, run))
    force(world, VICTIM, run, "round", Round(request.number + 1, request.message))
    assert state_of(world, VICTIM, run) is None
    assert len(replies_of(world, VICTIM, run)) == said


def test_a_letter_of_another_member_in_a_mailbox_is_set_aside(world: World) -> None:
    run = world.propose()
    until_round(world, run, 2)
    with Session(world.engines["s2"]) as db:
        row = db.scalars(select(Outbox).where(Outbox.run == run)).first()
        assert row is not None
    assert world.doors[VICTIM].receive([row.data], world.now) == set()
    with Session(world.engines[HUB]) as db:
        assert "lay in the mailbox" in " ".join(db.scalars(select(SetAside.reason)))
    assert world.finish(run).status == "done"


def twice(world: World, member: str, run: str) -> list[bytes]:
    """Two letters of `member` under one number."""
    header = Header(1, SUITE, member, HUB, world.charter.version, run, 77, "refusal")
    signing, sealing = world.desks[member].signing, world.charter.hub.sealing
    return [seal_letter(header, encode(Refusal(reason)), signing, sealing) for reason in ("yes", "no")]


def test_two_letters_of_a_participant_under_one_number_end_the_job_and_both_are_kept(world: World) -> None:
    run = world.propose()
    until_round(world, run, 2)
    first, second = twice(world, VICTIM, run)
    world.doors[VICTIM].receive([first], world.now)
    world.doors[VICTIM].receive([second], world.now)
    assert world.job(run).status == "failed"
    assert "equivocation" in world.job(run).reason
    with Session(world.engines[HUB]) as db:
        assert second in db.scalars(select(SetAside.data)).all()
        assert first in db.scalars(select(Inbox.data)).all()


def test_two_letters_of_a_member_that_takes_no_part_end_no_job_of_others(world: World) -> None:
    run = world.propose(sites=("s0", "s2", "s3"))
    until_round(world, run, 2)
    for letter in twice(world, VICTIM, run):
        world.doors[VICTIM].receive([letter], world.now)
    assert world.finish(run).status == "done"


def test_a_site_that_was_left_out_and_refuses_late_does_not_end_the_job_of_the_others(world: World) -> None:
    world.kill("s3")
    run = world.propose()
    world.run_until(lambda: world.job(run).status == "setup")
    with Session(world.engines["s3"]) as db, db.begin():
        world.desks["s3"].write(db, HUB, run, "refusal", Refusal("not today"), world.now)
        letter = db.scalars(select(Outbox.data).where(Outbox.run == run)).one()
    assert world.doors["s3"].receive([letter], world.now) == {run}
    world.coordinator.turn(run, world.now)
    assert world.finish(run).status == "done"


@pytest.mark.parametrize("asleep", ["the hub's clock", "a site's clock"])
def test_a_clock_that_is_set_back_a_day_holds_nothing_up_for_a_day(world: World, asleep: str) -> None:
    run = world.propose()
    until_round(world, run, 4)
    if asleep == "the hub's clock":
        world.kill(VICTIM)  # the round can only end by its deadline
    world.now -= 86_400.0
    world.flying(-86_400.0)
    start = world.now
    assert world.finish(run).status == "done"
    assert world.now - start < 3600


def test_a_member_that_sends_another_s_contribution_is_left_out_and_the_others_go_on(world: World) -> None:
    run = world.propose()
    until_round(world, run, 5)  # after four rounds of setup: the first contributions
    world.kill("s3")
    world.run_until(lambda: world.participants(run)["s2"].reply is not None)
    stolen = next(reply for reply in reversed(replies_of(world, "s2", run)) if isinstance(reply, Reply))
    with Session(world.engines["s3"]) as db, db.begin():
        world.desks["s3"].write(db, HUB, run, "reply", stolen, world.now)
        letters = list(db.scalars(select(Outbox.data).where(Outbox.run == run).order_by(Outbox.sequence)))
    for letter in letters:
        world.doors["s3"].receive([letter], world.now)
    world.coordinator.turn(run, world.now)
    assert world.finish(run).status == "done"
    assert world.participants(run)["s3"].stage == "sent something malformed"
    assert world.participants(run)["s3"].steps == 0
