"""The smallest job through real processes: three sites, one table of counts, from the proposal to the answer."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

REPEATS = 7


def lines() -> Iterable[str]:
    yield _line()


def _line() -> str:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        told = ['name = "bench"']
        for name in ("a", "b", "c"):
            (base / f"{name}.csv").write_text("g\n" + "1\n2\n" * 20, encoding="utf-8")
            told += ["[[site]]", f'name = "{name}"', "[[site.table]]", 'name = "t"', f'path = "{name}.csv"']
        (base / "consortium.toml").write_text("\n".join(told), encoding="utf-8")
        (base / "plan.toml").write_text('kind = "table"\ntable = "t"\n[parameters]\nrows = "g"\n', encoding="utf-8")
        hansa, home = str(Path(sys.executable).parent / "hansa"), str(base / "home")
        command = [hansa, "local", "up", str(base / "consortium.toml"), "--home", home]
        up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            seconds = _ask(up, base, [hansa, "job", "run", str(base / "plan.toml"), "--wait", "--home", home])
        finally:
            up.terminate()
            up.wait()
    start = min(_start_of_python() for _ in range(3))
    what = f"| smallest job, 3 sites, wall | {median(seconds):.2f} s | {start:.3f} s (a bare `python -c pass`)"
    return f"{what} | {median(seconds) / start:.0f} |"


def _ask(up: "subprocess.Popen[str]", base: Path, ask: list[str]) -> list[float]:
    out, seconds = base / "out.json", []
    if up.stdout is None:
        raise SystemExit("no output to read")
    while "Ctrl-C" not in (told := up.stdout.readline()):
        if not told:
            raise SystemExit("the consortium did not start")
    for _ in range(REPEATS):
        subprocess.run([*ask, "--json", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(json.loads(out.read_text(encoding="utf-8"))["seconds"])
    return seconds


def _start_of_python() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - begin
