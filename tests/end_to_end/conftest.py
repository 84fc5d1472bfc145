"""What the browser's tests share: a consortium and a Chromium a file, and a browser of its own a test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.end_to_end.browsing import Place, chromium, hospitals, tab_of


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
