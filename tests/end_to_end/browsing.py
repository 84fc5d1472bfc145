"""Four hospitals and their pages as processes, and headless Chromium before them: for tests and for pictures."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

import hansa
from hansa.cli.dashboard import address, page_answers, run_console, run_dashboard

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
PATIENCE = 120.0  # seconds, on a machine that does other things too


class Place(NamedTuple):
    """Where the hub's page is, who may sign in there, and where everything lies."""

    url: str
    name: str
    password: str
    home: Path


def until(what: str, ready: Callable[[], bool], alive: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert alive.poll() is None, f"waiting for {what}: the process ended with {alive.returncode}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} seconds for {what}"
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(home: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hansa.cli", "local", "up", str(CONSORTIUM), "--home", str(home)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment["XDG_STATE_HOME"] = str(home.parent)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment)


@contextmanager
def hospitals(root: Path) -> Iterator[Place]:
    """Four hospitals that compute together, and the hub's page."""
    home, told = root / "home", root / "told"
    with told.open("wb") as output:
        consortium = _start(home, output)
    try:
        until("the consortium", lambda: "Ctrl-C stops it" in told.read_text(), consortium)
        signs = re.search(r"name (\S+), password (\S+)\)", told.read_text())
        assert signs is not None, told.read_text()
        port = free_port()
        page = run_dashboard(home / "hub", port)
        try:
            until("the page", lambda: page_answers(port), page)
            yield Place(address(port), signs[1], signs[2], home)
        finally:
            stop(page)
    finally:
        stop(consortium)


@contextmanager
def console_of(home: Path) -> Iterator[str]:
    """The console of the site whose home it is: its address."""
    port = free_port()
    console = run_console(home, port)
    try:
        until("the console", lambda: page_answers(port), console)
        yield address(port)
    finally:
        stop(console)


@contextmanager
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found is not None, "the browser tests need chromium (apt-get install chromium)"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def tab_of(browser: Browser, *ours: str, **options: object) -> Iterator[Page]:
    """A browser of its own. Whatever it asks of an address that is not one of `ours`, and whatever it complains of,
    fails."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1380, "height": 1000}, **options})  # type: ignore[arg-type]
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if _complains(message) else None)
    tab.on(
        "request", lambda asked: None if asked.url.startswith((*ours, "data:", "blob:")) else wrong.append(asked.url)
    )
    yield tab
    context.close()
    assert wrong == []


def _complains(message: ConsoleMessage) -> bool:
    """An error; but a page opened below the root finds by a 404 that Streamlit doesn't answer below it, and a form that
    was refused is an answer of 400."""
    return message.type == "error" and not re.search(r"/_stcore/|/sign-in$|/welcome$", message.location["url"])


def sign_in(page: Page, place: Place) -> None:
    page.goto(place.url)
    page.get_by_label("Name", exact=True).fill(place.name)
    page.get_by_label("Password", exact=True).fill(place.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def go(page: Page, title: str, heading: str = "") -> None:
    """By the navigation, until the page's heading is there: its title, if that is not another."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=heading or title, exact=True)).to_be_visible()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option).first.click()


def cell(page: Page, text: str) -> Locator:
    """Of a table, which Streamlit paints on a canvas and describes inside it."""
    return page.locator("[role=gridcell]", has_text=text)
