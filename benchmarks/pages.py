"""The page over a hub with 10 000 jobs and 1 000 000 entries of the log: what a run of each view takes.

Rows are as the hub writes them, but that entries share a signature: the page looks at none. The first run of a view is
that of somebody who comes to it; a rerun is what a click on it costs. Streamlit's own AppTest runs the whole script,
sign-in and menu included, in this process. Then the page is served and opened in Chromium: the first paint, and the
moment at which the heading of the view is there.
"""

import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session
from tests import cards

import hansa
from hansa.audit import log as entries
from hansa.audit.log import Entry
from hansa.crypto.bundles import HUB_BYTES
from hansa.hub import accounts, actions, log, people, settings
from hansa.hub.actions import Hub
from hansa.hub.models import Concerned, Event, Job, Member, Participant, RoundRow
from hansa.jobs import EXAMPLES, encode_answer
from hansa.jobs.base import Column, Schema
from hansa.mail.database import migrate
from hansa.messages import HUB, encode
from hansa.plan import Plan, Question, make
from hansa.wrapping import Way

JOBS = int(os.environ.get("JOBS", "10000"))
ENTRIES = int(os.environ.get("ENTRIES", "1000000"))
SITES = tuple(f"s{place}" for place in range(8))
OPEN_ONES = 12  # of the newest
BATCH = 20_000
RUNS = 7
NAME, PASSWORD = "ada", "a password that is long"
_PAINTS = "performance.getEntriesByName('first-contentful-paint')"
VIEWS = ("overview", "jobs", "job", "consents", "log")
SCHEMA = Schema("heart", (Column("age", "number"), Column("ill", "number"), Column("ward", "text", "", ("n", "s"))))
QUESTIONS = (
    Question("histogram", "heart", {"column": "age"}),
    Question("table", "heart", {"rows": "ward", "columns": "ill"}),
    Question("summary", "heart", {"columns": ["age"]}),
    Question("glm", "heart", {"formula": "ill ~ age + ward", "family": "binomial"}),
)


def lines() -> Iterable[str]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        hub, run = _filled(Path(folder))
        yield f"| {JOBS:,} jobs and {ENTRIES:,} entries written | {time.perf_counter() - began:.0f} s | |"
        os.environ.update(HANSA_HOME=folder, STREAMLIT_LOGGER_LEVEL="error")
        for name in VIEWS:
            first, again = _measure(hub, name, run)
            yield f"| {name} | {first * 1e3:.0f} ms | {again * 1e3:.0f} ms |"
        yield from _in_browser(Path(folder), run)
        hub.engine.dispose()
        hub.reading.dispose()


def _measure(hub: Hub, name: str, run: str) -> tuple[float, float]:
    """Medians of a first run, in a session of its own, and of reruns; the process has run the script before."""
    _ran(_page(hub, name, run))
    firsts = [_ran(_page(hub, name, run)) for _ in range(RUNS)]
    page = _page(hub, name, run)
    _ran(page)
    return median(firsts), median([_ran(page) for _ in range(RUNS)])


def _page(hub: Hub, name: str, run: str) -> Any:
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    import hansa_dashboard.hub
    from hansa_dashboard import session

    page = AppTest.from_file(hansa_dashboard.hub.__file__, default_timeout=120)
    token = accounts.sign_in(hub, NAME, PASSWORD)
    session.token = lambda: token  # in place of a browser's cookie
    page._page_hash = calc_hash("" if name == "overview" else name)  # by the address that `hub.py` gives it
    if name == "job":
        page.query_params["run"] = run
    return page


def _ran(page: Any) -> float:
    start = time.perf_counter()
    page.run()
    taken = time.perf_counter() - start
    if page.exception or not page.title:
        raise SystemExit(f"the page failed: {[one.value for one in page.exception]}")
    return taken


def _in_browser(home: Path, run: str) -> Iterator[str]:
    """From the address typed in by somebody who is signed in; the process has drawn a page before."""
    from playwright.sync_api import expect
    from tests.end_to_end import browsing

    port = browsing.free_port()
    served = browsing.run_dashboard(home, port)
    try:
        browsing.until("the page", lambda: browsing.page_answers(port), served)
        place = browsing.Place(browsing.address(port), NAME, PASSWORD, home)
        with browsing.chromium() as browser, browsing.tab_of(browser, place.url) as tab:
            browsing.sign_in(tab, place)
            for name in VIEWS:
                path = {"overview": "", "job": f"job?run={run}"}.get(name, name)
                paints, heads = [], []
                for _ in range(RUNS):
                    began = time.perf_counter()
                    tab.goto(f"{place.url}/{path}")
                    expect(tab.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()
                    heads.append(time.perf_counter() - began)
                    tab.wait_for_function(f"{_PAINTS}.length > 0")
                    paints.append(tab.evaluate(f"{_PAINTS}[0].startTime"))
                yield f"| {name}, in Chromium | paint {median(paints):.0f} ms, heading {median(heads) * 1e3:.0f} ms | |"
    finally:
        browsing.stop(served)


# ---- a hub that was used for years ----


def _filled(folder: Path) -> tuple[Hub, str]:
    """The hub, and the run of an answered job."""
    charter = cards.charter(SITES)
    signed = cards.signed(charter, {site: cards.member_keys(place) for place, site in enumerate(SITES)})
    settings.make_keys(folder, cards.seeds(255, HUB_BYTES), Way(passphrase_file="passphrase"))
    (folder / "charter").write_bytes(signed)
    (folder / "hub.toml").write_text(f'database = "sqlite:///{folder}/hub.db"\nprivate = ""\n[mailboxes]\n')
    hub = Hub(folder)
    migrate(hub.engine, "hub")
    now = time.time()
    plans = _plans(hub, now)
    with Session(hub.engine) as db, db.begin():
        for site in SITES:
            db.add(Member(site=site, version=hansa.__version__, tables=encode((SCHEMA,)), seen_at=now))
        people.add_person(db, NAME, SITES[0], PASSWORD)
    for table, rows in _rows(plans, now):
        with hub.engine.begin() as connection:
            connection.execute(insert(table), rows)
    _fill_log(hub, [plan.run for plan in plans], now)
    return hub, plans[-OPEN_ONES - 1].run


def _plans(hub: Hub, now: float) -> list[Plan]:
    """Each over four of the eight sites, so that half of them concern any one member."""
    found = []
    for number in range(JOBS):
        sites = tuple(sorted(SITES[(number + step) % len(SITES)] for step in range(4)))
        schemas, asked = dict.fromkeys(sites, SCHEMA), QUESTIONS[number % len(QUESTIONS)]
        charter, run = hub.desk.charter, secrets.token_hex(16)
        found.append(make(asked, charter, run, sites[0], schemas, expires=int(now) + 3600))
    return found


def _rows(plans: Sequence[Plan], now: float) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """By table, in an order that foreign keys allow."""
    jobs, concerned, parts, events, rounds = [], [], [], [], []
    for place, plan in enumerate(plans):
        is_open, asked = place >= len(plans) - OPEN_ONES, now - (len(plans) - place) * 3600.0
        jobs.append(_job(plan, place, asked, is_open))
        concerned += [{"run": plan.run, "member": member, "place": place} for member in actions.concerned(plan)]
        parts += [_part(plan.run, site, asked, is_open) for site in plan.sites]
        told = ["proposed", "signed the plan", f"consent was asked of {len(plan.sites)} sites", "step 1: bins"]
        events += [{"run": plan.run, "at": asked + at, "site": "", "text": line} for at, line in enumerate(told)]
        events += [{"run": plan.run, "at": asked + 3, "site": site, "text": "consents"} for site in plan.sites]
        replied = encode(dict.fromkeys(plan.sites, 0.4))
        rounds += [
            {"run": plan.run, "number": number, "step": 0, "stage": stage, "replied": replied}
            | {"opened_at": asked + 3 + number, "closed_at": asked + 4 + number}
            for number, stage in enumerate(("agreeing on keys",) * 4 + ("computing",), 1)
        ]
    yield from ((Job, jobs), (Concerned, concerned), (Participant, parts), (Event, events), (RoundRow, rounds))


def _job(plan: Plan, place: int, asked: float, is_open: bool) -> dict[str, Any]:
    answer = None if is_open else encode_answer(EXAMPLES[plan.kind].answer)
    return {
        "run": plan.run, "plan": plan.encoded, "person": NAME, "status": "consenting" if is_open else "done",
        "reason": "", "created_at": asked, "place": place, "table_name": plan.table, "kind": plan.kind,
        "proposer": plan.proposer, "ended_at": None if is_open else asked + 9, "attempt": 1, "agreed": 4, "step": 0,
        "round": 5, "quorum": 3, "deadline": asked + 3600 if is_open else None, "answer": answer,
        "answer_digest": None if is_open else bytes(32),
    }  # fmt: skip


def _part(run: str, site: str, asked: float, is_open: bool) -> dict[str, Any]:
    return {
        "run": run, "site": site, "consent": bytes(64), "asked": is_open, "active": True, "steps": 1,
        "stage": "asked for consent" if is_open else "took part", "reason": "", "bytes_sent": 40_000,
        "bytes_received": 60_000, "changed_at": asked + 8,
    }  # fmt: skip


def _fill_log(hub: Hub, runs: Sequence[str], now: float) -> None:
    """Of a hub's acts and eight members', in turns."""
    authors, of_hub = (HUB, *SITES), ("consent asked", "survivors locked", "total opened", "released", "ended")
    of_member = ("contributed", "locked", "unmasked", "release agreed")
    origin, sequences = hub.desk.charter.origin, dict.fromkeys((HUB, *SITES), 0)
    for start in range(0, ENTRIES, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, ENTRIES)):
            by = authors[number % len(authors)]
            acts = of_hub if by == HUB else of_member
            act = acts[sequences[by] % len(acts)]
            at = int((now - (ENTRIES - number) * 30) * 1000)
            entry = Entry(origin, by, sequences[by], at, act, runs[number * len(runs) // ENTRIES], {"step": "0"}, b"")
            sequences[by] += 1
            batch.append((encode(entries.Signed(encode(entry), bytes(64))), entry))
        with Session(hub.engine) as db, db.begin():
            log.append(db, batch)
