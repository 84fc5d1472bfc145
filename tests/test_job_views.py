"""The pages of jobs over a hub whose jobs were run by real sites: Streamlit's own AppTest, no browser."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace
from sqlalchemy.orm import Session
from streamlit.testing.v1 import AppTest

from hansa.errors import Refused
from hansa.hub import accounts, actions, models, people, queries
from hansa.hub.actions import Hub
from hansa.hub.models import EvidenceRow, Job, Login, Participant
from hansa.jobs import EXAMPLES, decode_answer
from hansa.messages import HUB
from hansa.plan import Question
from hansa_dashboard import drawing, files, refreshing, session
from hansa_dashboard.refreshing import Turns
from hansa_dashboard.views import answer
from hansa_dashboard.views.job import NOWHERE
from hansa_dashboard.words import subject
from tests.page_views import ran, said, view
from tests.world import EVERYTHING, PERSON, World

PASSWORD = "correct horse battery"
SUMMARY = Question("summary", "numbers", {"columns": ["x"]}, ("s0", "s1", "s2"), disclosure=EVERYTHING)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.hub()
    monkeypatch.setenv("HANSA_HOME", str(tmp_path / "home"))
    with Session(world.engines[HUB]) as db, db.begin():
        people.add_person(db, "bea", "s1", PASSWORD, "analyst")
        people.add_person(db, "eve", "s3", PASSWORD, "analyst, auditor")
    return world


@pytest.fixture
def hub(world: World) -> Iterator[Hub]:
    hub = world.hub()
    yield hub
    hub.engine.dispose()
    hub.reading.dispose()


def the_page(run: str) -> AppTest:
    return view("job", PERSON, "s0", run=run)


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def test_another_institutions_job_says_the_very_sentence_of_a_job_that_is_not_there(world: World) -> None:
    run = world.ask(SUMMARY)
    for person, member, asked in (("eve", "s3", run), ("eve", "s3", "0" * 32), (PERSON, "s0", "not a run")):
        page = view("job", person, member, run=asked)
        assert said(page) == f"Job\n{NOWHERE}"
        assert not page.dataframe and not page.button
    assert NOWHERE not in said(the_page(run))


def test_an_open_job_says_what_it_waits_for_and_draws_what_everybody_did(world: World) -> None:
    run = world.ask(SUMMARY)
    world.run_until(lambda: world.job(run).status == "running" and world.job(run).step == 2)
    page = the_page(run)
    told = said(page)
    assert "Step 3 \\(spreads\\)\\, round 1 of 3\\, computing" in told
    assert "1 step follows\\. At the pace so far" in told
    assert "A lane for the hub and one for each site" in told
    assert [next(iter(frame.value.columns)) for frame in page.dataframe] == ["Site", "At"]


def test_a_job_is_cancelled_after_a_second_question_and_only_by_who_may(world: World, hub: Hub) -> None:
    run = world.ask(SUMMARY)
    assert labels(view("job", "bea", "s1", run=run)) == []
    page = the_page(run)
    assert labels(page) == ["Cancel this job"]
    page.button[0].click()
    ran(page)
    assert labels(page) == ["Yes, cancel it", "No, let it go on"]
    page.button[1].click()
    ran(page)
    assert labels(page) == ["Cancel this job"] and world.job(run).status == "proposed"
    page.button[0].click()
    ran(page)
    page.button[0].click()
    ran(page)
    assert world.job(run).status == models.CANCELLED
    assert labels(page) == []


def test_an_answer_is_shown_with_a_sentence_for_every_plot_and_all_its_files(world: World) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    page = the_page(run)
    told = said(page)
    assert "the dashed line is the mean" in told
    assert "No noise is added" in told or "no noise is added" in told
    names = [button.label for button in page.get("download_button")]
    assert names == ["Download PNG", "Download CSV", "Download JSON", "Download Parquet", "Download report"]
    assert page.metric[0].label == "Columns"
    assert [tab.label for tab in page.tabs] == ["Sites", "Timeline", "Who learned what", "Plan"]


def test_an_answer_is_verified_on_the_page_and_the_page_says_that_it_is_the_hub_who_says_so(world: World) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    page = the_page(run)
    page.button[0].click()
    ran(page)
    # Of three sites: a proposal, three consents, six of the setup, in each of four steps three headers and two or three
    # locks, and who agreed to the release.
    assert page.success[0].value.startswith("Every total of 4 steps was recomputed\\, ")
    assert "signatures hold\\, and the answer follows from the last total to the byte" in page.success[0].value
    assert "It is this hub that says so" in said(page)
    assert f"hansa audit evidence {run}" in page.code[0].value


def test_evidence_that_was_changed_is_found_on_the_page_in_one_sentence(world: World) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    with Session(world.engines[HUB]) as db, db.begin():
        db.get_one(Job, run).answer = (world.job(run).answer or b"").replace(b'"count":3', b'"count":4')
    page = the_page(run)
    page.button[0].click()
    ran(page)
    assert not page.success
    assert page.error[0].value.startswith("It does not hold\\: ")


def test_evidence_that_was_erased_is_said_to_be_missing(world: World) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    with Session(world.engines[HUB]) as db, db.begin():
        db.query(EvidenceRow).filter(EvidenceRow.run == run).delete()
    page = the_page(run)
    page.button[0].click()
    ran(page)
    assert "can\\'t be verified here" in page.error[0].value and "not whole" in page.error[0].value


def test_who_is_no_auditor_may_not_have_an_answer_recomputed(world: World, hub: Hub) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    page = view("job", "bea", "s1", run=run)
    assert labels(page) == []
    assert "The evidence is shown to auditors" in said(page)
    with pytest.raises(Refused, match="may not see evidence"):
        queries.evidence(hub, run, queries.viewer(hub, "bea"))


# ---- files ----


def shown(hub: Hub, run: str) -> tuple[queries.JobDetail, drawing.Picture]:
    detail = queries.job(hub, run, queries.viewer(hub, PERSON))
    data = queries.answer_bytes(hub, run)
    assert detail is not None and data is not None
    return detail, drawing.draw(decode_answer(data), subject(detail.view.kind, detail.parameters))


def test_a_parquet_file_holds_the_table_with_its_types_and_what_is_left_out_as_null() -> None:
    hidden = replace(EXAMPLES["histogram"].answer, counts=(12, None, 30, 11), n=None)  # type: ignore[call-overload]
    table = drawing.draw(hidden, "age").table
    read = pd.read_parquet(io.BytesIO(files.parquet(table)))
    assert (read["count"].dtype, read["from"].dtype) == ("Int64", "float64")
    assert read["count"].isna().tolist() == [False, True, False, False]
    pd.testing.assert_frame_equal(read, table)


def test_the_report_that_is_downloaded_tells_this_job_and_the_digest_of_its_evidence(world: World, hub: Hub) -> None:
    run = world.ask(SUMMARY)
    world.finish(run)
    detail, picture = shown(hub, run)
    who = session.Person(PERSON, "s0", queries.viewer(hub, PERSON))
    page = answer._report(hub, who, detail, picture).decode()
    assert run in page and detail.plan_digest in page and detail.answer_digest in page
    assert queries.evidence(hub, run).digest in page
    bea = session.Person("bea", "s1", queries.viewer(hub, "bea"))
    seen = queries.job(hub, run, bea.viewer)
    assert seen is not None
    assert queries.evidence(hub, run).digest not in answer._report(hub, bea, seen, picture).decode()


def test_what_is_made_later_is_made_only_while_the_session_is_good(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    token, offered = accounts.sign_in(hub, PERSON, PASSWORD), {}
    monkeypatch.setattr(session, "token", lambda: token)
    monkeypatch.setattr(answer.st, "download_button", lambda label, made, *_, **__: offered.update({label: made}))
    answer._later(hub, "file", lambda: b"content", "f", "text/plain")
    assert offered["file"]() == b"content"
    actions.sign_out(hub, token)
    with pytest.raises(Refused, match="the session is over"):
        offered["file"]()


# ---- the list ----


def test_the_list_shows_twenty_five_jobs_a_page_and_a_filter_begins_at_the_first(world: World) -> None:
    runs = [world.ask(SUMMARY) for _ in range(30)]
    page = view("jobs", PERSON, "s0")
    assert len(page.button) == 25
    assert "1 to 25 of 30 jobs" in said(page)
    assert page.button[0].key == f"list/{runs[-1]}"
    page.get("pagination")[0].set_value(2)
    ran(page)
    assert "26 to 30 of 30 jobs" in said(page)
    page.selectbox[0].set_value("summary")
    ran(page)
    assert "1 to 25 of 30 jobs" in said(page)
    page.selectbox[0].set_value("glm")
    ran(page)
    assert "No job is like that." in said(page) and not page.button
    page.selectbox[0].set_value("")
    page.text_input[0].input(runs[3][:12])
    ran(page)
    assert [button.key for button in page.button] == [f"list/{runs[3]}"]


def test_a_jobs_title_in_the_list_says_what_it_is_about(world: World) -> None:
    world.ask(SUMMARY)
    assert labels(view("jobs", PERSON, "s0")) == ["**Summary of columns**  x"]
    assert labels(view("jobs", "eve", "s3")) == []


# ---- the overview ----


def test_the_overview_begins_with_what_needs_the_viewers_own_people(world: World) -> None:
    run = world.ask(SUMMARY)
    with Session(world.engines[HUB]) as db, db.begin():
        db.get_one(Job, run).status = "consenting"
        db.get_one(Participant, (run, "s1")).waits_until = time.time() + 900
    own, other = said(view("overview", "bea", "s1")), said(view("overview", PERSON, "s0"))
    assert "A person at s1 is to decide" in own
    assert "is to decide" not in other
    assert own.index("Needs attention") < own.index("Open jobs") < own.index("Last answers")


def test_the_overview_names_refusals_silent_sites_and_witnesses_that_do_not_cosign(world: World) -> None:
    run = world.ask(SUMMARY)
    with Session(world.engines[HUB]) as db, db.begin():
        job = db.get_one(Job, run)
        job.status, job.reason, job.created_at, job.ended_at = "refused", "s1: <b>no</b>", time.time(), time.time()
        db.get_one(models.Member, "s2").seen_at = 0.0
        db.query(models.WitnessRow).filter(models.WitnessRow.site == "s2").delete()
        row = db.get(models.WitnessRow, "s3") or models.WitnessRow(site="s3", size=0, receipted=0, at=1.0)
        row.refusal = "409: another tree"
        db.add(row)
    told = said(view("overview", PERSON, "s0"))
    assert "s1\\: \\<b\\>no\\<\\/b\\>" in told
    assert "s2 was never heard\\." in told
    assert "s3 does not cosign the log\\: 409\\: another tree" in told


def test_the_overview_shows_open_jobs_with_where_they_are(world: World) -> None:
    run = world.ask(SUMMARY)
    world.run_until(lambda: world.job(run).status == "running" and world.job(run).step == 1)
    page = view("overview", PERSON, "s0")
    assert "numbers\\: step 2 \\(sums\\)" in said(page)
    assert [button.key for button in page.button] == [f"open/{run}"]
    assert [(one.label, one.value) for one in page.metric][:3] == [
        ("Members seen", "4 of 4"), ("Open jobs", "1"), ("Jobs", "1"),
    ]  # fmt: skip


# ---- what refreshes itself ----


def test_a_part_that_refreshes_itself_stops_with_the_session_and_sees_the_roles_of_now(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = accounts.sign_in(hub, PERSON, PASSWORD)
    monkeypatch.setattr(session, "token", lambda: token)
    who, turns = session.Person(PERSON, "s0", queries.viewer(hub, PERSON)), Turns()
    with Session(hub.engine) as db, db.begin():
        db.query(Login).one().used_at -= 60
        before = db.query(Login).one().used_at
    assert turns.viewer(hub, who) is not None and turns.viewer(hub, who) is not None
    with Session(hub.engine) as db, db.begin():
        assert db.query(Login).one().used_at == before
        db.get_one(models.Person, PERSON).roles = "administrator"
    viewer = turns.viewer(hub, who)
    assert viewer is not None and viewer.roles == ("administrator",)
    actions.sign_out(hub, token)
    assert turns.viewer(hub, who) is None
    assert refreshing.Turns().viewer(hub, who) is not None  # of a page that has just asked


def test_whoever_was_removed_sees_nothing_at_the_next_refreshing(hub: Hub) -> None:
    turns = Turns()
    gone = session.Person("nobody", "s0", queries.viewer(hub, PERSON))
    assert turns.viewer(hub, gone) is None
