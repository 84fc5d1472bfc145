"""`make fuzz`: atheris, led by coverage, over every parser in turn. ARGS="--seconds 600 --only plan" picks.

Each parser runs in a process of its own under libFuzzer: an error that is not ours, a second too long or 1 GiB too much
ends it, and the bytes that did it lie in the folder that is named.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

LONGEST, MEBIBYTES = 2**16, 1024


def main() -> int:
    asked = argparse.ArgumentParser(prog="make fuzz")
    asked.add_argument("--seconds", type=int, default=300, help="in all")
    asked.add_argument("--only", default="", help="parsers whose name holds this")
    given = asked.parse_args()
    try:
        import atheris
    except ImportError:
        print("atheris has no wheel for this Python, or is not installed: pip install 'hansa[fuzz]', on another Python")
        return 1
    with atheris.instrument_imports(include=["hansa", "hansa_site"]):
        from tests.fuzz.targets import OURS, finished, targets
    folder = Path(tempfile.mkdtemp(prefix="hansa-fuzz-"))
    (folder / "world").mkdir()
    found = {name: one for name, one in targets(finished(folder / "world"), folder).items() if given.only in name}
    if not found:
        print(f"there is no parser '{given.only}'")
        return 1
    broken = []
    for name, target in found.items():

        def once(data: bytes, parse: Callable[[bytes], bytes | None] = target.parse) -> None:
            try:
                written = parse(data)
            except OURS:
                return
            if written is not None and written != data:
                raise AssertionError("what was accepted is written in another way")

        corpus = folder / name.replace(" ", "-").replace("'", "")
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)
        seconds = max(1, given.seconds // len(found))
        failed = _in_a_child(lambda: _fuzz(atheris, once, corpus, seconds), folder / f"{corpus.name}.log")  # noqa: B023
        print(f"{name}: {'BROKEN, see ' + str(folder) if failed else f'{seconds} s, nothing'}", flush=True)
        broken += [name] * failed
    return bool(broken)


def _fuzz(atheris: "object", once: Callable[[bytes], None], corpus: Path, seconds: int) -> NoReturn:
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=2", f"-rss_limit_mb={MEBIBYTES}"]
    arguments = ["fuzz", str(corpus), f"-artifact_prefix={corpus}-", *limits]
    atheris.Setup(arguments, once)  # type: ignore[attr-defined]
    atheris.Fuzz()  # type: ignore[attr-defined]  # never returns
    raise SystemExit(0)


def _in_a_child(act: Callable[[], NoReturn], log: Path) -> bool:
    """Whether it failed."""
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
