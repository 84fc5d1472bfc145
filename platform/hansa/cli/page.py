"""`hansa dashboard`: the consortium's page, for a hub's home."""

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    home: Annotated[
        Path | None,
        typer.Option(envvar="HANSA_HOME", help="The hub's home; default: the consortium that is up here."),
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="On 127.0.0.1.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """The consortium's page: propose, watch, read answers and the log. Until Ctrl-C."""
    from hansa.cli.consortium import find_running
    from hansa.cli.dashboard import address, run_dashboard, stay
    from hansa.cli.demo import check_port

    root = home or find_running()
    check_port(port)
    page = run_dashboard(root / "hub" if (root / "hub" / "hub.toml").exists() else root, port, browser)
    stay(page, with_parent, f"The page: {address(port)}")
