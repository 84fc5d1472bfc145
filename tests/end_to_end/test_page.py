"""The page in headless Chromium, over a consortium of four hospitals that the command line started."""

import base64
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

import hansa
from hansa.cli.dashboard import address, page_answers, run_dashboard

pytestmark = [pytest.mark.browser, pytest.mark.processes]

CONSORTIUM = Path(hansa.__file__).parent / "demo" / "consortium.toml"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 40.0  # seconds, on a machine that does other things too


class Place(NamedTuple):
    """Where the page is, and who may sign in there."""

    url: str
    name: str
    password: str


def _until(what: str, ready: Callable[[], bool], alive: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert alive.poll() is None, f"waiting for {what}: the process ended with {alive.returncode}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} seconds for {what}"
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(home: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hansa.cli", "local", "up", str(CONSORTIUM), "--home", str(home)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment["XDG_STATE_HOME"] = str(home.parent)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("hearts")
    home, told = root / "home", root / "told"
    with told.open("wb") as output:
        consortium = _start(home, output)
    try:
        _until("the consortium", lambda: "Ctrl-C stops it" in told.read_text(), consortium)
        signs = re.search(r"name (\S+), password (\S+)\)", told.read_text())
        assert signs is not None, told.read_text()
        port = _free_port()
        page = run_dashboard(home / "hub", port)
        try:
            _until("the page", lambda: page_answers(port), page)
            yield Place(address(port), signs[1], signs[2])
        finally:
            _stop(page)
    finally:
        _stop(consortium)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "the browser tests need chromium (apt-get install chromium)"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, place: Place) -> Iterator[Page]:
    """A tab of its own. Whatever it asks of any other machine, and whatever it complains of, fails the test."""
    context = browser.new_context(viewport={"width": 1380, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if _complains(message) else None)
    tab.on(
        "request",
        lambda asked: None if asked.url.startswith((place.url, "data:", "blob:")) else wrong.append(asked.url),
    )
    yield tab
    context.close()
    assert wrong == []


def _complains(message: ConsoleMessage) -> bool:
    """An error; but a page opened below the root finds by a 404 that Streamlit doesn't answer below it."""
    return message.type == "error" and "/_stcore/" not in message.location["url"]


def _sign_in(page: Page, place: Place) -> None:
    page.goto(place.url)
    page.get_by_label("Name", exact=True).fill(place.name)
    page.get_by_label("Password", exact=True).fill(place.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def _go(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def _choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option).first.click()


def _cell(page: Page, text: str) -> Locator:
    """Of a table, which Streamlit paints on a canvas and describes inside it."""
    return page.locator("[role=gridcell]", has_text=text)


def _propose(page: Page, kind: str, label: str, column: str) -> None:
    _go(page, "Propose")
    _choose(page, "Kind", kind)
    expect(page.get_by_test_id("stMain").locator("strong", has_text=kind)).to_be_visible()
    _choose(page, label, column)
    page.keyboard.press("Tab")
    expect(page.get_by_text("no site's numbers, unless more than 1 site colludes")).to_be_visible()
    expect(page.get_by_text("1 site may drop out")).to_be_visible()
    expect(page.get_by_text("No noise is added")).to_be_visible()
    page.get_by_role("button", name="Send the proposal").click()
    expect(page.get_by_role("heading", name=kind)).to_be_visible()


def test_a_wrong_password_is_refused_in_one_sentence_and_no_page_is_shown_without_a_session(
    page: Page, place: Place
) -> None:
    page.goto(f"{place.url}/log")
    page.get_by_label("Name", exact=True).fill(place.name)
    page.get_by_label("Password", exact=True).fill("not the password at all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("name or password is wrong")).to_be_visible()
    expect(page.get_by_role("heading", name="Log")).to_have_count(0)
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)


def test_a_histogram_is_proposed_computed_by_four_sites_and_shown_with_its_plot_and_its_traces(
    page: Page, place: Place
) -> None:
    _sign_in(page, place)
    expect(page.get_by_text("4 of 4")).to_be_visible()
    _propose(page, "Histogram of a column", "Column", "age")
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    expect(page.get_by_text("Rows with a number")).to_be_visible()
    page.get_by_test_id("stTabs").scroll_into_view_if_needed()
    expect(_cell(page, "took part")).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert rows[0] == "from,to,count"
    assert len(rows) == 21
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report").click()
    report = download.value.path().read_text()
    assert "Histogram of a column: age" in report and "<script" not in report
    page.get_by_text("How to be sure of this answer").click()
    page.get_by_role("button", name="Verify this answer").click()
    expect(page.get_by_text(re.compile(r"Every total of \d steps was recomputed, \d+ signatures hold"))).to_be_visible()
    _go(page, "Consents")
    expect(page.get_by_text("4 consented of 4.").first).to_be_visible()
    _go(page, "Log")
    _choose(page, "Act", "released")
    expect(_cell(page, "released").first).to_be_attached()
    page.get_by_role("button", name="Check the tree").click()
    expect(page.get_by_text(re.compile(r"The tree of all \d+ entries holds"))).to_be_visible()
    expect(page.get_by_text("It is the hub that says so")).to_be_visible()


def test_a_summary_shows_its_table_and_the_json_file_has_the_digest_that_the_log_holds(
    page: Page, place: Place
) -> None:
    _sign_in(page, place)
    _propose(page, "Summary of columns", "Columns", "chol")
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    digest = sha256(download.value.path().read_bytes()).hexdigest()
    page.get_by_role("tab", name="Plan").click()
    expect(page.get_by_text(digest)).to_be_visible()
    _go(page, "Log")
    _choose(page, "Act", "released")
    expect(_cell(page, digest)).to_have_count(1)


def test_who_signs_out_sees_the_form_again_and_another_tab_was_never_signed_in(page: Page, place: Place) -> None:
    _sign_in(page, place)
    other = page.context.new_page()
    other.goto(place.url)
    expect(other.get_by_label("Password", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Overview")).to_have_count(0)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [("own", "own", 101), ("own", "http://evil.example", 403), ("evil.example", "http://evil.example", 403)],
)
def test_the_websocket_opens_for_our_own_address_and_for_no_other_origin_or_host(
    place: Place, host: str, origin: str, status: int
) -> None:
    own = place.url.removeprefix("http://")
    connection = http.client.HTTPConnection(own, timeout=PATIENCE)
    headers = {
        "Host": own if host == "own" else host,
        "Origin": place.url if origin == "own" else origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    connection.request("GET", "/_stcore/stream", headers=headers)
    assert connection.getresponse().status == status
    connection.close()
