"""Secure sum against its floor, and the smallest job through real processes.

The floor is what no masking with these primitives can do without: for each site one self mask and one mask per other
site added with AES-256-CTR, Shamir shares of every secret, and at the hub the sum, the shares combined and the self
masks removed; no signatures, no tags, no encoding, no messages. Everything else is ours.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from hansa.crypto import prg, shamir
from hansa.crypto.keys import SigningKey
from hansa.messages import decode, encode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Own
from hansa.protocols.key_setup import Invited, Paired
from hansa.protocols.secure_sum import Waiting

REPEATS = 5
SIZES = ((3, 10_000), (10, 10_000), (10, 32_768), (30, 10_000))


def cpu(work: Callable[[], object]) -> float:
    """Median CPU seconds of this process over the repeats."""
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return median(taken)


def floor(sites: int, length: int) -> None:
    threshold = (sites + (sites - 1) // 3) // 2 + 1
    total = np.zeros(length, dtype=np.uint64)
    secrets = [int.from_bytes(os.urandom(31)) for _ in range(sites)]
    for secret in secrets:
        vector = np.ones(length, dtype=np.uint64)
        for _ in range(sites):
            prg.add_mask(vector, os.urandom(32), subtract=False)
        for _ in range(sites):
            coefficients = [shamir.from_uniform(os.urandom(48)) for _ in range(threshold - 1)]
            shamir.split(secret, threshold, sites, coefficients)
        total += vector
    indices = list(range(1, threshold + 1))
    shamir.combine_many(indices, [secrets[:1] * threshold for _ in range(sites)])
    for _ in range(sites):
        prg.add_mask(total, os.urandom(32), subtract=True)


class Parties:
    """Setup done once; `total` is one whole secure sum, every message through its encoding."""

    def __init__(self, sites: int, length: int) -> None:
        names = [f"s{place:02d}" for place in range(sites)]
        self.keys = {name: SigningKey(os.urandom(32)) for name in names}
        public = {name: key.public for name, key in self.keys.items()}
        self.states = {name: Invited(name, bytes(32), 0, -1, 3, public, os.urandom(32)) for name in names}
        self.vectors = dict.fromkeys(names, np.ones(length, dtype=np.uint64))
        self.session = self._rounds(key_setup.begin(bytes(32), 0, public, -1, 3))
        self.length, self.step, self.receipt = length, 0, None

    def _rounds(self, ask: Ask):  # type: ignore[no-untyped-def]  # the output's type is the protocol's
        while True:
            replies = {}
            for name, request in ask.requests.items():
                state = self.states[name]
                own = Own(self.keys[name], self.vectors[name])
                following, reply = state.answer(decode(encode(request), state.accepts), own)
                self.states[name] = Waiting(following) if isinstance(following, Paired) else following
                replies[name] = decode(encode(reply), ask.state.accepts)
            outcome = ask.state.close(replies)
            if isinstance(outcome, Done):
                return outcome.output
            ask = outcome

    def total(self) -> None:
        roster = self.session.roster
        summed = self._rounds(secure_sum.begin(self.session, self.step, b"", roster, self.receipt, self.length))
        self.step, self.receipt = self.step + 1, summed.receipt


def sums() -> list[str]:
    rows = []
    for sites, length in SIZES:
        parties = Parties(sites, length)
        parties.total()
        ours, least = cpu(parties.total), cpu(lambda sites=sites, length=length: floor(sites, length))
        what = f"secure sum, {sites} sites × {length}"
        rows.append(f"| {what} | {ours * 1e3:.0f} ms | {least * 1e3:.0f} ms | {ours / least:.1f} |")
    return rows


def smallest_job() -> str:
    """A table of counts over three sites that are up already: submit to answer, median, against a process's start."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        lines = ['name = "bench"']
        for name in ("a", "b", "c"):
            (base / f"{name}.csv").write_text("g\n" + "1\n2\n" * 20, encoding="utf-8")
            lines += ["[[site]]", f'name = "{name}"', "[[site.table]]", 'name = "t"', f'path = "{name}.csv"']
        (base / "consortium.toml").write_text("\n".join(lines), encoding="utf-8")
        (base / "plan.toml").write_text('kind = "table"\ntable = "t"\n[parameters]\nrows = "g"\n', encoding="utf-8")
        hansa, home = str(Path(sys.executable).parent / "hansa"), str(base / "home")
        command = [hansa, "local", "up", str(base / "consortium.toml"), "--home", home]
        up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert up.stdout is not None
            while "Ctrl-C" not in (line := up.stdout.readline()):
                if not line:
                    raise SystemExit("the consortium did not start")
            out, seconds = base / "out.json", []
            ask = [hansa, "job", "run", str(base / "plan.toml"), "--wait", "--json", str(out), "--home", home]
            for _ in range(REPEATS):
                subprocess.run(ask, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                seconds.append(json.loads(out.read_text(encoding="utf-8"))["seconds"])
        finally:
            up.terminate()
            up.wait()
    start = min(_start_of_python() for _ in range(3))
    what = f"| smallest job, 3 sites, wall | {median(seconds):.2f} s | {start:.3f} s (a bare `python -c pass`)"
    return f"{what} | {median(seconds) / start:.0f} |"


def _start_of_python() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    print("| what | ours | floor | ratio |\n|---|---|---|---|")
    for row in sums():
        print(row, flush=True)
    print(smallest_job())
