"""`make screenshots`: every page in light and dark, at 1280 and 390 pixels, over four hospitals that have computed.

python -m tests.end_to_end.screens FOLDER
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.plan import Question
from tests.end_to_end.browsing import Place, chromium, hospitals, sign_in, tab_of

WIDTHS, LOOKS = (1280, 390), ("light", "dark")
HEART = {"outcome": "y", "family": "binomial", "formula": "age + sex + trestbps + thalach + exang + oldpeak"}


def _ask(hub: Hub, person: str) -> str:
    """Some questions, the last a regression; gives its run."""
    for kind, parameters in (("histogram", {"column": "age"}), ("table", {"rows": "sex", "columns": "cp"})):
        _answered(hub, actions.propose(hub, person, Question(kind, "heart", parameters)))
    return _answered(hub, actions.propose(hub, person, Question("glm", "heart", HEART, purpose="study 2026-14")))


def _answered(hub: Hub, run: str) -> str:
    while (found := queries.job(hub, run)) is None or found.view.ended_at is None:
        pass
    return run


def _pages(place: Place, run: str) -> Iterator[tuple[str, str]]:
    """(name of the picture, address)."""
    from hansa_dashboard.hub import PAGES

    for path, *_ in PAGES:
        yield path, f"{place.url}/{'' if path == 'overview' else path}"
    yield "job", f"{place.url}/job?run={run}"


def _picture(page: Page, address: str, file: Path) -> None:
    page.goto(address)
    expect(page.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    page.wait_for_timeout(700)  # plots and tables paint themselves after the page is there
    page.screenshot(path=file, full_page=True, type="jpeg", quality=62)


def _shoot(browser: Browser, place: Place, run: str, folder: Path) -> None:
    for look in LOOKS:
        for width in WIDTHS:
            size = {"width": width, "height": 1000 if width > 1000 else 844}
            with tab_of(browser, place.url, viewport=size, color_scheme=look) as page:
                page.goto(place.url)
                page.screenshot(path=folder / f"sign-in.{look}.{width}.jpg", type="jpeg", quality=62)
                sign_in(page, place)
                for name, address in _pages(place, run):
                    _picture(page, address, folder / f"{name}.{look}.{width}.jpg")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root, hospitals(Path(root)) as place, chromium() as browser:
        run = _ask(Hub(place.home / "hub"), place.name)
        _shoot(browser, place, run, folder)


if __name__ == "__main__":
    main()
