"""Three people and their work in headless Chromium, over four hospitals: who asks, who operates a site, who audits."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.browsing import Place, cell, choose, console_of, go, sign_in, tab_of

pytestmark = [pytest.mark.browser, pytest.mark.processes]
PASSPHRASE = "a passphrase of sue's"
KEY = "Passphrase of your key"
FORMULA = "y ~ age + sex + trestbps + thalach + exang + oldpeak"


def test_a_submitter_asks_for_a_logistic_regression_and_says_who_learnt_what_in_twelve_clicks(
    page: Page, place: Place
) -> None:
    sign_in(page, place)  # one click
    go(page, "Propose")  # two
    choose(page, "Kind", "Regression")  # four
    page.get_by_label("Formula", exact=True).fill(FORMULA)  # five
    choose(page, "Family", "binomial")  # seven
    expect(page.get_by_text("no site's numbers, unless more than 1 site colludes")).to_be_visible()
    expect(page.get_by_role("heading", name="What each choice costs")).to_be_visible()
    expect(cell(page, "exact (chosen)")).to_have_count(1)
    expect(cell(page, "exact totals").first).to_be_attached()
    page.get_by_role("button", name="Send the proposal").click()  # eight
    expect(page.get_by_role("heading", name="Regression")).to_be_visible()
    page.get_by_role("tab", name="Who learned what").click()  # nine
    expect(page.get_by_text("The answer holds the numbers of cleveland, hungarian")).to_be_visible()
    expect(page.get_by_text("of every iteration the score, the information matrix")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report").click()  # ten
    report = download.value.path().read_text()
    assert "Regression" in report and "The hub learns no site" in report and "<script" not in report


@pytest.fixture(scope="module")
def sue(place: Place) -> Path:
    """A person of the site va with every role: the site's home, whose console she uses."""
    home = place.home / "sites" / "va"
    secret = place.home / "sue"
    secret.write_text(PASSPHRASE)
    roles = "administrator, steward, approver, auditor"
    command = ["site", "add-person", "--home", str(home), "sue", "--roles", roles, "--passphrase-file", str(secret)]
    subprocess.run([sys.executable, "-m", "hansa.cli", *command], check=True)
    return home


def _enter(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Name", exact=True).fill("sue")
    page.get_by_label(KEY, exact=True).fill(PASSPHRASE)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("stSidebarNav")).to_be_visible()


def _bind(page: Page, button: str, reason: str = "") -> None:
    """Presses a button that binds, with the passphrase beside it."""
    form = page.get_by_test_id("stForm").filter(has=page.get_by_role("button", name=button, exact=True)).first
    if reason:
        form.get_by_label("Reason").fill(reason)
    form.get_by_label(KEY, exact=True).fill(PASSPHRASE)
    form.get_by_role("button", name=button, exact=True).click()


def _ask(place: Place, kind: str, *parameters: str) -> str:
    """Puts a question on the command line and does not wait for the answer; gives its run."""
    plan = place.home / "plan.toml"
    plan.write_text("\n".join([f'kind = "{kind}"', 'table = "heart"', "[parameters]", *parameters]) + "\n")
    command = ["job", "run", str(plan), "--home", str(place.home)]
    told = subprocess.run([sys.executable, "-m", "hansa.cli", *command], check=True, capture_output=True, text=True)
    return told.stdout.split()[-1]


def test_an_operator_sets_a_policy_reads_consents_stops_refuses_and_withdraws(
    browser: Browser, place: Place, sue: Path
) -> None:
    with console_of(sue) as url, tab_of(browser, url) as page:
        _enter(page, url)
        go(page, "Policy")
        page.get_by_label("The policy, in TOML").fill('consents = "person"\nreleases = "person"\n')
        page.get_by_role("button", name="Check", exact=True).click()
        expect(page.get_by_text("This is a policy that this site can go by.")).to_be_visible()
        _bind(page, "Save the policy")
        expect(page.get_by_text("Saved: the site goes by this policy now.")).to_be_visible()
        _ask(place, "table", 'rows = "sex"')
        go(page, "Waiting", "Waiting for a person")
        expect(page.get_by_text("Who learns what").first).to_be_visible()
        expect(page.get_by_text("Yes, by all of its").first).to_be_visible()
        _bind(page, "Consent")
        expect(page.get_by_text("Done: your yes counts.")).to_be_visible()
        go(page, "Jobs")  # the job goes on, as far as this person's yes to its release
        page.get_by_role("button", name="Table of counts").first.click()
        page.get_by_test_id("stExpander").get_by_text("Stop this job here").first.click()
        _bind(page, "Stop this job here", "the ethics board paused the study")
        expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
        _ask(place, "table", 'rows = "cp"')
        go(page, "Waiting", "Waiting for a person")
        _bind(page, "Refuse", "not in this study")
        expect(page.get_by_text("Refused.", exact=True)).to_be_visible()
        go(page, "Tables")
        page.get_by_test_id("stExpander").get_by_text("Withdraw this table").first.click()
        _bind(page, "Withdraw this table", "the consent form was wrong")
        expect(page.get_by_text("The table heart is withdrawn.")).to_be_visible()


def test_an_auditor_finds_verifies_compares_two_members_copies_and_signs_off(
    browser: Browser, page: Page, place: Place, sue: Path
) -> None:
    sign_in(page, place)
    go(page, "Audit")
    page.get_by_text("Filters").click()
    choose(page, "Act", "consent given")
    page.keyboard.press("Escape")
    expect(cell(page, "consent given").first).to_be_attached()
    _part(page, "Verification")
    page.get_by_role("button", name="Verify as an auditor would").click()
    expect(page.get_by_text("Everything holds.")).to_be_visible()
    heads = [_head(place, site) for site in ("va", "cleveland")]
    _part(page, "Comparison")
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible()
    page.locator("input[type=file][multiple]").set_input_files(heads)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("One log:").first).to_be_visible()
    with console_of(sue) as url, tab_of(browser, url) as own:
        _enter(own, url)
        go(own, "Log")
        own.get_by_label("What you found").fill("read to the end, nothing to say")
        _bind(own, "Sign off the log")
        expect(own.get_by_text("The log is signed off.")).to_be_visible()
    _part(page, "Sign-offs")
    expect(cell(page, "va").first).to_be_attached()


def _part(page: Page, name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name=name, exact=True).click()


def _head(place: Place, site: str) -> Path:
    """The newest checkpoint that a member's site cosigned, as its operator hands it to the auditor."""
    file = place.home / f"{site}.checkpoint"
    command = ["site", "head", "--home", str(place.home / "sites" / site), "--out", str(file)]
    subprocess.run([sys.executable, "-m", "hansa.cli", *command], check=True)
    return file
