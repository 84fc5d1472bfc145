"""Vectors too large for a letter, through real brokers and processes: up, added up by two workers, and down again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hansa.hub import queries
from tests.end_to_end.consortium import Command, Consortium, command, until

pytestmark = pytest.mark.processes

SITES, ROWS, WIDE = ("a", "b", "c"), 400, 64
ALL = {"disclosure": {"minimum_cell": 1}}  # every count is to be seen
LEVELS = 256  # of each of two columns: 65 536 cells are half a mebibyte


def rows_of(place: int) -> np.ndarray:
    """Of a site: two columns of categories, and so many numbers that their brackets are a large vector."""
    chance = np.random.default_rng(place)
    levels, numbers = chance.integers(0, LEVELS, (ROWS, 2)), chance.normal(size=(ROWS, WIDE))
    return np.hstack([levels, numbers])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    folder = tmp_path_factory.mktemp("wide")
    names = ["g", "h", *(f"x{column}" for column in range(WIDE))]
    told = ['name = "wide"']
    for place, site in enumerate(SITES):
        form = ["%d", "%d", *["%.17g"] * WIDE]
        np.savetxt(folder / f"{site}.csv", rows_of(place), form, ",", header=",".join(names), comments="")
        told += ["[[site]]", f'name = "{site}"', "[[site.table]]", 'name = "t"', f'path = "{site}.csv"']
        told += ["[site.policy]", "disclosure = { minimum_cell = 1 }"]
    (folder / "consortium.toml").write_text("\n".join(told), encoding="utf-8")
    with Consortium(folder, folder / "consortium.toml") as running:
        yield running


def test_a_table_of_65536_cells_is_counted_exactly_with_a_second_worker_beside_the_hub(wide: Consortium) -> None:
    worker = Command(wide.folder / "worker", ["hub", "worker", "--home", str(wide.home / "hub")])
    try:
        said = wide.ask({"kind": "table", "table": "t", "parameters": {"rows": "g", "columns": "h"}, **ALL})
        assert said.code == 0, said.complaint
    finally:
        assert worker.stop().code in (0, -15)
    counts = np.zeros((LEVELS, LEVELS), dtype=int)
    for place in range(len(SITES)):
        for g, h in rows_of(place)[:, :2].astype(int):
            counts[g, h] += 1
    answer = said.answer["answer"]
    shown = [int(name) for name in answer["row_names"]], [int(name) for name in answer["column_names"]]
    assert np.array_equal(answer["counts"], counts[np.ix_(*shown)]) and np.sum(answer["counts"]) == len(SITES) * ROWS
    kept = wide.home / "hub" / "chunks"
    assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) > 3 * 2**19


def test_a_total_too_large_for_a_letter_comes_down_to_the_sites_before_the_step_that_follows_from_it(
    wide: Consortium, tmp_path: Path
) -> None:
    names = [f"x{column}" for column in range(WIDE)]
    said = wide.ask({"kind": "summary", "table": "t", "parameters": {"columns": names}})
    assert said.code == 0, said.complaint
    numbers = np.vstack([rows_of(place) for place in range(len(SITES))])[:, 2:]
    columns = [said.answer["answer"]["columns"][name] for name in names]
    assert np.allclose([column["mean"] for column in columns], numbers.mean(axis=0), rtol=1e-9, atol=1e-11)
    assert np.allclose([column["sd"] for column in columns], numbers.std(axis=0, ddof=1), rtol=1e-9)
    until("the sites to erase their chunks", lambda: not list(wide.home.glob("sites/*/chunks/*/*")))
    run = queries.jobs(wide.hub)[0].run
    file, home = tmp_path / "job.evidence", wide.home / "hub"
    assert command(tmp_path, "audit", "evidence", run, "--home", home, "--out", file).code == 0
    for sample in ("100%", "1%"):
        replayed = command(tmp_path, "audit", "replay", "--file", file, "--sample", sample)
        assert replayed.code == 0 and "to the byte" in replayed.out, replayed.complaint
