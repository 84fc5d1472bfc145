"""`hansa site console`: one institution's page, beside its data, on this machine's own address."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]


def console(
    home: Home,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="On 127.0.0.1.")] = 8502,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """The site's own page: decide what waits, see what left, set the policy. Until Ctrl-C."""
    from hansa.cli.dashboard import address, run_console, stay
    from hansa.cli.demo import check_port
    from hansa_site.settings import read_settings

    read_settings(home)  # says in one sentence what is wrong with a home, before anything starts
    check_port(port)
    page = run_console(home, port, browser)
    stay(page, with_parent, f"The console: {address(port)}")
