"""`hansa demo` shows three answers and a page, and leaves nothing of its own behind, however it ends."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hansa.cli.dashboard import page_answers
from tests.end_to_end.consortium import Command, until

pytestmark = pytest.mark.processes


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def taken(port: int) -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield port


def left_behind(folder: Path) -> list[str]:
    """What lies in the temporary folder, and the notes of running consortia."""
    places = [folder / "t", folder / "state"]
    return [str(path) for place in places if place.exists() for path in place.rglob("*") if not path.is_dir()] + [
        str(path) for path in (folder / "t").iterdir()
    ]


def test_once_it_prints_all_answers_and_the_page_s_address_and_ends_with_nothing_left(
    tmp_path: Path, port: int
) -> None:
    demo = Command(tmp_path, ["demo", "--once", "--port", str(port)])
    demo.process.wait(150)
    said = demo.stop()
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    inside = ["trestbps", "(Intercept)", "Log-rank test", f"http://127.0.0.1:{port}"]
    assert sorted(inside, key=said.out.index) == inside
    assert "-2.82326" in said.out or "-2.823255" in said.out
    assert said.out.count("4 sites (cleveland, hungarian, switzerland, va)") == 3
    assert "password" in said.out
    assert left_behind(tmp_path) == []
    assert not page_answers(port)


def test_a_port_that_is_taken_is_one_sentence_and_nothing_is_started(tmp_path: Path, taken: int) -> None:
    demo = Command(tmp_path, ["demo", "--once", "--port", str(taken)])
    demo.process.wait(90)
    said = demo.stop()
    assert said.code == 2
    assert said.complaint == f"hansa: port {taken} is taken: free it, or choose another with --port"
    assert said.out == ""
    assert left_behind(tmp_path) == []


def test_an_interrupt_in_mid_question_stops_every_process_and_the_page(tmp_path: Path, port: int) -> None:
    demo = Command(tmp_path, ["demo", "--port", str(port)])
    until("the page", lambda: page_answers(port), lambda: demo.process.poll() is None, demo.complained)
    said = demo.stop(signal.SIGINT)
    assert said.code == 0, said.err
    assert said.out.rstrip().endswith("stopped")
    assert "Traceback" not in said.err
    assert not page_answers(port)
    assert left_behind(tmp_path) == []
