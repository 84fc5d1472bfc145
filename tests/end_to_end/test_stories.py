"""Three people and their work in headless Chromium, over four hospitals: who asks, who operates a site, who audits."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.end_to_end.browsing import Place, cell, choose, chromium, go, hospitals, sign_in, tab_of

pytestmark = [pytest.mark.browser, pytest.mark.processes]
FORMULA = "y ~ age + sex + trestbps + thalach + exang + oldpeak"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with hospitals(tmp_path_factory.mktemp("hearts")) as place:
        yield place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, place: Place) -> Iterator[Page]:
    with tab_of(browser, place.url) as page:
        yield page


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
