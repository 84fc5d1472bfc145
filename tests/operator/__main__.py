"""Prints who finds which manipulation, and in which words; exit code 1 if one is not found."""

import argparse
import logging
import tempfile
from pathlib import Path

from tests.operator.all import ALL
from tests.operator.play import Played, play
from tests.operator.stages import Stages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.operator", description=__doc__)
    parser.add_argument("words", nargs="*", help="only manipulations whose name has all of these")
    parser.add_argument("--all", action="store_true", help="everything that was said, not only what was awaited")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    missed = 0
    print("| manipulation | stage | found by | in the words | seconds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Path(folder))
        for one in ALL.values():
            if all(word in one.name for word in asked.words):
                played = play(one, stages)
                missed += not played.right
                print(_row(played), flush=True)
                for found in played.found if asked.all or not played.right else ():
                    print(f"    {found.by}{'' if found.grave else ' (open)'}: {found.sentence}")
    print(f"\n{missed} not found" if missed else "\nevery one was found, and the controls hold")
    return 1 if missed else 0


def _row(played: Played) -> str:
    one, expected = played.manipulation, played.expected
    if not one.by:
        by, words = "nobody", "nothing is said, and nothing is wrong" if played.right else "FALSE ALARM"
    else:
        by, words = one.by, expected.sentence if expected else f"NOT FOUND; expected: {one.sentence}"
        others = [other for other in played.finders.split(", ") if other not in ("", by)]
        by += f" (and {', '.join(others)})" if others else ""
    return f"| {one.name} | {one.stage} | {by} | {words} | {played.seconds:.1f} |"


if __name__ == "__main__":
    raise SystemExit(main())
