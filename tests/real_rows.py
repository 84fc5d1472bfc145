"""Public rows split into sites, chance from a seed, and a run in which sites leave."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hansa.jobs import base
from hansa.jobs.base import Answer, Column, Job, Schema, Step, Table

DATA = Path(__file__).parent / "data"
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")


class Chance:
    """SHAKE-256 of a seed and a counter: the same bytes in every run."""

    def __init__(self, seed: str = "tests") -> None:
        self._seed, self._drawn = seed, 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(size)


def read_json(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def read(name: str) -> dict[str, np.ndarray]:
    """A CSV file's columns: numbers where all are (NaN where empty), else text."""
    with (DATA / name).open() as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        try:
            columns[column] = np.array([value or np.nan for value in values], dtype=np.float64)
        except ValueError:
            columns[column] = np.array(values, dtype=object)
    return columns


def split(
    columns: Mapping[str, np.ndarray],
    sites: Iterable[object],
    categories: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Table]:
    """The rows with equal `sites` become one site's table."""
    declared = categories or {}
    schema = Schema(
        "rows",
        tuple(
            Column(name, "number" if values.dtype == np.float64 else "text", categories=declared.get(name, ()))
            for name, values in columns.items()
        ),
    )
    places: dict[str, list[int]] = defaultdict(list)
    for place, site in enumerate(sites):
        places[str(site)].append(place)
    return {
        site: Table(schema, len(rows), {name: values[rows] for name, values in columns.items()})
        for site, rows in places.items()
    }


def dealt(columns: Mapping[str, Any], sites: int) -> dict[str, Table]:
    """Numeric columns, row by row to each of `sites` in turn."""
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    return split(arrays, [row % sites for row in range(len(next(iter(arrays.values()))))])


def hospitals() -> dict[str, Table]:
    rows = read("heart_disease_4hospitals.csv")
    return split(rows, rows["hospital"], {"hospital": HOSPITALS})


def joined(tables: Mapping[str, Table]) -> Table:
    """All rows in one table."""
    every = list(tables.values())
    columns = {name: np.concatenate([table.columns[name] for table in every]) for name in every[0].columns}
    return Table(every[0].schema, sum(table.rows for table in every), columns)


def ask(job: Job, tables: Mapping[str, Table]) -> Answer:
    return base.pooled(job, tables, Chance())


def ask_while_leaving(job: Job, tables: Mapping[str, Table], leaving: Mapping[int, str]) -> Answer:
    """As `ask`, but the site `leaving[k]` gives nothing from step k on."""
    here = dict(tables)
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    number = 0
    while isinstance(step, Step):
        if number in leaving:
            del here[leaving[number]]
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in here.items()]
        total = np.sum(vectors, axis=0, dtype=np.uint64)
        step = job.advance(step, base.from_ring(step, total, len(here)))
        number += 1
    return step
