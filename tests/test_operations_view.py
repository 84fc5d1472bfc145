"""The operator's page: what runs and waits, and nothing of a question."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from streamlit.testing.v1 import AppTest

import hansa_dashboard.hub
from hansa.access import ROLES
from hansa.errors import Refused
from hansa.hub import accounts, operating, queries
from hansa.mail import boxes
from hansa.mail.boxes import Outbox
from hansa.mail.workers import Worker
from hansa.messages import HUB
from hansa_dashboard import session
from tests.hub_home import PASSWORD, Home, invite, opened
from tests.test_views import view
from tests.world import World

HOSTILE = "![x](http://evil.example/p.png)"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A job was asked after every site had stopped, and a letter set aside."""
    world = World(tmp_path_factory.mktemp("hub"), sites=4)
    world.drain()
    invite(world)
    for name in world.names:
        world.kill(name)
    run = world.propose()
    with Session(world.engines[HUB]) as db, db.begin():
        boxes.set_aside(db, "s1", f"a letter holds {HOSTILE}", b"x", world.now)
        db.execute(update(Outbox).where(Outbox.acked_at.is_(None)).values(attempts=7))
    with opened(world) as hub:
        yield Home(world, hub, run, "")


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "still_good", lambda _hub: True)


def operations(home: Home) -> operating.Operations:
    return operating.operations(home.hub, queries.viewer(home.hub, "operator"), home.world.now + 60)


@pytest.mark.parametrize("role", ROLES)
def test_the_operator_sees_operations_and_everybody_else_one_sentence(home: Home, role: str) -> None:
    page = view("operations", role, "" if role == "operator" else "s0")
    if role == "operator":
        assert page.metric and page.dataframe and not page.info
    else:
        assert [one.value.replace("\\", "") for one in page.info] == [
            f"'{role}' may not operate: that takes the role operator."
        ]
        assert not page.metric and not page.dataframe and not page.button
        who = queries.viewer(home.hub, role)
        for door in (operating.operations, operating.findings):
            with pytest.raises(Refused, match="may not operate"):
                door(home.hub, who, 0.0)


@pytest.mark.parametrize(("name", "there"), [("operator", True), ("auditor", False)])
def test_only_the_operator_finds_the_page_in_the_navigation(
    home: Home, name: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hansa_dashboard.hub import PAGES, _visibility

    who = queries.viewer(home.hub, name)
    person = session.Person(name, who.member, who)
    assert (_visibility("operations", person) == "visible") == there
    assert all(_visibility(path, person) == "visible" for path, *_ in PAGES if path not in ("operations", "people"))
    token = accounts.sign_in(home.hub, name, PASSWORD)
    monkeypatch.setattr(session, "token", lambda: token)
    page = AppTest.from_file(hansa_dashboard.hub.__file__, default_timeout=30).run()
    assert not page.exception


def test_letters_that_wait_are_told_of_with_the_least_time_they_have_waited(home: Home) -> None:
    lanes = {lane.site: lane for lane in operations(home).lanes}
    assert lanes["s0"].waiting >= 1 and lanes["s0"].attempts == 7
    assert lanes["s0"].at_least == pytest.approx(0.75 * (2 + 4 + 8 + 15 + 15 + 15))
    assert all(lane.version and not lane.apart and not lane.unread for lane in lanes.values())
    table = view("operations", "operator", "").dataframe[0].value.set_index("Site")
    assert table.loc["s0", "Sent so often"] == 7 and table.loc["s0", "For at least"] == "44.2 s"


def test_a_letter_has_waited_for_the_delays_between_its_attempts() -> None:
    assert [boxes.waited(attempts) for attempts in (0, 1, 2, 3)] == [0, 0, 1.5, 4.5]
    assert boxes.waited(22) - boxes.waited(21) == 0.75 * boxes.SILENT_RETRY


def test_what_was_set_aside_is_shown_as_it_is(home: Home) -> None:
    (letter,) = operations(home).aside
    assert (letter.came_by, letter.reason) == ("s1", f"a letter holds {HOSTILE}")
    page = view("operations", "operator", "")
    shown = [one for one in page.dataframe if "Not believed, because" in one.value.columns]
    assert list(shown[0].value["Not believed, because"]) == [letter.reason]
    assert not any(HOSTILE in one.value for one in page.markdown)


def test_of_a_job_in_line_nothing_is_shown_but_that_it_is_there(home: Home) -> None:
    found = operations(home)
    assert [(job.status, job.sites) for job in found.line] == [("proposed", 4)]
    assert dict(found.open) == {"proposed": 1}
    page = view("operations", "operator", "")
    line = next(one.value for one in page.dataframe if "Place" in one.value.columns)
    assert list(line["Job"]) == [found.line[0].run[:8]]
    told = " ".join(str(one.value.to_dict()) for one in page.dataframe)
    assert "numbers" not in told and "summary" not in told


def test_a_hub_that_does_not_run_and_one_without_its_leader_are_said_to_be_so(home: Home) -> None:
    assert "does not run on this home" in view("operations", "operator", "").error[0].value
    worker = Worker(home.hub.home, bytes(16))
    try:
        assert "Only further workers run" in view("operations", "operator", "").error[0].value
        assert worker.leads()
        found = operations(home)
        assert (found.processes, found.leads) == (1, True)
        assert found.database and 0 < found.free < found.disk
        assert not view("operations", "operator", "").error
    finally:
        worker.close()


def test_a_look_at_everything_finds_what_the_command_finds(home: Home, tmp_path: Path) -> None:
    found = operating.findings(home.hub, queries.viewer(home.hub, "operator"), home.world.now)
    page = view("operations", "operator", "")
    next(button for button in page.button if button.label == "Look now").click().run()
    assert not page.exception
    told = [one.value for one in page.markdown]
    for about in {finding.about for finding in found}:
        assert any(f"**{about}**" in one.replace("\\", "") for one in told)
    assert any("wrong." in one.value for one in page.error)
