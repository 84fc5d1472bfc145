"""Runs a page behind its gate: `python -m hansa_dashboard.serving hub|site HOME PORT`, on this machine's own address.

In production a web server with TLS stands before it; `[page]` in the home's settings says under which address people
reach that. Whatever would send a reader's data elsewhere is off: usage statistics, links that ask other companies about
an error, details of an exception.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit
from starlette.middleware import Middleware

from hansa.errors import Refused
from hansa_dashboard.gate import Doors, Gate, Place
from hansa_dashboard.look import LOOK

ADDRESS = "127.0.0.1"
_HERE = Path(__file__).parent
_INDEX = Path(streamlit.__file__).parent / "static" / "index.html"

OPTIONS: Mapping[str, Any] = {
    "server.address": ADDRESS,
    "server.headless": True,
    "server.enableCORS": True,  # the check of the websocket's origin, beside the gate's own
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.enableAgentApi": False,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.maxUploadSize": 8,
    "server.disconnectedSessionTTL": 60,
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": False,
    "logger.level": "warning",
}


def build(script: str, doors: Doors, port: int, url: str = "") -> streamlit.App:
    """The page behind its gate. `url`: under which people reach the web server before it, if there is one."""
    gate = Middleware(Gate, doors=doors, place=_place(port, url), page=_INDEX.read_text(encoding="utf-8"))
    return streamlit.App(_HERE / script, middleware=[gate])


def serve(script: str, doors: Doors, port: int, url: str = "") -> None:
    """Until it is told to stop."""
    hosts = sorted({host.rsplit(":", 1)[0] for host in _place(port, url).hosts})
    build(script, doors, port, url).run(config={**OPTIONS, **LOOK, "server.port": port, "server.allowedHosts": hosts})


def _place(port: int, url: str) -> Place:
    local = (f"http://{ADDRESS}:{port}", f"http://localhost:{port}")
    return Place((*local, url.rstrip("/")) if url else local)


def _of_hub(home: Path, port: int) -> tuple[str, Doors, str]:
    from hansa_dashboard.hub_doors import HubDoors

    os.environ["HANSA_HOME"] = str(home)
    doors = HubDoors(home)
    return "hub.py", doors, doors.open_page(f"http://{ADDRESS}:{port}")


def _of_site(home: Path, _port: int) -> tuple[str, Doors, str]:
    from hansa_dashboard.at_site.doors import doors_of

    os.environ["HANSA_SITE_HOME"] = str(home)
    return "console.py", doors_of(home), ""


PAGES: Mapping[str, Callable[[Path, int], tuple[str, Doors, str]]] = {"hub": _of_hub, "site": _of_site}


def main() -> None:
    which, home, port = sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3])
    try:
        script, doors, url = PAGES[which](home, port)
    except Refused as refusal:
        raise SystemExit(f"refused: {refusal}") from refusal
    serve(script, doors, port, url)


if __name__ == "__main__":
    main()
