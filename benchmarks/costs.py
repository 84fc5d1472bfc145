"""What the page says a question will cost, beside what it cost then: unlike questions to the four hospitals.

Others are asked first, from which the page learns the pace of this machine. Each question is estimated before it is
asked for the first time; seconds are the median of three, since this machine is shared.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import hansa
from hansa.hub import actions, estimating, queries
from hansa.hub.actions import Hub
from hansa.plan import Question, noise_from

CONSORTIUM = Path(hansa.__file__).parent / "demo" / "consortium.toml"
NOISE = noise_from({"epsilon": "0.5", "delta": "1e-6"}, "the bench")
REPEATS = 3
FIRST: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("table", {"rows": "exang"}),
    ("histogram", {"column": "oldpeak"}),
    ("summary", {"columns": ["chol"]}),
    ("glm", {"outcome": "y", "family": "binomial", "formula": "age"}),
    ("table", {"rows": "fbs", "columns": "sex"}),
)
ASKED: tuple[tuple[str, str, Mapping[str, Any], bool], ...] = (
    ("table, one way", "table", {"rows": "sex"}, False),
    ("table, two ways", "table", {"rows": "horTh", "columns": "menostat"}, False),
    ("histogram", "histogram", {"column": "age", "bins": 20}, False),
    ("summary of one column", "summary", {"columns": ["trestbps"]}, False),
    ("summary of five", "summary", {"columns": ["age", "trestbps", "chol", "thalach", "oldpeak"]}, False),
    ("linear regression", "glm", {"outcome": "thalach", "family": "gaussian", "formula": "age + sex"}, False),
    ("logistic, two terms", "glm", {"outcome": "y", "family": "binomial", "formula": "age + sex"}, False),
    (
        "logistic, nine terms",
        "glm",
        {
            "outcome": "y",
            "family": "binomial",
            "formula": "age + sex + trestbps + thalach + exang + oldpeak + factor(cp)",
        },
        False,
    ),
    ("correlation", "correlation", {"columns": ["age", "tsize", "pnodes"]}, False),
    ("survival curves", "kaplan_meier", {"time": "time", "event": "cens", "width": 30, "by": "horTh"}, False),
    ("Cox", "cox", {"time": "time", "event": "cens", "width": 30, "formula": "age + horTh + pnodes"}, False),
    ("poisson", "glm", {"outcome": "num", "family": "poisson", "formula": "age + exang"}, False),
    ("table under noise", "table", {"rows": "cp"}, True),
)


def lines() -> Iterable[str]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "h"
        command = [sys.executable, "-m", "hansa.cli", "local", "up", str(CONSORTIUM), "--home", str(home)]
        up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            while up.stdout is not None and "Ctrl-C" not in (line := up.stdout.readline()):
                if not line:
                    raise SystemExit("the consortium did not start")
            yield from _compare(Hub(home / "hub"))
        finally:
            up.terminate()
            up.wait()


def _compare(hub: Hub) -> Iterable[str]:
    actions.set_person(hub, "ada", "cleveland", "correct horse battery")
    for kind, parameters in FIRST * 2:
        _ask(hub, Question(kind, "heart", dict(parameters)))
    for name, kind, parameters, noisy in ASKED:
        table = "recurrence" if {"horTh", "pnodes", "cens"} & set(str(parameters).split("'")) else "heart"
        question = Question(kind, table, dict(parameters), noise=NOISE if noisy else None)
        before = estimating.estimate(hub, question)
        if before is None:
            yield f"| {name} | not played | | | | |"
            continue
        # Under noise the same question is answered once: what is asked again is the stored answer.
        found = [_ask(hub, question) for _ in range(1 if noisy else REPEATS)]
        seconds, moved = median(one[0] for one in found), found[0][1]
        ratios = f"{before.seconds / seconds:.2f} | {before.site_bytes / moved:.3f}"
        yield f"| {name} | {before.seconds:.2f} s, {seconds:.2f} s | {before.site_bytes}, {moved} | {ratios} |"


def _ask(hub: Hub, question: Question) -> tuple[float, int]:
    """(seconds, bytes of the site that moved most)."""
    run = actions.propose(hub, "ada", question)
    while (found := queries.job(hub, run)) is None or found.view.ended_at is None:
        time.sleep(0.05)
    if found.view.status != "done":
        raise SystemExit(f"{question.kind} ended: {found.view.status} {found.view.reason}")
    return found.view.ended_at - found.view.created_at, max(site.bytes_moved for site in found.sites)
