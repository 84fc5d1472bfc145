"""A site's console over a real home, in Streamlit's own AppTest: who sees which button, and what a press does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session
from streamlit.testing.v1 import AppTest

import hansa_dashboard.console
from hansa.audit.log import Payload
from hansa.files import to_toml
from hansa.hub import models
from hansa.messages import decode
from hansa_dashboard import gate
from hansa_dashboard.at_site import jobs, log, policy, session, signing, tables, waiting
from hansa_site import doing, people
from hansa_site.journal import Alarm, Decided, OwnEntry, Waiting
from hansa_site.policy import Budget
from hansa_site.settings import read_settings
from tests.consoles import ROLES, SITE, Console, quick_keys, secret
from tests.world import OPEN

VIEWS = ("overview", "waiting", "jobs", "left", "tables", "budgets", "policy", "log", "keys")
HOSTILE = "![x](http://evil.example/p.png) <img src=x onerror=alert(1)> :red[no] $x$ **b**"
PLAIN = r"\!\[x\]\(http\:\/\/evil\.example\/p\.png\) \<img"
SIGN, CONSENT, RELEASE = (waiting.LABELS[act] for act in ("sign proposal", "consent", "release"))


@pytest.fixture(autouse=True)
def cheaper_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_keys(monkeypatch)


def view(console: Console, name: str, person: str, patch: pytest.MonkeyPatch, **query: str) -> AppTest:
    console.shown(patch)
    console.signed_in(person, patch)
    source = (
        f"from hansa_dashboard.at_site import session, {name}\n"
        "site = session.doors().site\n"
        f"{name}.show(site, session.person(site))\n"
    )
    page = AppTest.from_string(source, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception, page.exception
    return page


def labels(page: AppTest) -> set[str]:
    return {button.label for button in page.button}


def field(page: AppTest, label: str) -> Any:
    return next(one for one in page.text_input if one.label == label)


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    page.run()
    assert not page.exception, page.exception
    return page


def said(page: AppTest) -> str:
    """All that stands on the page as Markdown of one sort or another."""
    parts = (*page.markdown, *page.caption, *page.error, *page.warning, *page.success, *page.info, *page.title)
    return "\n".join(part.value for part in (*parts, *page.subheader))


def others_are_open(console: Console) -> None:
    for name in console.world.names[1:]:
        held = console.world.sites[name]._held
        held.settings = replace(held.settings, policy=OPEN)


# ---- role x view x object ----


class State(NamedTuple):
    console: Console
    run: str


BUTTONS: dict[str, dict[str, set[str]]] = {
    "proposal": {"analyst": {SIGN}, "approver": {SIGN, waiting.REFUSE}, "steward": {waiting.REFUSE}},
    "consent": {"approver": {CONSENT, waiting.REFUSE}, "steward": {waiting.REFUSE}},
    "release": {"approver": {RELEASE, waiting.REFUSE}, "steward": {RELEASE, waiting.REFUSE, waiting.FIGURES}},
    "job": {"approver": {jobs.STOP}, "steward": {jobs.STOP}},
    "tables": {"steward": {tables.WITHDRAW}},
    "policy": {
        "steward": {policy.CHECK, policy.TRY, policy.SAVE, policy.AGAIN},
        "administrator": {policy.CHECK, policy.TRY, policy.SAVE, policy.AGAIN},
    },
    "log": {"auditor": {log.SIGN_OFF}},
    "overview": {},
    "jobs": {},
    "left": {},
    "budgets": {},
    "keys": {},
}
ALWAYS = {"job": {"All jobs"}, "tables": {tables.LOOK}, "overview": {"Look"}}  # to look at more
ONE_OF = {"analyst": "ada", "approver": "ann", "steward": "sue", "auditor": "eva", "administrator": "ed"}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, State]]:
    """A site in each state, which is only looked at: what waits is a proposal, a consent, a release; or a job runs."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        quick_keys(patch)
        for what, asks in (
            ("proposal", "proposals"),
            ("consent", "consents"),
            ("release", "releases"),
            ("running", ""),
        ):
            folder = tmp_path_factory.mktemp(what)
            console = Console(folder, replace(OPEN, **{asks: "person"}) if asks else OPEN)
            others_are_open(console)
            run = console.ask()
            console.until(run, what)
            found[what] = State(console, run)
        yield found


@pytest.mark.parametrize("role", ONE_OF)
@pytest.mark.parametrize("shown", BUTTONS)
def test_every_role_sees_the_buttons_of_what_it_may_do_and_no_other(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch, shown: str, role: str
) -> None:
    state = states[shown if shown in states else "running"]
    name = {"proposal": "waiting", "consent": "waiting", "release": "waiting", "job": "jobs"}.get(shown, shown)
    query = {"run": state.run} if shown == "job" else {}
    page = view(state.console, name, ONE_OF[role], monkeypatch, **query)
    found = labels(page) - (
        {button for button in labels(page) if button.startswith("**")} if shown == "jobs" else set()
    )
    assert found == BUTTONS[shown].get(role, set()) | ALWAYS.get(shown, set())
    assert bool([one for one in page.text_input if one.label == signing.PASSPHRASE]) == bool(BUTTONS[shown].get(role))


@pytest.mark.parametrize("role", ONE_OF)
def test_an_answer_that_waits_is_shown_to_those_who_decide_about_it_alone(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    page = view(states["release"].console, "waiting", ONE_OF[role], monkeypatch)
    decides = role in ("approver", "steward")
    assert bool(page.metric) == decides
    assert ("shown to those here who decide" in said(page)) == (not decides)


def test_the_person_who_signed_a_proposal_is_offered_no_consent_to_it(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    console, run = states["consent"]
    with Session(console.engine) as db, db.begin():
        row = {"digest": bytes(32), "run": run, "person": "ann", "what": "sign proposal", "data": b"", "signature": b""}
        db.add(Decided(**row, at=0.0, done_at=1.0, refusal=""))
    page = view(console, "waiting", "ann", monkeypatch)
    assert labels(page) == {waiting.REFUSE} and "somebody else must say yes" in said(page)
    assert CONSENT in labels(view(console, "waiting", "bob", monkeypatch))
    with Session(console.engine) as db, db.begin():
        db.delete(db.get_one(Decided, bytes(32)))


def test_every_view_can_be_shown_before_anything_happened_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(tmp_path, replace(OPEN, budget={"numbers": Budget("1", "1e-6")}))
    for name in VIEWS:
        view(console, name, "sue", monkeypatch)
    run = console.ask()
    assert console.world.finish(run).status == models.DONE
    console.world.drain()
    for name in VIEWS:
        view(console, name, "sue", monkeypatch)
    page = view(console, "jobs", "sue", monkeypatch, run=run)
    assert "as this site agreed to it" in said(page) and len(page.metric) >= 4
    assert "no such job" in said(view(console, "jobs", "sue", monkeypatch, run="f" * 32))
    assert not view(console, "jobs", "ed", monkeypatch, run=run).metric, "an administrator reads no answers"


# ---- the page as a whole ----


def whole(console: Console, patch: pytest.MonkeyPatch) -> AppTest:
    console.shown(patch)
    page = AppTest.from_file(hansa_dashboard.console.__file__, default_timeout=60).run()
    assert not page.exception, page.exception
    return page


def test_without_a_session_there_is_nothing_to_see(states: dict[str, State], monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (b"", bytes(32)):
        monkeypatch.setattr(session, "token", lambda token=token: token)
        page = whole(states["consent"].console, monkeypatch)
        assert [part.value for part in page.info] == [hansa_dashboard.console.OVER]
        assert not page.metric and not page.title and not page.button


def test_what_is_no_token_is_none(states: dict[str, State], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSA_SITE_HOME", str(states["consent"].console.home))

    class Context(NamedTuple):
        cookies: dict[str, str]

    monkeypatch.setattr(session.st, "context", Context({gate.cookie(session.doors().name): "not hexadecimal"}))
    assert session.token() == b""


def test_a_person_who_is_removed_or_signs_out_loses_the_page_at_its_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(tmp_path, OPEN)
    console.signed_in("sue", monkeypatch)
    page = whole(console, monkeypatch)
    assert page.title[0].value == SITE and "Signed in as **sue**" in said(page.sidebar)  # type: ignore[arg-type]
    with Session(console.engine) as db, db.begin():
        people.remove(db, "sue", 1.0)
    assert page.run().info[0].value == hansa_dashboard.console.OVER
    console.signed_in("ann", monkeypatch)
    page = press(whole(console, monkeypatch), "Sign out")
    assert page.info[0].value == hansa_dashboard.console.OVER


def test_what_a_tab_holds_of_one_person_is_not_for_the_next(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = states["release"].console
    console.signed_in("sue", monkeypatch)
    page = whole(console, monkeypatch)
    page.session_state[waiting._HELD] = {"run": b"figures"}
    page.session_state["review note"] = "mine"
    console.signed_in("eva", monkeypatch)
    page.run()
    assert waiting._HELD not in page.session_state and "review note" not in page.session_state


def test_exact_figures_are_gone_once_another_page_is_shown(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = states["release"].console
    console.signed_in("sue", monkeypatch)
    page = whole(console, monkeypatch)
    page.session_state[waiting._HELD] = {"run": b"figures"}
    assert page.run().title[0].value == SITE and waiting._HELD not in page.session_state


def test_a_page_that_refreshes_itself_does_not_keep_its_session_alive(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = states["consent"].console
    token = console.signed_in("ann", monkeypatch)
    console.shown(monkeypatch)
    kept = next(iter(console.doors._sessions.values()))
    before = {key: one.used for key, one in console.doors._sessions.items()}
    assert session.still_good() and console.doors.holds(token) and kept
    assert {key: one.used for key, one in console.doors._sessions.items()} == before


# ---- a session alone decides nothing ----


def nothing_was_decided(console: Console) -> bool:
    with Session(console.engine) as db:
        return not db.scalars(select(Decided)).all()


ACTS = (
    ("waiting", "ann", "consent", CONSENT),
    ("waiting", "ann", "consent", waiting.REFUSE),
    ("waiting", "ada", "proposal", SIGN),
    ("waiting", "sue", "release", RELEASE),
    ("waiting", "sue", "release", waiting.FIGURES),
    ("jobs", "ann", "running", jobs.STOP),
    ("tables", "sue", "running", tables.WITHDRAW),
    ("policy", "ed", "running", policy.SAVE),
    ("log", "eva", "running", log.SIGN_OFF),
)


@pytest.mark.parametrize("typed", ["", "the passphrase of bob"])
@pytest.mark.parametrize(("name", "person", "state", "label"), ACTS)
def test_a_press_without_the_own_passphrase_decides_nothing_and_keeps_what_was_typed_nowhere(
    states: dict[str, State],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    person: str,
    state: str,
    label: str,
    typed: str,
) -> None:
    console, run = states[state]
    monkeypatch.setattr(doing, "WAIT_SECONDS", 0.0)
    console.shown(monkeypatch)
    console.doors._backoff._of.clear()
    if name == "log":
        console.world.run_until(lambda: bool(log.showing.head(console.doors.site)))
    page = view(console, name, person, monkeypatch, **({"run": run} if name == "jobs" else {}))
    if label == log.SIGN_OFF:
        page.text_area[0].input("a note")
    field(page, signing.PASSPHRASE).input(typed)
    press(page, label)
    assert "passphrase is wrong" in " ".join(part.value for part in page.error)
    assert nothing_was_decided(console)
    assert not typed or typed not in repr(page.session_state)
    assert field(page, signing.PASSPHRASE).value == ""


def test_after_five_wrong_passphrases_a_session_has_to_wait(
    states: dict[str, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = states["consent"].console
    page = view(console, "waiting", "bob", monkeypatch)
    for _ in range(5):
        field(page, signing.PASSPHRASE).input("wrong")
        press(page, CONSENT)
    field(page, signing.PASSPHRASE).input(secret("bob"))
    press(page, CONSENT)
    assert "too many wrong tries" in page.error[0].value and nothing_was_decided(console)
    console.doors._backoff._of.clear()


# ---- what a press does ----


def sign(page: AppTest, console: Console, person: str, label: str) -> AppTest:
    field(page, signing.PASSPHRASE).input(secret(person))
    with console.running():
        return press(page, label)


def test_people_sign_a_proposal_consent_to_it_see_figures_and_release_it_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(tmp_path, replace(OPEN, proposals="person", consents="two persons", releases="person"))
    others_are_open(console)
    run = console.ask(purpose="study 2026-14")
    console.until(run, "proposal")
    page = sign(view(console, "waiting", "ada", monkeypatch), console, "ada", SIGN)
    assert [part.value for part in page.success] == ["Done\\: your yes counts\\."] and "Nothing waits" in said(page)
    console.until(run, "consent")
    page = view(console, "waiting", "ann", monkeypatch)
    text = said(page)
    for part in (
        r"**s0** asks for **Histogram of a column\: x**",
        r"study 2026\-14",
        "2 persons must say yes",
        "means: this site adds",
    ):
        assert part in text, part
    page = sign(page, console, "ann", CONSENT)
    assert "You have said yes" in said(page) and "ann has said yes; 1 person more" in said(page)
    sign(view(console, "waiting", "bob", monkeypatch), console, "bob", CONSENT)
    console.until(run, "release")
    page = view(console, "waiting", "sue", monkeypatch)
    assert not page.session_state[waiting._HELD]
    figures = page.text_input[0]
    assert figures.label == signing.PASSPHRASE
    figures.input(secret("sue"))
    with console.running():
        press(page, waiting.FIGURES)
    assert "**The exact figures**" in said(page) and ("figures seen" in dict(console.acts()))
    sign(page, console, "sue", RELEASE)
    assert console.world.finish(run).status == models.DONE
    assert not page.run().session_state[waiting._HELD], "figures stay no longer than the question"


def test_a_refusal_a_stop_and_a_withdrawal_reach_the_others_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(tmp_path, replace(OPEN, consents="person"))
    others_are_open(console)
    run = console.ask()
    console.until(run, "consent")
    page = view(console, "waiting", "sue", monkeypatch)
    page.text_input[0].input("not without our board")
    sign(page, console, "sue", waiting.REFUSE)
    assert "not without our board" in console.world.finish(run).reason
    second = console.ask()
    console.until(second, "consent")
    sign(view(console, "waiting", "ann", monkeypatch), console, "ann", CONSENT)
    console.until(second, "running")
    page = view(console, "jobs", "ann", monkeypatch, run=second)
    page.text_input[0].input("enough")
    sign(page, console, "ann", jobs.STOP)
    assert "refused: enough" in said(page).replace("\\", "") and jobs.STOP not in labels(page)
    assert "enough" in console.world.finish(second).reason
    page = sign(view(console, "tables", "sue", monkeypatch), console, "sue", tables.WITHDRAW)
    assert "Withdrawn" in said(page) and tables.WITHDRAW not in labels(page)
    assert "was withdrawn" in console.world.finish(console.ask()).reason


def test_an_auditor_signs_off_the_log_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(tmp_path, OPEN)
    console.world.finish(console.ask())
    console.world.drain()
    page = view(console, "log", "eva", monkeypatch)
    page.text_area[0].input(f"read to the end {HOSTILE}")
    page = sign(page, console, "eva", log.SIGN_OFF)
    assert "**eva**" in said(page) and PLAIN in said(page)
    with Session(console.engine) as db:
        row = db.scalars(select(OwnEntry).order_by(OwnEntry.sequence.desc())).first()
        assert row is not None and decode(row.payload, Payload).content.startswith(b"read to the end ![x]")


def test_the_policy_is_checked_tried_and_set_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(tmp_path, OPEN)
    run = console.ask()
    console.world.finish(run)
    page = view(console, "policy", "sue", monkeypatch)
    assert "The site goes by this policy" in said(page)
    page.text_area[0].input('kinds = ["tabel"]')
    assert "names \\'tabel\\'" in press(page, policy.CHECK).error[0].value
    page.text_area[0].input('kinds = ["table"]')
    assert "can go by" in press(page, policy.CHECK).success[0].value
    press(page, policy.TRY)
    assert "would answer **0**; **1** differently" in said(page)
    tried = page.dataframe[0].value
    assert tried["Now"].tolist() == ["yes"] and "does not allow the kind" in tried["With this text"].tolist()[0]
    sign(page, console, "sue", policy.SAVE)
    assert "Saved" in said(page) and read_settings(console.home).policy.kinds == ("table",)
    assert page.text_area[0].value == 'kinds = ["table"]' and "- " in said(page) and "sue" in said(page)
    (console.home / "policy.toml").write_text(to_toml({"kinds": ["glm"]}))
    page.run()
    assert "changed since you began" in said(page) and "changed by hand" in said(page)
    sign(page, console, "sue", policy.SAVE)
    assert "changed in the meantime" in page.error[0].value
    assert press(page, policy.AGAIN).text_area[0].value == 'kinds = ["glm"]\n'


def test_what_nobody_works_off_is_said_to_be_handed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(tmp_path, replace(OPEN, consents="person"))
    run = console.ask()
    console.until(run, "consent")
    monkeypatch.setattr(doing, "WAIT_SECONDS", 0.0)
    page = view(console, "waiting", "ann", monkeypatch)
    field(page, signing.PASSPHRASE).input(secret("ann"))
    press(page, CONSENT)
    assert "site\\'s process does not answer" in page.warning[0].value


# ---- what others typed ----


def test_what_others_typed_is_shown_as_it_is_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(tmp_path, replace(OPEN, consents="person"))
    others_are_open(console)
    run = console.ask(purpose=HOSTILE)
    console.until(run, "consent")
    with Session(console.engine) as db, db.begin():
        db.add(Alarm(sort="fork", at=1.0, text=HOSTILE, evidence=b"", closed_at=None))
        db.add(Alarm(sort="fork", at=1.0, text=HOSTILE, evidence=b"", closed_at=2.0))
    shown = {name: said(view(console, name, "ann", monkeypatch)) for name in ("waiting", "log")}
    assert PLAIN in shown["waiting"] and shown["log"].count(PLAIN) == 2
    page = view(console, "waiting", "ann", monkeypatch)
    next(one for one in page.text_input if one.label != signing.PASSPHRASE).input(HOSTILE)
    sign(page, console, "ann", waiting.REFUSE)
    shown["job"] = said(view(console, "jobs", "ann", monkeypatch, run=run))
    shown["jobs"] = said(view(console, "jobs", "ann", monkeypatch))
    assert PLAIN in shown["job"]
    for name, text in shown.items():
        assert "![x](" not in text and "<img" not in text.replace("\\<img", "") and ":red[" not in text, name


def test_a_policy_says_no_line_by_line_and_nobody_is_offered_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(tmp_path, replace(OPEN, consents="person"))
    run = console.ask()
    console.until(run, "consent")
    stricter = replace(OPEN, consents="person", kinds=("table",), purposes=("study",))
    (console.home / "policy.toml").write_text(to_toml(msgspec.to_builtins(stricter)))
    page = view(console, "waiting", "ann", monkeypatch)
    assert "No, by 2 rules" in page.error[0].value and "**purposes**" in page.error[0].value
    assert labels(page) == {waiting.REFUSE} and "Nobody here can say yes to what the policy refuses" in said(page)


def test_noise_is_told_with_what_it_costs_of_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hansa.plan import noise_from

    held = replace(OPEN, consents="person", budget={"numbers": Budget("1", "1e-6")})
    console = Console(tmp_path, held)
    others_are_open(console)
    run = console.ask(noise=noise_from({"epsilon": "0.5", "delta": "1e-6"}, "the test"))
    console.until(run, "consent")
    page = view(console, "waiting", "ann", monkeypatch)
    assert "of the budget" in said(page) and "Noise hides one row" in said(page).replace("\\", "")


def test_the_watch_over_what_waits_sees_that_it_changed(states: dict[str, State]) -> None:
    from hansa_site import showing

    console, run = states["consent"]
    site = console.doors.site
    before = showing.marks(site)
    assert showing.marks(site) == before
    with Session(console.engine) as db, db.begin():
        db.get_one(Waiting, (run, "consent")).closed_at = 1.0
    assert showing.marks(site) != before
    with Session(console.engine) as db, db.begin():
        db.get_one(Waiting, (run, "consent")).closed_at = None
    assert showing.marks(site) == before


def test_every_role_of_the_table_has_a_person_here() -> None:
    assert {role for roles in ROLES.values() for role in roles.split(", ")} == set(ONE_OF)
