"""From one charter to the next in a running world: nothing acknowledged is lost, and who has left is not heard."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa.charter import Charter, Rules
from hansa.crypto.bundles import HUB_BYTES, MEMBER_BYTES, HubKeys, MemberKeys
from hansa.errors import ProtocolViolation
from hansa.hub.models import Member
from hansa.mail.blobs import Folder
from hansa.mail.boxes import AHEAD, Desk, Inbox, Outbox, SetAside
from hansa.mail.letters import STANDING, TO_HUB, End, Hello
from hansa.messages import HUB
from hansa.plan import Plan
from hansa_site.journal import Run
from tests import cards
from tests.test_world import BAD_DAY, check_right, took_part
from tests.world import Faults, World

LEFT, RENEWED = "s3", "s1"


class Changing(World):
    """Four sites; in version 2 s3 has left, and s1 and the hub have new keys."""

    def next_charter(self) -> Charter:
        hub, member = HubKeys(cards.seeds(200, HUB_BYTES)), MemberKeys(cards.seeds(201, MEMBER_BYTES))
        self.new: Mapping[str, HubKeys | MemberKeys] = {HUB: hub, RENEWED: member}
        members = [one for one in self.charter.members if one.id not in (LEFT, RENEWED)]
        members.append(charters.member_of(RENEWED, RENEWED, member))
        before = self.charter
        self.charter = charters.draft("world", charters.hub_of(hub), members, before.rules, before.origin, before)
        return self.charter

    def accept(self, name: str) -> None:
        """As `hansa charter accept`, and a start of the party's processes."""
        old = self.desks[name]
        keys = [self.new[name], old.keys] if name in self.new else old.keys
        self.desks[name] = Desk(name, self.charter, keys, old.folder, (*old.former, old.charter))  # type: ignore[arg-type]
        self.restart(name)
        if name == HUB:
            self.coordinator.adopt(self.now)

    def let_pass(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def set_aside(self, name: str) -> list[str]:
        with Session(self.engines[name]) as db:
            return list(db.scalars(select(SetAside.reason)))

    def unacked_to(self, receiver: str) -> bool:
        with Session(self.engines[HUB]) as db:
            waiting = select(Outbox.id).where(Outbox.receiver == receiver, Outbox.acked_at.is_(None))
            return db.scalar(waiting.limit(1)) is not None

    def check_nothing_lost(self) -> None:
        """What a party holds as acknowledged is in the other's inbox, and was worked off there."""
        staying = [name for name in self.names if name != LEFT]
        for sender in (HUB, *staying):
            with Session(self.engines[sender]) as db:
                rows = db.scalars(select(Outbox).where(Outbox.acked_at.is_not(None))).all()
            for row in rows:
                if row.receiver in (HUB, *staying):
                    with Session(self.engines[row.receiver]) as db:
                        found = select(Inbox.data).where(
                            Inbox.sender == sender, Inbox.run == row.run, Inbox.sequence == row.sequence,
                            Inbox.done_at.is_not(None),
                        )  # fmt: skip
                        assert db.scalar(found) == row.data, (sender, row.receiver, row.kind)


@pytest.fixture
def world(tmp_path: Path) -> Changing:
    return Changing(tmp_path, sites=4, rules=Rules(round_seconds=600))


@pytest.mark.parametrize(
    ("faults", "order"),
    [
        pytest.param(Faults(), [HUB, "s0", "s1", "s2"], id="the hub first"),
        pytest.param(Faults(), ["s1", HUB, "s0", "s2"], id="a site first"),
        pytest.param(BAD_DAY, ["s1", HUB, "s0", "s2"], id="on a bad day"),
    ],
)
def test_keys_change_and_a_member_leaves_between_jobs_and_nothing_is_lost(
    tmp_path: Path, faults: Faults, order: list[str]
) -> None:
    world = Changing(tmp_path, sites=4, faults=faults, rules=Rules(round_seconds=600))
    first = world.propose()
    assert world.finish(first).status == "done"
    world.next_charter()
    for place, name in enumerate(order):
        world.accept(name)
        if name != HUB:
            world.sites[name].hello(world.now)
        world.let_pass(6 * place)
    world.kill(LEFT)
    second = world.propose(sites=("s0", "s1", "s2"))
    assert world.finish(second).status == "done"
    assert took_part(world, second) == ["s0", "s1", "s2"]
    check_right(world, second)
    world.faults = Faults()
    world.drain()
    world.check_nothing_lost()


def test_who_was_removed_is_refused_at_once_whatever_version_it_speaks(world: Changing) -> None:
    world.next_charter()
    world.accept(HUB)
    with Session(world.engines[HUB]) as db:
        seen = db.get_one(Member, LEFT).seen_at
    world.sites[LEFT].hello(world.now + 5)
    world.let_pass(60)
    assert f"'{LEFT}' is not a member of the consortium 'world'" in world.set_aside(HUB)
    with Session(world.engines[HUB]) as db:
        assert db.get_one(Member, LEFT).seen_at == seen
        assert not db.scalars(select(Outbox).where(Outbox.receiver == LEFT, Outbox.acked_at.is_(None))).all()


def test_a_job_that_is_open_ends_with_a_reason_and_its_sites_erase_what_they_keep(world: Changing) -> None:
    run = world.propose()
    world.run_until(lambda: world.job(run).status not in ("proposed", "waiting", "consenting"))
    world.next_charter()
    for name in (HUB, "s0", "s1", "s2"):
        world.accept(name)
    job = world.job(run)
    assert (job.status, job.reason) == (
        "failed", "version 2 of the charter was accepted while the job was open: ask again"
    )  # fmt: skip
    world.kill(LEFT)
    world.drain()
    for name in ("s0", "s1", "s2"):
        with Session(world.engines[name]) as db:
            assert db.get_one(Run, run).state is None
    assert world.finish(world.propose(sites=("s0", "s1", "s2"))).status == "done"


def test_letters_of_a_version_to_be_accepted_wait_are_told_of_once_and_come_again(world: Changing) -> None:
    world.next_charter()
    world.accept(HUB)  # it says so to every site
    world.let_pass(60)
    ahead = [reason for reason in world.set_aside("s2") if reason.startswith(AHEAD)]
    assert ahead == [f"{AHEAD}2: `hansa charter accept` takes it, and they come again"]
    with Session(world.engines[HUB]) as db:
        waiting = db.scalars(select(Outbox.attempts).where(Outbox.receiver == "s2", Outbox.acked_at.is_(None))).all()
    assert waiting and min(waiting) > 1
    world.accept("s2")
    world.run_until(lambda: not world.unacked_to("s2"))
    assert [reason for reason in world.set_aside("s2") if reason.startswith(AHEAD)] == ahead


# The desk alone


def desks() -> tuple[list[Charter], dict[str, Desk]]:
    """Three versions; in each, a has other keys. `a` holds those of the last two."""
    keys = [cards.member_keys(number) for number in (20, 21, 22)]
    others = [cards.member(name, place) for place, name in enumerate("bc")]
    versions: list[Charter] = []
    for held in keys:
        members = [charters.member_of("a", "a", held), *others]
        before = versions[-1] if versions else None
        versions.append(charters.draft("hospitals", cards.hub(), members, Rules(), cards.ORIGIN, before))
    folder, (first, second, third) = Folder(Path("unused")), versions
    found = {
        "a of 1": Desk("a", first, keys[0], folder),
        "a of 2": Desk("a", second, keys[1], folder, (first,)),
        "a of 3": Desk("a", third, keys[:0:-1], folder, (first, second)),
        "hub of 2": Desk(HUB, second, cards.hub_keys(), folder, (first,)),
        "hub of 3": Desk(HUB, third, cards.hub_keys(), folder, (first, second)),
    }
    return versions, found


def test_letters_of_the_version_before_are_believed_and_of_no_older_one() -> None:
    _, found = desks()
    hub, letters = found["hub of 3"], {name: desk.note(HUB, STANDING, "hello", Hello("0.2.0", ()))
                                       for name, desk in found.items() if name.startswith("a")}  # fmt: skip
    for name in ("a of 2", "a of 3"):
        header, envelope = hub.read(letters[name], TO_HUB)
        assert hub.open(header, envelope) == Hello("0.2.0", ())
    with pytest.raises(ProtocolViolation, match="version 1 of the charter, which does not hold here"):
        hub.read(letters["a of 1"], TO_HUB)
    with pytest.raises(ProtocolViolation, match="charter's version 3"):
        found["hub of 2"].read(letters["a of 3"], TO_HUB)


def test_a_letter_to_the_old_sealing_key_is_opened_with_it() -> None:
    _, found = desks()
    letter = found["hub of 2"].note("a", "0" * 32, "end", End("done"))
    header, envelope = found["a of 3"].read(letter, frozenset({"end"}))
    assert found["a of 3"].open(header, envelope) == End("done")


def test_the_old_key_signs_nothing_of_the_new_version() -> None:
    versions, found = desks()
    thief = Desk("a", versions[2], cards.member_keys(21), Folder(Path("unused")))
    with pytest.raises(ProtocolViolation, match="signature"):
        found["hub of 3"].read(thief.note(HUB, STANDING, "hello", Hello("0.2.0", ())), TO_HUB)


def test_a_plan_is_read_under_the_charter_that_it_names(world: Changing) -> None:
    run = world.propose()
    old: Plan = world.desks[HUB].plan(world.job(run).plan)
    world.next_charter()
    world.accept(HUB)
    assert world.desks[HUB].plan(world.job(run).plan) == old
    stranger = Desk(HUB, cards.charter(["a", "b", "c"]), cards.hub_keys(), Folder(Path("unused")))
    with pytest.raises(ProtocolViolation, match="another charter"):
        stranger.plan(world.job(run).plan)
