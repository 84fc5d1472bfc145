"""Records the homes of a consortium; run it before a version is released."""

import os
import signal
import sqlite3
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.end_to_end.consortium import Consortium, session, write_toml

ROWS = {"north": "0.5,1\n1.5,0\n2.5,1\n3.5,1\n", "east": "1,0\n2,0\n3,1\n4,1\n", "west": "2,1\n2.5,0\n0,0\n1,0\n"}
COUNTS = {"kind": "table", "table": "t", "parameters": {"rows": "y"}}
FIT = {"kind": "glm", "table": "t", "parameters": {"outcome": "y", "formula": "x", "family": "binomial"}}


def record(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name, rows in ROWS.items():
            (base / f"{name}.csv").write_text("x,y\n" + rows, encoding="utf-8")
        sites = [{"name": name, "table": [{"name": "t", "path": f"{name}.csv"}]} for name in ROWS]
        file = write_toml(base / "consortium.toml", {"name": "recorded", "site": sites})
        with Consortium(base / "c", file) as up:
            if up.ask(COUNTS).code:
                raise SystemExit("the first question has no answer")
            asked, _run = up.begin_up_to_step(FIT, 2)
            for pid, line in session(up._up.process.pid).items():
                if " run --home " in f"{line} ":
                    os.kill(pid, signal.SIGKILL)
            asked.process.kill()
            asked.process.wait()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for home in (up.home / "hub", *(up.home / "sites" / name for name in ROWS)):
                for database in home.glob("*.sqlite"):
                    with sqlite3.connect(database) as opened:
                        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                kept = ("keys", "keys.toml", "passphrase", "charter")
                for path in (*home.glob("*.sqlite"), *(home / name for name in kept)):
                    archive.write(path, str(path.relative_to(up.home)))


if __name__ == "__main__":
    record(Path(sys.argv[1]))
