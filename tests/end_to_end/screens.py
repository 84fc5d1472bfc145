"""`make screenshots`: every page in light and dark, at 1280 and 390 pixels, over four hospitals that have computed.

python -m tests.end_to_end.screens FOLDER
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, expect

from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.plan import Question
from tests.end_to_end.browsing import Place, choose, chromium, console_of, hospitals, sign_in, tab_of

WIDTHS, LOOKS = (1280, 390), ("light", "dark")
TALLEST = 2600  # pixels of a picture
WANTED = sys.argv[2:]  # the names of those to make; all, if there is none
HEART = {"outcome": "y", "family": "binomial", "formula": "age + sex + trestbps + thalach + exang + oldpeak"}
CANCER = {"time": "time", "event": "cens", "width": 30}
COX = "horTh + age + menostat + tsize + tgrade + pnodes + progrec"
PASSPHRASE = "a passphrase of sue's"


class Shot(NamedTuple):
    name: str
    address: str


def _computed(hub: Hub, person: str) -> dict[str, str]:
    """Some answers; gives the runs whose pages are pictures, by their names."""
    for kind, parameters in (("histogram", {"column": "age"}), ("table", {"rows": "sex", "columns": "cp"})):
        _answered(hub, person, Question(kind, "heart", parameters))
    fitted = _answered(hub, person, Question("glm", "heart", HEART, purpose="study 2026-14"))
    detail = queries.job(hub, fitted)
    assert detail is not None and detail.answer is not None
    model = {"coefficients": {name: one["estimate"] for name, one in detail.answer["coefficients"].items()}}
    formula = {"formula": HEART["formula"], "outcome": HEART["outcome"]}
    return {
        "answer-kaplan_meier": _answered(hub, person, Question("kaplan_meier", "recurrence", CANCER | {"by": "horTh"})),
        "answer-cox": _answered(hub, person, Question("cox", "recurrence", CANCER | {"formula": COX})),
        "answer-assessment": _answered(hub, person, Question("assessment", "heart", formula | model)),
        "job": fitted,
    }


def _answered(hub: Hub, person: str, question: Question) -> str:
    run = actions.propose(hub, person, question)
    while (found := queries.job(hub, run)) is None or found.view.ended_at is None:
        time.sleep(0.2)
    assert found.view.status == "done", found.view
    return run


def _with_sue(place: Place) -> Path:
    """The home of a site where a person decides."""
    home, secret = place.home / "sites" / "va", place.home / "sue"
    secret.write_text(PASSPHRASE)
    roles = "administrator, steward, approver, auditor"
    command = ["site", "add-person", "--home", str(home), "sue", "--roles", roles, "--passphrase-file", str(secret)]
    subprocess.run([sys.executable, "-m", "hansa.cli", *command], check=True, stdout=subprocess.DEVNULL)
    return home


def _of_hub(place: Place, runs: Mapping[str, str]) -> Iterator[Shot]:
    from hansa_dashboard.hub import PAGES

    for path, *_ in PAGES:
        if path not in ("operations", "people"):  # of roles that this person has not
            yield Shot(path, f"{place.url}/{'' if path == 'overview' else path}")
    for name, run in runs.items():
        yield Shot(name, f"{place.url}/job?run={run}")


def _of_site(url: str) -> Iterator[Shot]:
    from hansa_dashboard.console import PAGES

    for path, *_ in PAGES:
        yield Shot(f"site-{path}", f"{url}/{'' if path == 'overview' else path}")


def _enter(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Name", exact=True).fill("sue")
    page.get_by_label("Passphrase of your key", exact=True).fill(PASSPHRASE)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()


def _shoot(page: Page, shots: Sequence[Shot], folder: Path, look: str, width: int) -> None:
    for shot in shots:
        if WANTED and shot.name not in WANTED:
            continue
        page.set_viewport_size({"width": width, "height": 1000})
        page.goto(shot.address)
        expect(page.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()
        if shot.name == "propose":
            _fill(page)
        page.wait_for_timeout(2500)  # plots and tables paint themselves after the page is there
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(max(int(tall), 600), TALLEST)})
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{shot.name}.{look}.{width}.jpg", type="jpeg", quality=60)


def _fill(page: Page) -> None:
    """A table of counts, up to what each choice would cost."""
    choose(page, "Kind", "Table of counts")
    choose(page, "Rows", "sex")
    expect(page.get_by_role("heading", name="What each choice costs")).to_be_visible()


def _all(browser: Browser, place: Place, runs: Mapping[str, str], site: tuple[str, Path]) -> None:
    url, folder = site
    for look in LOOKS:
        for width in WIDTHS:
            with tab_of(browser, place.url, url, color_scheme=look) as page:
                page.set_viewport_size({"width": width, "height": 800})
                page.goto(place.url)
                page.screenshot(path=folder / f"sign-in.{look}.{width}.jpg", type="jpeg", quality=60)
                sign_in(page, place)
                _shoot(page, list(_of_hub(place, runs)), folder, look, width)
                _enter(page, url)
                _shoot(page, list(_of_site(url)), folder, look, width)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root, hospitals(Path(root)) as place, chromium() as browser:
        hub = Hub(place.home / "hub")
        runs, home = _computed(hub, place.name), _with_sue(place)
        with console_of(home) as url:
            with tab_of(browser, url) as page:
                _enter(page, url)
                _set_policy(page, url)
            actions.propose(hub, place.name, Question("table", "heart", {"rows": "cp"}, purpose="study 2026-15"))
            _all(browser, place, runs, (url, folder))


def _set_policy(page: Page, url: str) -> None:
    """From now on a person consents there."""
    page.goto(f"{url}/policy")
    page.get_by_label("The policy, in TOML").fill(
        'consents = "person"\n\n[budget.heart]\nepsilon = "10"\ndelta = "1e-5"\n'
    )
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_text("This is a policy that this site can go by.")).to_be_visible()
    page.get_by_label("Passphrase of your key", exact=True).fill(PASSPHRASE)
    page.get_by_role("button", name="Save the policy").click()
    expect(page.get_by_text("Saved: the site goes by this policy now.")).to_be_visible()


if __name__ == "__main__":
    main()
