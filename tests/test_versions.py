"""Neighbours of one version apart work together, and what the last version left is opened and carried on."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

import hansa
from hansa import replay
from hansa.access import Person
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import actions, log, looking, models, queries
from hansa.hub.actions import Hub
from hansa.hub.coordinator import Coordinator
from hansa.hub.gateway import Door
from hansa.hub.models import Job, Member
from hansa.jobs.base import Column, Schema
from hansa.mail import boxes
from hansa.mail.blobs import Folder
from hansa.mail.boxes import Desk, Inbox, Outbox, SetAside
from hansa.mail.database import Engines, migrate, open_engine
from hansa.mail.letters import PAYLOADS, STANDING, TO_HUB, TO_SITE, Ack, Hello, Welcome, apart, speaks
from hansa.messages import HUB, SUITE, Header, encode, read_envelope, seal_letter
from hansa.plan import Question
from hansa_site.journal import HubSeen
from hansa_site.policy import Floors, Policy
from hansa_site.settings import Settings, TableSource
from hansa_site.site import Site
from hansa_site.vault import read_charter, read_keys
from tests.recorded.__main__ import ROWS
from tests.test_letters import CHARTER, DESKS, FOLDER, KEYS, RUN
from tests.world import EVERYTHING, PERSON, World

# What an institution says while its consortium upgrades; the recorded tables are tiny.
UPGRADING = Policy(plans_of_0_1=True, disclosure=Floors(minimum_cell=1, minimum_rows=1))
RECORDED = Path(__file__).parent / "recorded" / "0.1.zip"


# What the last version left


class Recorded:
    """The recorded homes under today's code: the real hub and sites, whose letters are carried by hand."""

    def __init__(self, home: Path) -> None:
        with zipfile.ZipFile(RECORDED) as archive:
            archive.extractall(home)
        (home / "hub" / "hub.toml").write_text(
            f'database = "sqlite:///{home}/hub/hub.sqlite"\nprivate = ""\n[mailboxes]\n', encoding="utf-8"
        )
        self.engines = {HUB: open_engine(f"sqlite:///{home}/hub/hub.sqlite")}
        migrate(self.engines[HUB], "hub")
        self.hub, self.home = Hub(home / "hub"), home
        self.desks, self.sites, self.doors = {HUB: self.hub.desk}, dict[str, Site](), dict[str, Door]()
        for name in ROWS:
            self._open(name, home / "sites" / name)
        self.coordinator = Coordinator(self.engines[HUB], self.engines[HUB], self.hub.desk)
        self.now = self._stopped_at()
        self.coordinator.adopt(self.now)

    def _open(self, name: str, home: Path) -> None:
        (home / "t.csv").write_text("x,y\n" + ROWS[name], encoding="utf-8")
        engine = self.engines[name] = open_engine(f"sqlite:///{home}/site.sqlite")
        migrate(engine, "site")
        desk = self.desks[name] = Desk(name, read_charter(home, name), read_keys(home), Folder(home / "chunks"))
        settings = Settings(name, "unused", "unused", (TableSource("t", "t.csv"),), UPGRADING)
        self.sites[name] = Site(Engines(engine, engine, engine), desk, settings, home, bytes, FOLDER)
        self.doors[name] = Door(self.engines[HUB], self.desks[HUB], name, FOLDER)

    def _stopped_at(self) -> float:
        with Session(self.engines[HUB]) as db:
            return max(db.scalars(select(Inbox.received_at))) + 1

    def runs(self) -> dict[str, str]:
        """By the kind of the question."""
        return {view.kind: view.run for view in queries.jobs(self.hub)}

    def post(self) -> None:
        """What is due is carried and worked off."""
        for name, engine in self.engines.items():
            with Session(engine) as db, db.begin():
                letters = boxes.due(db, self.now)
                boxes.posted(db, letters, self.now, 0.5)
            carried = [(letter.receiver, letter.data) for letter in letters]
            carried += [(peer, ack) for peer, acks in self.desks[name].acks(self.now).items() for ack in acks]
            for receiver, data in carried:
                if receiver == HUB:
                    for run in self.doors[name].receive([data], self.now):
                        self.coordinator.turn(run, self.now)
                else:
                    self.sites[receiver].receive(data, self.now)
        for site in self.sites.values():
            while site.work(self.now):
                pass
        waiting, _closed = self.coordinator.tick(self.now)
        for run in waiting:
            self.coordinator.turn(run, self.now)
        self.now += 0.5

    def set_aside(self) -> list[str]:
        return [reason for name in self.engines for reason in self.rows(name, SetAside.reason)]

    def rows(self, name: str, column: object) -> list[str]:
        with Session(self.engines[name]) as db:
            return list(db.scalars(select(column)))  # type: ignore[call-overload]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    found = Recorded(tmp_path)
    yield found
    for engine in found.engines.values():
        engine.dispose()


def test_the_last_versions_databases_are_brought_to_the_newest_migration(recorded: Recorded) -> None:
    for name, engine in recorded.engines.items():
        tree = "hub" if name == HUB else "site"
        script = ScriptDirectory(str(Path(__file__).parents[1] / "migrations" / tree))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == script.get_current_head()
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_every_member_lists_the_last_versions_jobs_in_the_order_in_which_they_were_asked(recorded: Recorded) -> None:
    with Session(recorded.engines[HUB]) as db:
        rows = list(db.scalars(select(Job).order_by(Job.created_at)))
    assert len(rows) > 1
    places = [row.place for row in rows]
    assert places == sorted(set(places)) and places[-1] <= 0
    assert all(row.kind and row.proposer for row in rows)
    assert {row.status for row in rows if not row.table_name} <= set(models.OPEN)  # these stand in no line
    for name in ROWS:
        who = Person("p", name, ("analyst",))
        assert [job.run for job in looking.page(recorded.hub, who)] == [row.run for row in rows[::-1]]
    assert looking.page(recorded.hub, Person("p", "elsewhere", ("analyst",))) == []


def test_the_finished_job_is_shown_and_its_evidence_replayed(recorded: Recorded) -> None:
    run = recorded.runs()["table"]
    detail = queries.job(recorded.hub, run)
    assert detail is not None and detail.view.status == "done"
    answer = msgspec.json.decode(queries.answer_bytes(recorded.hub, run) or b"{}")
    labels = [line.split(",")[1] for rows in ROWS.values() for line in rows.split()]
    assert [row[0] for row in answer["counts"]] == [labels.count(name) for name in answer["row_names"]]
    kept = queries.evidence(recorded.hub, run)
    replayed = replay.replay(replay.read(kept.content), recorded.hub.desk.charter, kept.read)
    assert replayed.exact
    assert [step.survivors for step in replayed.steps] == [tuple(sorted(ROWS))] * len(replayed.steps)
    assert replayed.steps


def test_every_letter_of_the_last_version_still_opens_with_its_readers_key(recorded: Recorded) -> None:
    found = set()
    for name, desk in recorded.desks.items():
        for column, ours in ((Inbox.data, True), (Outbox.data, False)):
            for data in recorded.rows(name, column):
                header, _ = read_envelope(data)
                reader = desk if ours else recorded.desks[header.receiver]
                believed, envelope = reader.read(data, TO_HUB if reader.name == HUB else TO_SITE)  # type: ignore[arg-type]
                assert type(reader.open(believed, envelope)) is PAYLOADS[believed.kind]
                found.add((believed.kind, believed.version))
    kinds = {"hello", "sign-plan", "plan-signed", "ask-consent", "consent", "open", "round", "reply", "end"}
    assert found == {(kind, 1) for kind in kinds}


def test_the_log_of_the_last_version_holds_and_goes_on(recorded: Recorded) -> None:
    with Session(recorded.engines[HUB]) as db:
        former, head = log.former_head(db)
        first = log.read_entry(db, 0)
    assert former == 26
    assert (first.act, first.details) == ("log opened", {"former size": "26", "former head": head.hex()})
    size, _root = queries.check_log(recorded.hub)
    for site in recorded.sites.values():
        site.hello(recorded.now)
    for _ in range(6):
        recorded.post()
    assert queries.check_log(recorded.hub)[0] > size
    assert {view.version for view in queries.members(recorded.hub)} == {hansa.__version__}


def coefficients() -> list[float]:
    """Of the logistic regression over all rows, by Newton's method."""
    rows = np.array([line.split(",") for lines in ROWS.values() for line in lines.split()], dtype=float)
    design, outcome, beta = np.column_stack([np.ones(len(rows)), rows[:, 0]]), rows[:, 1], np.zeros(2)
    for _ in range(50):
        mean = 1 / (1 + np.exp(-design @ beta))
        beta = beta + np.linalg.solve((design.T * (mean * (1 - mean))) @ design, design.T @ (outcome - mean))
    return list(beta)


def test_the_job_that_the_last_version_left_in_the_middle_goes_on_to_the_right_answer(recorded: Recorded) -> None:
    run = recorded.runs()["glm"]
    with Session(recorded.engines[HUB]) as db:
        begun = db.get_one(Job, run)
        assert begun.status == "running" and begun.step >= 1
    recorded.coordinator.adopt(recorded.now)
    for site in recorded.sites.values():
        site.hello(recorded.now)
    for _ in range(400):
        recorded.post()
        with Session(recorded.engines[HUB]) as db:
            job = db.get_one(Job, run)
        if job.ended_at is not None:
            break
    assert (job.status, recorded.set_aside()) == ("done", []), job.reason
    found = msgspec.json.decode(job.answer or b"{}")["coefficients"]
    assert [coefficient["estimate"] for coefficient in found.values()] == pytest.approx(coefficients(), rel=1e-6)
    kept = queries.evidence(recorded.hub, run)
    assert replay.replay(replay.read(kept.content), recorded.hub.desk.charter, kept.read).exact
    assert job.attempt == begun.attempt  # no setup was made anew


def test_a_job_that_the_last_version_proposed_stands_in_line_once_it_is_signed(recorded: Recorded) -> None:
    hub, now = recorded.hub, recorded.now
    for site in recorded.sites.values():
        site.hello(now)
    for _ in range(6):
        recorded.post()
    run = actions.propose(hub, PERSON, Question("table", "t", {"rows": "y"}, disclosure=EVERYTHING))
    with Session(recorded.engines[HUB]) as db, db.begin():
        job = db.get_one(Job, run)
        job.table_name, job.place = "", 0  # as the migration leaves it
        db.execute(update(Outbox).where(Outbox.run == run).values(next_at=now))
    for _ in range(10):
        recorded.post()
    with Session(recorded.engines[HUB]) as db:
        assert db.get_one(Job, run).status not in ("proposed", "waiting")


# One version apart


@pytest.mark.parametrize(("version", "letters"), [("0.0.9", 1), ("0.1.0", 1), ("0.1.7", 1), ("0.2.0", 2), ("1.0.0", 2)])
def test_what_letters_a_version_speaks(version: str, letters: int) -> None:
    assert speaks(version) == letters


@pytest.mark.parametrize(
    ("ours", "theirs", "together"),
    [
        ("0.2.0", "0.2.9", True),
        ("0.2.0", "0.1.0", True),
        ("0.2.0", "0.3.0", True),
        ("0.2.0", "0.4.0", False),
        ("0.2.0", "0.0.1", False),
        ("0.2.0", "1.2.0", False),
        ("0.2.0", "unknown", False),
    ],
)
def test_one_minor_version_apart_is_together_and_further_is_not(ours: str, theirs: str, together: bool) -> None:
    for reason in (apart(ours, theirs), apart(theirs, ours)):
        assert (reason == "") is together
        assert together or ("upgrade the older one" in reason and ours in reason and theirs in reason)


def says(world: World, site: str, version: str) -> None:
    """The site's hello, of another version."""
    tables = (Schema("numbers", (Column("x", "number"),)),)
    with Session(world.engines[site]) as db, db.begin():
        world.desks[site].write(db, HUB, STANDING, "hello", Hello(version, tables), world.now)

    def seen() -> bool:
        with Session(world.engines[HUB]) as db:
            return db.get_one(Member, site).version == version

    world.run_until(seen)


def test_a_site_too_many_versions_away_is_asked_nothing_and_the_person_is_told_why(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4)
    hub, question = world.hub(), Question("summary", "numbers", {"columns": ["x"]}, disclosure=EVERYTHING)
    says(world, "s3", "0.9.0")
    sentence = f"nothing is asked of 's3': Hansa {hansa.__version__} and 0.9.0 don't work together"
    with pytest.raises(Refused, match=sentence):
        actions.propose(hub, PERSON, replace(question, sites=("s0", "s1", "s3")))
    run = actions.propose(hub, PERSON, question)
    assert set(world.participants(run)) == {"s0", "s1", "s2"}
    says(world, "s2", "0.9.0")
    with pytest.raises(Refused, match=r"2 sites are named and at least 3.*'s2'.*one minor version at a time"):
        actions.propose(hub, PERSON, question)
    for site in ("s0", "s1"):
        says(world, site, "0.9.0")
    with pytest.raises(Refused, match=r"no member has a table 'numbers'.*don't work together"):
        actions.propose(hub, PERSON, question)
    with pytest.raises(Refused, match=r"no member has a table 'missing'$"):
        actions.propose(hub, PERSON, replace(question, table="missing"))


def test_a_site_welcomed_by_a_hub_two_versions_newer_refuses_consent_with_the_sentence(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4)
    world.drain()
    with Session(world.engines[HUB]) as db, db.begin():
        welcome = Welcome("0.4.0", apart("0.4.0", hansa.__version__))
        world.desks[HUB].write(db, "s1", STANDING, "welcome", welcome, world.now)

    def welcomed() -> bool:
        with Session(world.engines["s1"]) as db:
            row = db.get(HubSeen, 1)
            return row is not None and row.version == "0.4.0"

    world.run_until(welcomed)
    run = world.propose()
    assert world.finish(run).status == "done"  # without it
    part = world.participants(run)["s1"]
    assert part.stage == "refused"
    assert part.reason == apart(hansa.__version__, "0.4.0")


def test_a_hub_that_hears_version_1_sends_no_welcome_and_single_acks(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    world.drain()
    kinds = list[str]()
    with Session(world.engines[HUB]) as db, db.begin():
        db.get_one(models.Member, "s1").version = "0.1.0"
    hub = world.desks[HUB] = Desk(HUB, world.charter, world.desks[HUB].keys, FOLDER)
    world.restart(HUB)
    with Session(world.engines[HUB]) as db:
        newest = max(db.scalars(select(Outbox.id)))
    with Session(world.engines["s1"]) as db, db.begin():
        world.desks["s1"].write(db, HUB, STANDING, "hello", Hello("0.1.0", ()), world.now)
        (hello,) = db.scalars(select(Outbox.data).where(Outbox.acked_at.is_(None)))
    world.doors["s1"].receive([hello], world.now)
    world.coordinator.turn(STANDING, world.now)
    with Session(world.engines[HUB]) as db:
        assert db.get_one(models.Member, "s1").version == "0.1.0"
        kinds = list(db.scalars(select(Outbox.kind).where(Outbox.id > newest)))
    assert kinds == []
    assert [read_envelope(ack)[0].kind for ack in hub.acks(world.now + 1)["s1"]] == ["ack"]


def letter(version: int, kind: str = "ack") -> bytes:
    header = Header(version, SUITE, HUB, "a", CHARTER.version, RUN, 0, kind)
    payload = Ack(bytes(32)) if kind == "ack" else Welcome("0.2.0")
    return seal_letter(header, encode(payload), KEYS[HUB].signing, KEYS["a"].sealing.public)


def test_a_letter_of_a_version_to_come_is_refused_with_a_sentence() -> None:
    DESKS["a"].read(letter(1), TO_SITE)
    with pytest.raises(ProtocolViolation, match="a letter is of version 3, suite 1; we speak 1 to 2, 1"):
        DESKS["a"].read(letter(3), TO_SITE)


@pytest.mark.parametrize(("version", "kind"), [(2, "ack"), (1, "welcome")])
def test_a_kind_under_another_version_than_its_own_is_refused(version: int, kind: str) -> None:
    with pytest.raises(ProtocolViolation, match="not of the version that its kind came with"):
        DESKS["a"].read(letter(version, kind), TO_SITE)
