"""Starts a page for the home of a hub or a site, behind its gate, on this machine's own address only."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path
from urllib.request import urlopen

import typer

from hansa.cli.processes import follow_parent
from hansa.errors import Refused

ADDRESS = "127.0.0.1"


def run_dashboard(home: Path, port: int, open_browser: bool = False) -> subprocess.Popen[bytes]:
    """The hub's page: a process, started and not yet up. `page_answers` says when it is, and whoever calls ends it."""
    if not (home / "hub.toml").is_file():
        raise Refused(f"{home} is not the home of a hub: it holds no hub.toml")
    return _run("hub", home, port, open_browser)


def run_console(home: Path, port: int, open_browser: bool = False) -> subprocess.Popen[bytes]:
    """A site's console, likewise."""
    if not (home / "site.toml").is_file():
        raise Refused(f"{home} is not the home of a site: it holds no site.toml")
    return _run("site", home, port, open_browser)


def _run(which: str, home: Path, port: int, open_browser: bool) -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("streamlit") is None or importlib.util.find_spec("hansa_dashboard") is None:
        raise Refused("the page needs streamlit: install hansa[dashboard]")
    process = subprocess.Popen(
        [sys.executable, "-m", "hansa_dashboard.serving", which, str(home.resolve()), str(port)],
        cwd=home,  # Streamlit reads a configuration from the current folder: not from where the command was given
        env=os.environ.copy(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # where Streamlit greets; what goes wrong goes to the other
    )
    if open_browser:
        threading.Thread(target=_open_when_up, args=(process, port), daemon=True).start()
    return process


def stay(page: subprocess.Popen[bytes], with_parent: bool, told: str) -> None:
    """Until the page ends, Ctrl-C, or its parent's end; says `told` to whoever sits at the terminal."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: page.terminate())
    if with_parent:
        follow_parent()
    else:
        typer.echo(f"{told}   Ctrl-C stops it.")
    try:
        status = page.wait()
    except KeyboardInterrupt:
        page.terminate()
        status = page.wait(10)
    if status not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise Refused(f"the page ended with status {status}")


def address(port: int) -> str:
    return f"http://{ADDRESS}:{port}"


def page_answers(port: int) -> bool:
    try:
        with urlopen(f"{address(port)}/sign-in", timeout=2) as reply:  # noqa: S310  # our own http address
            return bool(reply.status == 200)
    except OSError:
        return False


def _open_when_up(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        if page_answers(port):
            webbrowser.open(address(port))
            return
        time.sleep(0.2)
