"""`hansa demo`: four hospitals, a question or two, and the page."""

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from hansa.cli.processes import Child
from hansa.errors import Refused


def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself after the answers.")] = False,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Of the page, on 127.0.0.1.")] = 8501,
) -> None:
    """Four hospitals of UCI Heart Disease compute together: a summary, a logistic regression, and the page."""
    import hansa
    from hansa.cli import consortium as consortia
    from hansa.cli.dashboard import page_answers
    from hansa.cli.job import DEFAULT_PERSON, ask, finish, follow, read_plan
    from hansa.cli.local import add_analyst
    from hansa.cli.printing import status

    files = Path(hansa.__file__).parent / "demo"
    check_port(port)
    consortium = consortia.read_consortium(files / "consortium.toml")
    note = None
    try:
        with ExitStack() as stack:
            root = Path(stack.enter_context(TemporaryDirectory(prefix="hansa-")))
            tell = stack.enter_context(status("starting"))
            running = stack.enter_context(consortia.up(consortium, root, tell))
            password = secrets.token_urlsafe(12)
            hub = add_analyst(running, password)
            note = consortia.note_running(root)
            page = running.family.start(page_child(running.homes.hub, port, root / "page.log"))
            for name in ("summary", "glm", "kaplan_meier"):
                tell(f"{name} over four hospitals")
                started = time.monotonic()
                outcome = follow(hub, ask(hub, DEFAULT_PERSON, read_plan(files / f"{name}.toml")), started)
                finish(outcome)
            wait_for_page(lambda: page_answers(port), page)
            tell("")
            typer.echo(f"The page: http://127.0.0.1:{port}   name {DEFAULT_PERSON}   password {password}")
            if once:
                return
            typer.echo("The hub, four sites and the page are up. Ctrl-C stops them all.")
            running.family.stay(typer.echo)
    except KeyboardInterrupt:
        typer.echo("stopped")
    finally:
        if note is not None:
            note.unlink(missing_ok=True)


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(f"port {port} is taken: free it, or choose another with --port") from error


def page_child(home: Path, port: int, log: Path) -> Child:
    return Child("the page", ["dashboard", "--home", str(home), "--port", str(port), "--with-parent"], log)


def wait_for_page(answers: Callable[[], bool], page: Child, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not answers():
        page.check()
        if time.monotonic() > deadline:
            raise Refused(f"the page did not answer within {seconds:.0f} seconds")
        time.sleep(0.05)
