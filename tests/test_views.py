"""The page's rules over a hub's home without its processes: Streamlit's own AppTest, no browser."""

import time
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from streamlit.testing.v1 import AppTest

import hansa
import hansa_dashboard.hub
from hansa.charter import Charter
from hansa.crypto.bundles import HUB_BYTES
from hansa.hub import accounts, actions, models, people, queries, settings
from hansa.hub.actions import Hub
from hansa.hub.log import record
from hansa.hub.models import Job, Login, Member, Participant
from hansa.hub.records import tell
from hansa.jobs import KINDS
from hansa.jobs.base import Column, Schema
from hansa.mail import boxes
from hansa.messages import encode
from hansa.plan import Question
from hansa.wrapping import Way
from hansa_dashboard import session, words
from tests import cards

SITES = ("east", "north", "south", "west")
NAME, PASSWORD = "ada", "a password that is long"
HEART = Schema("heart", (Column("age", "number", "years"), Column("sex", "text", "", ("f", "m"))))
HOSTILE = "south: ![x](http://evil.example/p.png) <img src=x onerror=alert(1)> :red[no] $x$"


def charter() -> tuple[Charter, bytes]:
    made = cards.charter(SITES, consortium="hearts")
    return made, cards.signed(made, {site: cards.member_keys(place) for place, site in enumerate(SITES)})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    settings.make_keys(tmp_path, cards.seeds(255, HUB_BYTES), Way(passphrase_file="passphrase"))
    (tmp_path / "charter").write_bytes(charter()[1])
    (tmp_path / "hub.toml").write_text(f'database = "sqlite:///{tmp_path}/hub.db"\nprivate = ""\n[mailboxes]\n')
    hub = Hub(tmp_path)
    models.Base.metadata.create_all(hub.engine)
    boxes.Base.metadata.create_all(hub.engine)
    with Session(hub.engine) as db, db.begin():
        record(db, hub.desk, 1.0, "charter adopted", details={"charter": charter()[0].digest.hex()})
        for site in SITES:
            db.add(Member(site=site, version=hansa.__version__, tables=encode((HEART,)), seen_at=1.0))
        people.add_person(db, NAME, "east", PASSWORD)
        people.add_person(db, "ben", "west", PASSWORD)
    monkeypatch.setenv("HANSA_HOME", str(tmp_path))
    return hub


def signed_in(hub: Hub, patch: pytest.MonkeyPatch, name: str = NAME) -> tuple[AppTest, bytes]:
    """The whole page as the gate lets it through, and the token in the browser's cookie."""
    token = accounts.sign_in(hub, name, PASSWORD)
    patch.setattr(session, "token", lambda: token)
    page = AppTest.from_file(hansa_dashboard.hub.__file__, default_timeout=30).run()
    assert not page.exception
    return page, token


def view(name: str, person: str = NAME, member: str = "east", **query: str) -> AppTest:
    source = (
        "from hansa.hub import queries\nfrom hansa_dashboard import session\n"
        f"from hansa_dashboard.views import {name}\n"
        f"who = queries.viewer(session.the_hub(), {person!r})\n"
        f"{name}.show(session.the_hub(), session.Person({person!r}, {member!r}, who))\n"
    )
    page = AppTest.from_string(source, default_timeout=30)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def ask(hub: Hub) -> str:
    return actions.propose(hub, NAME, Question("histogram", "heart", {"column": "age"}))


def end(hub: Hub, run: str, status: str, reason: str = "") -> None:
    with Session(hub.engine) as db, db.begin():
        job = db.get_one(Job, run)
        job.status, job.reason, job.ended_at = status, reason, time.time()


def test_who_is_not_signed_in_sees_nothing_of_the_hub(hub: Hub) -> None:
    page = AppTest.from_file(hansa_dashboard.hub.__file__, default_timeout=30).run()
    assert [title.value for title in page.title] == ["Your session has ended"]
    assert not page.metric
    assert not page.dataframe
    assert not page.sidebar.caption


def test_a_session_that_was_ended_elsewhere_ends_in_an_open_tab_at_its_next_run(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, token = signed_in(hub, monkeypatch)
    assert page.title[0].value == "Overview"
    page.session_state["typed"] = "something"
    actions.sign_out(hub, token)
    page.run()
    assert [title.value for title in page.title] == ["Your session has ended"]
    assert not page.metric
    assert "typed" not in page.session_state


def test_what_one_person_filled_in_is_not_there_for_the_next(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    page, _ = signed_in(hub, monkeypatch)
    page.session_state["typed"] = "something"
    page.run()
    assert page.session_state["typed"] == "something"
    other = accounts.sign_in(hub, "ben", PASSWORD)
    monkeypatch.setattr(session, "token", lambda: other)
    page.run()
    assert "typed" not in page.session_state
    assert any("ben" in caption.value for caption in page.sidebar.caption)


def test_a_page_that_refreshes_itself_does_not_keep_its_session_alive(hub: Hub) -> None:
    token = accounts.sign_in(hub, NAME, PASSWORD)
    with Session(hub.engine) as db, db.begin():
        login = db.query(Login).one()
        login.used_at -= people.IDLE_SECONDS - 60
        before = login.used_at
    assert queries.session_holds(hub, token)
    with Session(hub.reading) as db:
        assert db.query(Login).one().used_at == before
    with Session(hub.engine) as db, db.begin():
        db.query(Login).one().used_at -= 120
    assert not queries.session_holds(hub, token)


@pytest.mark.parametrize("name", ["overview", "propose", "jobs", "consents", "log", "people", "account"])
def test_every_page_can_be_shown_before_and_after_the_first_job(hub: Hub, name: str) -> None:
    view(name)
    ask(hub)
    view(name)


def test_what_a_member_writes_is_shown_as_it_is_and_loads_nothing(hub: Hub) -> None:
    run = ask(hub)
    end(hub, run, "refused", HOSTILE)
    shown = view("job", run=run).warning[0].value
    assert r"\!\[x\]\(http\:\/\/evil\.example\/p\.png\)" in shown
    assert r"\<img" in shown
    assert r"\:red\[no\]" in shown
    assert r"\$x\$" in shown


def test_only_a_person_of_the_proposer_is_offered_to_cancel(hub: Hub) -> None:
    run = ask(hub)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "still_good", lambda _hub: True)
        assert [button.label for button in view("job", run=run).button] == ["Cancel this job"]
        assert not view("job", "ben", "west", run=run).button


def test_a_job_that_is_not_there_is_said_not_to_be_there(hub: Hub) -> None:
    assert (
        view("job", run="0" * 32).info[0].value
        == "There is no such job at this hub, or it does not concern your institution."
    )


def test_every_kind_has_its_form_and_says_what_it_tells(hub: Hub) -> None:
    page = view("propose")
    for kind, job in KINDS.items():
        next(box for box in page.selectbox if box.label == "Kind").set_value(kind).run()
        assert not page.exception, kind
        assert job.title in [text.value.strip("*") for text in page.markdown]


def test_too_few_participants_are_refused_before_anything_is_sent(hub: Hub) -> None:
    page = view("propose")
    page.multiselect[0].set_value(["east", "west"]).run()
    assert "2 sites take part" in page.error[0].value
    assert page.button[0].disabled
    assert queries.jobs(hub) == []


def test_before_sending_the_page_says_who_learns_what_and_that_the_answer_is_exact(hub: Hub) -> None:
    page = view("propose")
    said = " ".join(part.value for part in page.markdown)
    assert "no site's numbers, unless more than 1 site colludes with it" in said
    assert "1 site may drop out" in said
    assert "no noise is added" in page.warning[0].value
    assert page.button[0].disabled
    page.multiselect[1].set_value(["age"]).run()
    assert not page.button[0].disabled


def test_after_a_setup_without_a_site_the_page_claims_what_the_plans_sites_bear(hub: Hub) -> None:
    run = ask(hub)
    with Session(hub.engine) as db, db.begin():
        for site in SITES:
            db.get_one(Participant, (run, site)).consent = b"signature"
        db.get_one(Job, run).agreed = 3
        tell(db, 3.0, run, "step 1: bins")
    end(hub, run, "not enough sites", "2 sites answered and 3 are needed")
    said = " ".join(part.value for part in view("job", run=run).markdown)
    assert "unless more than 1 site colludes with it" in said


def test_the_check_of_the_tree_says_what_it_does_not_prove(hub: Hub) -> None:
    page = view("log")
    page.segmented_control[0].set_value("Verification").run()
    page.button[0].click().run()
    assert "The tree of all 1 entry holds" in page.success[0].value
    assert any("It is the hub that says so" in caption.value for caption in page.caption)


@pytest.mark.parametrize(
    ("parameters", "about"),
    [
        ({"formula": "ill ~ age", "family": "binomial", "outcome": ""}, "ill ~ age"),
        ({"formula": "age + sex", "family": "binomial", "outcome": "ill"}, "ill ~ age + sex"),
    ],
)
def test_a_regression_is_named_by_its_whole_formula(parameters: dict[str, str], about: str) -> None:
    assert words.subject("glm", parameters) == about


def test_a_job_is_named_by_its_columns() -> None:
    assert words.subject("table", {"rows": "sex", "columns": "cp"}) == "sex and cp"
    assert words.subject("summary", {"columns": ["a", "b", "c", "d", "e"]}) == "a, b, c, d …"
    assert words.subject("of another house", {}) == ""
