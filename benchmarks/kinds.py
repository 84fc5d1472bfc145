"""Every kind over the demo's four sites: its steps, what a site computes, and the whole protocol beside the pooled fit.

The pooled fit is the same kind over all rows in one table with a plain sum: what one would run if the rows could be put
together. The protocol is that of a real run without letters and processes (`hansa.simulator`); `make bench ARGS=job`
tells what those add to a step.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hansa
from hansa import jobs, simulator
from hansa.cli.consortium import read_consortium
from hansa.jobs import base
from hansa.jobs.base import Job, Step, Table
from hansa_site.tables import load

CONSORTIUM = Path(hansa.__file__).parent / "demo" / "consortium.toml"
HEART = ["age", "trestbps", "chol", "thalach", "oldpeak"]
MODEL = "y ~ age + sex + trestbps + thalach + exang + oldpeak + factor(cp)"
COX = "horTh + age + menostat + tsize + tgrade + pnodes + progrec + estrec"
FITTED = {"(Intercept)": -3.3, "age": 0.03, "sex": 1.5, "exang": 1.2}
TIMES = {"time": "time", "event": "cens"}
ASKED: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("summary", "heart", {"columns": HEART}),
    ("quality", "heart", {"columns": HEART}),
    ("histogram", "heart", {"column": "age"}),
    ("quantiles", "heart", {"columns": HEART}),
    ("table", "heart", {"rows": "sex", "columns": "cp"}),
    ("correlation", "heart", {"columns": HEART}),
    ("t_test", "heart", {"column": "thalach", "by": "sex"}),
    ("anova", "heart", {"column": "thalach", "by": "cp"}),
    ("glm", "heart", {"formula": MODEL, "family": "binomial"}),
    ("assessment", "heart", {"formula": "y ~ age + sex + exang", "coefficients": FITTED, "levels": {}}),
    ("meta_analysis", "recurrence", {"formula": "pnodes ~ age + tsize", "family": "gaussian"}),
    ("kaplan_meier", "recurrence", {**TIMES, "width": 30, "by": "horTh"}),
    ("cox", "recurrence", {**TIMES, "width": 1, "formula": COX}),
    ("cox", "recurrence", {**TIMES, "width": 1, "formula": COX, "baseline": "common"}),
    ("pca", "heart", {"columns": HEART}),
    ("k_means", "heart", {"columns": ["age", "thalach", "oldpeak"], "clusters": 3}),
    ("gradient_boosting", "heart", {"outcome": "y", "columns": HEART, "family": "binomial", "trees": 20, "depth": 3}),
)


def lines() -> Iterable[str]:
    consortium = read_consortium(CONSORTIUM)
    for kind, name, parameters in ASKED:
        job = jobs.parse(kind, parameters)
        sources = {one.name: next(source for source in one.table if source.name == name) for one in consortium.site}
        tables = {site: load(source, Path(), job.columns()) for site, source in sources.items()}
        if kind == "meta_analysis":
            tables = _dealt(_joined(tables), 6)  # four sites are too few for it
        yield _line(kind, job, tables, str(parameters.get("baseline", "")))


def _line(kind: str, job: Job, tables: Mapping[str, Table], what: str) -> str:
    base.pooled(job, tables, os.urandom)  # what is loaded once is loaded now
    everybody = tables if kind == "meta_analysis" else {"all": _joined(tables)}
    began = time.perf_counter()
    base.pooled(job, everybody, os.urandom)
    pooled = time.perf_counter() - began
    site, hub = _own(job, tables)
    began = time.perf_counter()
    found = simulator.simulate(job, tables, os.urandom, corrupt=1, minimum=3)
    whole = time.perf_counter() - began
    moved = max(found.bytes_per_site.values())
    name = f"{kind}, {what} baseline" if what else kind
    return (
        f"| {name} | {found.steps} | {pooled * 1e3:.0f} ms | {site * 1e3:.0f} ms | {hub * 1e3:.0f} ms | "
        f"{whole * 1e3:.0f} ms | {moved / 1024:.0f} KiB | {(site + hub) / pooled:.2f} |"
    )


def _own(job: Job, tables: Mapping[str, Table]) -> tuple[float, float]:
    """Seconds of the site that computes longest, and of the hub, over all steps, without any protection."""
    sites, hub = dict.fromkeys(tables, 0.0), 0.0
    step = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        vectors = []
        for site, table in tables.items():
            began = time.perf_counter()
            vectors.append(base.to_ring(step, job.encode(table, step), os.urandom))
            sites[site] += time.perf_counter() - began
        began = time.perf_counter()
        total = base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors))
        step = job.advance(step, total)  # type: ignore[assignment]
        hub += time.perf_counter() - began
    return max(sites.values()), hub


def _joined(tables: Mapping[str, Table]) -> Table:
    every = list(tables.values())
    columns = {name: np.concatenate([table.columns[name] for table in every]) for name in every[0].columns}
    return Table(every[0].schema, sum(table.rows for table in every), columns)


def _dealt(table: Table, sites: int) -> dict[str, Table]:
    return {
        f"s{place}": Table(
            table.schema,
            len(range(place, table.rows, sites)),
            {name: values[place::sites] for name, values in table.columns.items()},
        )
        for place in range(sites)
    }
