"""`make fuzz`: atheris, led by coverage, over every parser in turn. ARGS="--seconds 600 --only plan" picks.

Each parser runs in a process of its own under libFuzzer: an error that is not ours, two seconds or 1 GiB end it, and
the bytes that did it lie in the folder that is named.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LONGEST, MEBIBYTES = 2**16, 1024


def main() -> int:
    asked = argparse.ArgumentParser(prog="make fuzz")
    asked.add_argument("--seconds", type=int, default=300, help="in all")
    asked.add_argument("--only", default="", help="parsers whose name holds this")
    asked.add_argument("--alone", default="", help=argparse.SUPPRESS)  # one parser of texts, in this process
    given = asked.parse_args()
    try:
        import atheris
    except ImportError:
        print("atheris has no wheel for this Python, or is not installed: pip install 'hansa[fuzz]', on another Python")
        return 1
    with atheris.instrument_imports(include=["hansa", "hansa_site"]):
        from tests.fuzz import targets
    folder = Path(tempfile.mkdtemp(prefix="hansa-fuzz-"))
    (folder / "world").mkdir()
    if given.alone:
        _fuzz(atheris, targets.texts(folder)[given.alone], folder / "corpus", given.seconds)
    found = targets.targets(targets.finished(folder / "world"), folder)
    texts = targets.texts(folder)
    picked = [name for name in found if given.only in name]
    broken = []
    for name in picked:
        seconds, log = max(1, given.seconds // len(picked)), folder / f"{name.replace(' ', '-')}.log"
        if name in texts:  # Polars has threads of its own, which no fork survives
            failed = _anew(name, seconds, log)
        else:
            failed = _in_a_child(lambda: _fuzz(atheris, found[name], folder / f"corpus-{log.stem}", seconds), log)  # noqa: B023
        print(f"{name}: {f'BROKEN, see {log}' if failed else f'{seconds} s, nothing'}", flush=True)
        broken += [name] * failed
    return 1 if broken or not picked else 0


def _fuzz(atheris: Any, target: Any, corpus: Path, seconds: int) -> NoReturn:
    from tests.fuzz.target import OURS

    def once(data: bytes) -> None:
        try:
            written = target.parse(data)
        except OURS:
            return
        if written is not None and written != data:
            raise AssertionError("what was accepted is written in another way")

    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
        once(seed)  # what is imported when first needed counts for nobody
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=2", f"-rss_limit_mb={MEBIBYTES}"]
    atheris.Setup(["fuzz", str(corpus), f"-artifact_prefix={corpus}-", *limits], once)
    atheris.Fuzz()
    raise SystemExit(0)  # never: libFuzzer ends the process


def _anew(name: str, seconds: int, log: Path) -> bool:
    """In a new process; whether it failed."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz", "--alone", name, "--seconds", str(seconds)]
        return subprocess.run(command, stdout=output, stderr=output, check=False).returncode != 0


def _in_a_child(act: Callable[[], NoReturn], log: Path) -> bool:
    """In a fork of this one; whether it failed."""
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        try:
            act()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


if __name__ == "__main__":
    sys.exit(main())
