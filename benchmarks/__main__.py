"""`make bench`: every figure beside a floor measured in the same run. ARGS="sums memory" picks some tables."""

import sys
from collections.abc import Callable, Iterable

from benchmarks import (
    appends,
    audit,
    costs,
    gateway,
    kinds,
    large_vector,
    machine,
    many_jobs,
    many_sites,
    noise,
    pages,
    secure_sum,
    smallest_job,
    through_broker,
    verify,
)

SUMS = "| sites × numbers | dropped | CPU a site | hub | all | floor, all | ratio | plain numpy sum | bytes a number |"
NOISE = "| of a share | by rejection | by inversion | its table, once | floor, numpy's rounded normal | ratio |"
KINDS = "| kind | steps | pooled fit | a site | the hub | under masks | moved by a site | site and hub to pooled |"
TABLES: dict[str, tuple[str, str, Callable[[], Iterable[str]]]] = {
    "machine": ("This machine", "| what | reached |", machine.lines),
    "sums": ("Secure sum", SUMS, secure_sum.lines),
    "memory": ("Memory of a secure sum", "| what | peak |", secure_sum.peaks),
    "workers": ("Workers of the hub", "| who | wall | |", secure_sum.workers),
    "growth": ("Growth of CPU", "| of | exponent |", secure_sum.growth),
    "many": ("Many sites", "| what | seconds | of them setup |", many_sites.lines),
    "noise": ("Noise", NOISE, noise.lines),
    "kinds": ("The kinds", KINDS, kinds.lines),
    "job": ("A whole job", "| what | ours | floor | ratio |", smallest_job.lines),
    "jobs": ("Many jobs at once", "| what | |", many_jobs.lines),
    "costs": (
        "Costs told before",
        "| question | seconds told, taken | bytes told, moved | ratio of seconds | of bytes |",
        costs.lines,
    ),
    "audit": ("The log", "| what | ours | floor | ratio |", audit.lines),
    "appends": ("Appends to the log", "| what | ours | floor | ratio |", appends.lines),
    "gateway": ("The gateway", "| what | |", gateway.lines),
    "broker": ("A large step", "| what | ours | floor | ratio |", through_broker.lines),
    "verify": ("The offline verifier", "| what | seconds |", verify.lines),
    "blobs": ("A large vector", "| what | ours | floor | ratio |", large_vector.lines),
    "pages": ("The page", "| view | first run | rerun |", pages.lines),
}


def show(title: str, headings: str, rows: Iterable[str]) -> None:
    print(f"\n{title}\n\n{headings}\n|{'---|' * (headings.count('|') - 1)}", flush=True)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        if name not in TABLES:
            raise SystemExit(f"there is no table '{name}'; there are {', '.join(TABLES)}")
        show(*TABLES[name][:2], TABLES[name][2]())
