"""The page in headless Chromium, over a consortium of four hospitals that the command line started."""

import base64
import http.client
import re
from hashlib import sha256

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.browsing import PATIENCE, Place
from tests.end_to_end.browsing import cell as _cell
from tests.end_to_end.browsing import choose as _choose
from tests.end_to_end.browsing import go as _go
from tests.end_to_end.browsing import sign_in as _sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes]


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


def _part(page: Page, name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name=name, exact=True).click()


def _filter(page: Page, label: str, text: str) -> None:
    """Types an option: a long list shows only those that are near."""
    page.get_by_text("Filters", exact=True).click()
    page.get_by_role("combobox", name=label, exact=True).click()
    page.keyboard.type(text)
    page.get_by_role("option", name=text, exact=True).first.click()


def test_a_wrong_password_is_refused_in_one_sentence_and_no_page_is_shown_without_a_session(
    page: Page, place: Place
) -> None:
    page.goto(f"{place.url}/log")
    page.get_by_label("Name", exact=True).fill(place.name)
    page.get_by_label("Password", exact=True).fill("not the password at all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    expect(page.get_by_role("heading", name="Log")).to_have_count(0)
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)


def test_a_histogram_is_proposed_computed_by_four_sites_and_shown_with_its_plot_and_its_traces(
    page: Page, place: Place
) -> None:
    _sign_in(page, place)
    expect(page.get_by_test_id("stMetric").get_by_text("4 of 4")).to_be_visible()
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
    _go(page, "Audit")
    _part(page, "Verification")
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
    _go(page, "Audit")
    _filter(page, "Act", "released")
    expect(_cell(page, digest[:16]).first).to_be_attached()


def test_who_signs_out_in_one_tab_is_signed_out_in_every_other(page: Page, place: Place) -> None:
    _sign_in(page, place)
    other = page.context.new_page()
    other.goto(place.url)
    expect(other.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Overview")).to_have_count(0)
    expect(other.get_by_label("Password", exact=True)).to_be_visible()  # the overview asks every few seconds
    expect(other.get_by_role("heading", name="Overview")).to_have_count(0)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [("own", "own", 403), ("own", "http://evil.example", 403), ("evil.example", "http://evil.example", 403)],
)
def test_the_websocket_opens_for_nobody_without_a_session_whatever_the_origin_and_host(
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
