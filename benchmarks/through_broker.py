"""A step of a million numbers over ten sites, through real brokers and processes, beside the same without masks."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median

SITES, LENGTH, REPEATS = 10, 10**6, 3
ROOT = Path(__file__).parent.parent
CUSTOM = "import benchmarks.kind\nbenchmarks.kind.install(masked={masked})\n"


def lines() -> Iterable[str]:
    masked, plain = _seconds(True), _seconds(False)
    what = f"| {SITES} × {LENGTH:.0e} through the brokers, wall"
    yield f"{what} | {masked:.2f} s | {plain:.2f} s (without masks) | {masked / plain:.2f} |"


def _seconds(masked: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "sitecustomize.py").write_text(CUSTOM.format(masked=masked), encoding="utf-8")
        told = ['name = "bench"']
        for place in range(SITES):
            (base / f"s{place}.csv").write_text("g\n" + "1\n" * (place + 3), encoding="utf-8")
            told += ["[[site]]", f'name = "s{place}"', "[site.policy]", 'kinds = ["totals"]']
            told += ["[[site.table]]", 'name = "t"', f'path = "s{place}.csv"']
        (base / "consortium.toml").write_text("\n".join(told), encoding="utf-8")
        plan = f'kind = "totals"\ntable = "t"\n[parameters]\nlength = {LENGTH}\n'
        (base / "plan.toml").write_text(plan, encoding="utf-8")
        hansa, home = [sys.executable, "-m", "hansa.cli"], str(base / "home")
        surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join((str(base), str(ROOT)))}
        up = subprocess.Popen(
            [*hansa, "local", "up", str(base / "consortium.toml"), "--home", home],
            stdout=subprocess.PIPE,
            text=True,
            env=surroundings,
        )
        try:
            while up.stdout is not None and "Ctrl-C" not in (line := up.stdout.readline()):
                if not line:
                    raise SystemExit("the consortium did not start")
            out, taken = base / "out.json", list[float]()
            ask = [*hansa, "job", "run", str(base / "plan.toml"), "--wait", "--home", home, "--json", str(out)]
            for _ in range(REPEATS):
                subprocess.run(ask, check=True, stdout=subprocess.DEVNULL, env=surroundings)
                said = json.loads(out.read_text(encoding="utf-8"))
                if said["answer"]["last"] != SITES * (SITES + 5) / 2:
                    raise SystemExit(f"a total is wrong: {said}")
                taken.append(said["seconds"])
        finally:
            up.terminate()
            up.wait()
    return median(taken)
