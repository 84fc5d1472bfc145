"""Several processes over one home: a second site worker, two further hub workers, and a hub that stands by."""

from collections.abc import Iterator

import pytest

from hansa.mail.workers import running
from tests.end_to_end.consortium import Command, Consortium, until, write_toml
from tests.recorded.__main__ import COUNTS, ROWS

ALL = {"disclosure": {"minimum_cell": 1}}  # twelve rows in all
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    folder = tmp_path_factory.mktemp("several")
    for name, rows in ROWS.items():
        (folder / f"{name}.csv").write_text("x,y\n" + rows, encoding="utf-8")
    table = {"name": "t"}
    sites = [{"name": name, "table": [{**table, "path": f"{name}.csv"}], "policy": ALL} for name in ROWS]
    with Consortium(folder, write_toml(folder / "consortium.toml", {"name": "several", "site": sites})) as up:
        yield up


def all_right(several: Consortium, jobs: int) -> None:
    for asked in [several.begin({**COUNTS, **ALL}) for _ in range(jobs)]:
        said = asked.ended()
        assert said.code == 0, said.complaint
        assert said.answer["answer"]["n"] == 12 and said.answer["answer"]["row_totals"] == [6, 6]


def test_a_second_hub_stands_by_and_takes_over_and_further_workers_do_no_harm(several: Consortium) -> None:
    hub, site = several.home / "hub", several.home / "sites" / "east"
    several.start_by_hand("east")
    second = Command(several.folder / "second", ["hub", "run", "--home", str(hub)])
    workers = [Command(several.folder / "workers", ["hub", "worker", "--home", str(hub)]) for _ in range(2)]
    try:
        until("four processes", lambda: running(hub) == 4 and running(site) == 2)
        until("the second hub's word", lambda: "this one stands by" in second.complained())
        all_right(several, 3)
        (hub / "ready").unlink()
        several.kill("hub")
        until("the second hub", (hub / "ready").exists, lambda: second.process.poll() is None, second.complained)
        several.kill("east")
        until("the end of a site's process", lambda: running(site) == 1)
        all_right(several, 2)
    finally:
        for one in (*workers, second):
            one.stop()
