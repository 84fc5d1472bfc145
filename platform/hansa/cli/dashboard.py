"""Starts the consortium's page for the home of a hub, in Streamlit, on this machine's own address only.

In production a web server with TLS stands in front of it (`deploy/`). Everything that would send a reader's data
elsewhere is off: usage statistics, links that ask other companies about an error, details of an exception.
"""

import importlib.util
import os
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path
from urllib.request import urlopen

from hansa.errors import Refused

ADDRESS = "127.0.0.1"

_OPTIONS = (
    ("server.address", ADDRESS),
    ("server.headless", "true"),
    ("server.enableCORS", "true"),  # the check of the websocket's origin
    ("server.enableXsrfProtection", "true"),
    ("server.allowedHosts", ADDRESS),  # no name that somebody rebinds to this machine
    ("server.allowedHosts", "localhost"),
    ("server.enableStaticServing", "false"),
    ("server.enableAgentApi", "false"),
    ("server.fileWatcherType", "none"),
    ("server.runOnSave", "false"),
    ("server.maxUploadSize", "8"),  # MB; an export in an archive (`hansa.export_zip`)
    ("browser.serverAddress", ADDRESS),
    ("browser.gatherUsageStats", "false"),
    ("client.showErrorDetails", "none"),
    ("client.showErrorLinks", "false"),
    ("client.toolbarMode", "minimal"),
    ("runner.magicEnabled", "false"),
    ("logger.level", "warning"),
)

_LOOKS = {
    "baseRadius": "0.3rem",
    "headingFontSizes": '["1.9rem", "1.45rem", "1.15rem"]',
    "headingFontWeights": "[650, 600, 600]",
    "metricValueFontSize": "1.6rem",
    "paddingTop": "3rem",
    "showWidgetBorder": "true",
    "light.primaryColor": "#0f5e7a",
    "light.linkColor": "#0f5e7a",
    "light.backgroundColor": "#ffffff",
    "light.secondaryBackgroundColor": "#f2f5f7",
    "light.textColor": "#16242c",
    "light.borderColor": "#d5dde2",
    "light.sidebar.backgroundColor": "#eaf0f3",
    "dark.primaryColor": "#2a7f9e",
    "dark.linkColor": "#6fc3de",
    "dark.backgroundColor": "#10181d",
    "dark.secondaryBackgroundColor": "#1a252c",
    "dark.textColor": "#e3eaee",
    "dark.borderColor": "#2e3d46",
    "dark.sidebar.backgroundColor": "#0b1216",
}


def run_dashboard(home: Path, port: int, open_browser: bool = False) -> subprocess.Popen[bytes]:
    """The page's process, started and not yet up: `page_answers` says when it is, and whoever calls ends it."""
    if importlib.util.find_spec("streamlit") is None:
        raise Refused("the page needs streamlit: install hansa[dashboard]")
    if not (home / "hub.toml").is_file():
        raise Refused(f"{home} is not the home of a hub: it holds no hub.toml")
    options = _OPTIONS + tuple((f"theme.{name}", value) for name, value in _LOOKS.items())
    flags = [f"--{name}={value}" for name, value in (*options, ("server.port", str(port)))]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", _script(), *flags],
        cwd=home,  # Streamlit reads a configuration from the current folder: not from where the command was given
        env={**os.environ, "HANSA_HOME": str(home.resolve())},
        stdin=subprocess.DEVNULL,
    )
    if open_browser:
        threading.Thread(target=_open_when_up, args=(process, port), daemon=True).start()
    return process


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


def _open_when_up(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        if page_answers(port):
            webbrowser.open(address(port))
            return
        time.sleep(0.2)
