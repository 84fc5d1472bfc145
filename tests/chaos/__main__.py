"""`python -m tests.chaos`: kills, then counts."""

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from hansa.hub import actions
from tests.chaos.asking import PERSON, SITES, Asker
from tests.chaos.consortium import Running, running
from tests.chaos.counting import Found, count, open_all, still_open
from tests.chaos.faults import Faults
from tests.chaos.watching import Watch

DRAIN_SECONDS, PATIENCE = 30.0, 180.0
STEP_SECONDS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="default: drawn, and printed")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--gap", type=float, default=None, help="mean seconds between kills")
    parser.add_argument(
        "--keep", type=Path, default=None, help="an empty folder, short of path, for logs and databases"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    gap = options.gap or (2.5 if options.kills <= 200 else 1.5)
    # A short path: a socket's has 104 bytes at most.
    with tempfile.TemporaryDirectory(prefix="hansa-", ignore_cleanup_errors=True) as folder:
        root = options.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        with running(root, options.database == "postgresql") as parties:
            return _run(parties, options.kills, seed, gap)


def _run(parties: Running, kills: int, seed: int, gap: float) -> int:
    hub = parties.start()
    actions.add_person(hub, PERSON, SITES[0], "correct horse battery")
    asker, faults, watch = Asker(hub, seed), Faults(parties, seed, gap), Watch(parties)
    began = time.monotonic()
    asker.start()
    while faults.kills.total() < kills:
        faults.step()
        parties.supervise()
        watch.look()
        time.sleep(STEP_SECONDS)
    faults.end()
    last, engines = time.monotonic(), open_all(parties.urls)
    asker.stop()
    while (left := _left(engines)) and time.monotonic() < last + PATIENCE:
        parties.supervise()
        watch.look()
        time.sleep(0.25)
    drained = time.monotonic() - last
    while watch.waiting() and time.monotonic() < last + PATIENCE:
        watch.look()
        time.sleep(STEP_SECONDS)
    asker.join()
    asker.check()
    found = count(engines)
    found.wrong += asker.wrongs + asker.failures
    _tell(parties, asker, watch, found, left)
    print(_line(seed, faults, asker, watch, found, drained, time.monotonic() - began), flush=True)
    bad = found.lost or found.doubled or found.wrong or left or watch.wedges or drained > DRAIN_SECONDS
    return 1 if bad else 0


def _line(seed: int, faults: Faults, asker: Asker, watch: Watch, found: Found, drained: float, seconds: float) -> str:
    killed = ", ".join(f"{number} {role}" for role, number in sorted(faults.kills.items()))
    lasted = ", ".join(f"{number} {kind}" for kind, number in sorted(faults.lasting.items())) or "none"
    other = sum(asker.ended.values()) - asker.ended["done"]
    return (
        f"chaos seed {seed}: {found.messages} messages, {faults.kills.total()} kills ({killed}), "
        f"lasting faults: {lasted}; "
        f"lost {len(found.lost)}, doubled {len(found.doubled)}, wrong {len(found.wrong)}, "
        f"wedges {len(watch.wedges)} of {watch.restarts} broker restarts (slowest back {watch.slowest:.1f} s), "
        f"drained after {drained:.1f} s, jobs {asker.ended['done']} done ({asker.survivors_only} without all sites) "
        f"and {other} ended otherwise; so many kills prove a rate below {3 / faults.kills.total():.3g} a kill at 95 % "
        f"({seconds:.0f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB)"
    )


def _left(engines: dict[str, Engine]) -> dict[str, int]:
    try:
        return still_open(engines)
    except OperationalError:  # the database recovers from the last fault
        return {"databases that can't be read": 1}


def _tell(parties: Running, asker: Asker, watch: Watch, found: Found, left: dict[str, int]) -> None:
    """What a reader of the one line will ask about."""
    if not parties.disks:
        print("left out: full disks, as no file system may be mounted here")
    for reason, number in asker.reasons.most_common(10):
        print(f"  {number} × {reason}")
    unbidden = {name: process.unbidden for name, process in parties.processes.items() if process.unbidden}
    if unbidden:
        print(f"  ended by themselves and were started again: {unbidden}")
    if found.aside:
        print(f"  {found.aside} letters were set aside")
    if left:
        print(f"  not drained: {left}")
    for what in [*watch.wedges, *found.lost[:10], *found.doubled[:10], *found.wrong[:10]]:
        print(f"  {what}")


if __name__ == "__main__":
    sys.exit(main())
