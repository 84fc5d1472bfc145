"""`hansa dashboard`: the consortium's page for the home of a hub, in Streamlit, on this machine's own address only.

In production a web server with TLS stands in front of it (`deploy/`). Everything that would send a reader's data
elsewhere is off: usage statistics, links that ask other companies about an error, details of an exception.
"""

import importlib.util
import os
import threading
import time
import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.request import urlopen

import typer

from hansa.cli.processes import Child, follow_parent
from hansa.errors import Refused

ADDRESS = "127.0.0.1"

_OPTIONS = {
    "server.address": ADDRESS,
    "server.headless": "true",
    "server.enableCORS": "true",  # the check of the websocket's origin
    "server.enableXsrfProtection": "true",
    "server.allowedHosts": f"{ADDRESS},localhost",  # no name that somebody rebinds to this machine
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.maxUploadSize": "1",
    "browser.serverAddress": ADDRESS,
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": "false",
    "logger.level": "warning",
}

_LOOKS = {
    "baseRadius": "0.3rem",
    "headingFontSizes": "1.9rem,1.45rem,1.15rem",
    "headingFontWeights": "650,600,600",
    "metricValueFontSize": "1.6rem",
    "showWidgetBorder": "true",
    "light.primaryColor": "#0f5e7a",
    "light.linkColor": "#0f5e7a",
    "light.backgroundColor": "#ffffff",
    "light.secondaryBackgroundColor": "#f2f5f7",
    "light.textColor": "#16242c",
    "light.borderColor": "#d5dde2",
    "light.sidebar.backgroundColor": "#eaf0f3",
    "dark.primaryColor": "#3d9dbd",
    "dark.linkColor": "#6fc3de",
    "dark.backgroundColor": "#10181d",
    "dark.secondaryBackgroundColor": "#1a252c",
    "dark.textColor": "#e3eaee",
    "dark.borderColor": "#2e3d46",
    "dark.sidebar.backgroundColor": "#0b1216",
}


Port = Annotated[int, typer.Option(min=1024, max=65535, help="Of the page, on 127.0.0.1.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="HANSA_HOME", help="The hub's home; default: the consortium that is up here."),
]


def dashboard(
    home: Home = None,
    port: Port = 8501,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser on it.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """The consortium's page, on this machine, until SIGTERM or Ctrl-C."""
    from hansa.cli.consortium import find_running

    root = home or find_running()
    if with_parent:
        follow_parent()
    typer.echo(f"The page: {address(port)}")
    run_dashboard(root / "hub" if (root / "hub" / "hub.toml").exists() else root, port, open_browser)


def start_dashboard(home: Path, port: int, log: Path) -> Child:
    """The page as a child process; `page_answers` says when it is up."""
    arguments = ["dashboard", "--home", str(home.resolve()), "--port", str(port), "--with-parent"]
    return Child("page", arguments, log)


def run_dashboard(home: Path, port: int, open_browser: bool = False) -> None:
    """Runs Streamlit in this process, as `python -m streamlit run` would, and leaves when it does."""
    if importlib.util.find_spec("streamlit") is None:
        raise Refused("the page needs streamlit: install hansa[dashboard]")
    if not (home / "hub.toml").is_file():
        raise Refused(f"{home} is not the home of a hub: it holds no hub.toml")
    script = _script()
    flags = _OPTIONS | {f"theme.{name}": value for name, value in _LOOKS.items()} | {"server.port": str(port)}
    os.environ["HANSA_HOME"] = str(home.resolve())
    os.chdir(home)  # Streamlit reads a configuration from the current folder: not from where the command was given
    from streamlit.web.cli import main

    if open_browser:
        threading.Thread(target=_open_when_up, args=(port,), daemon=True).start()
    main(["run", script, *(f"--{name}={value}" for name, value in flags.items())], prog_name="streamlit")


def address(port: int) -> str:
    return f"http://{ADDRESS}:{port}"


def page_answers(port: int) -> bool:
    try:
        with urlopen(f"{address(port)}/_stcore/health", timeout=2) as reply:  # noqa: S310  # our own http address
            return bool(reply.status == 200)
    except OSError:
        return False


def _script() -> str:
    spec = importlib.util.find_spec("hansa_dashboard")
    if spec is None or not spec.submodule_search_locations:
        raise Refused("the package hansa_dashboard is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "hub.py")


def _open_when_up(port: int) -> None:
    while not page_answers(port):
        time.sleep(0.2)
    webbrowser.open(address(port))
