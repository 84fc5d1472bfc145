"""The auditor's single file agrees with the verifier about everything that it looks at."""

import subprocess
import sys
from pathlib import Path

import pytest

from hansa.messages import HUB
from tests import cards, exports
from tests.exports import Files, files, good
from tests.test_verify_compare import written
from tests.test_verify_manipulations import LIES

SCRIPT = Path(__file__).parents[1] / "deploy" / "verify_export.py"
SEEN = [  # of the manipulations, those that change what the script looks at
    "an entry is edited by the hub that has no key of its author",
    "an entry of the hub is edited after it was witnessed",
    "an entry of a member is deleted",
    "an entry of the hub is deleted",
    "two entries of a member are reordered",
    "an entry is inserted before what was witnessed",
    "a tail is omitted that was witnessed",
    "a bundle is truncated",
    "a bundle lacks its last entry",
    "a bundle is left out",
    "an earlier checkpoint is of another history",
    "the head is of another history",
    "the checkpoint is of another log",
    "a cosignature is of another tree",
    "the checkpoint is signed by a stranger",
    "an entry of another log is brought in",
    "a member signs two entries with one number",
    "a stranger writes",
    "a consent is forged",
    "a charter lacks a signature",
    "a newer charter is left out",
    "an old charter is adopted again",
    "another charter is adopted",
    "a removed member writes on",
    "a key is used after its successor",
    "a charter of another chain follows",
]


def judged(folder: Path, found: Files, own: bytes | None = None) -> tuple[int, str]:
    return run_script(written(folder / "export", found), own)


def run_script(export: Path, own: bytes | None = None) -> tuple[int, str]:
    words = [str(export)]
    if own is not None:
        (export.parent / "own").write_bytes(own)
        words.append(str(export.parent / "own"))
    command = [sys.executable, "-I", str(SCRIPT), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_a_good_export_holds_and_one_without_a_quorum_is_not_final(tmp_path: Path) -> None:
    log = good()
    exports.amend(log, "abcd", {"d": cards.member_keys(9), "b": cards.member_keys(10)})
    for _ in range(600):
        log.put(HUB, "signed in", "", None, {"person": "p1", "member": "a"})
    code, said = judged(tmp_path, files(log, [5, 256, 300]), log.signed[1])
    assert (code, said.split("\n")[-2]) == (0, "Everything that this script looks at holds.")
    code, said = judged(tmp_path, files(log, cosigning=("a", "b")))
    assert code == 1
    assert "THE CHARTER CAME WITH THE EXPORT" in said


def test_the_wrong_charter_is_named(tmp_path: Path) -> None:
    stranger = exports.new_log(exports.Rules(retention_years=9))
    assert judged(tmp_path, files(good()), stranger.signed[1]) == (2, "FALSE: your charter is not in the chain\n")


@pytest.mark.parametrize("name", SEEN)
def test_a_lie_is_found(name: str, tmp_path: Path) -> None:
    code, said = judged(tmp_path, LIES[name][1](good()))
    assert code == 2, said
    assert said.split("\n")[-2].startswith("FALSE: ")


def test_it_uses_the_standard_library_and_cryptography_alone() -> None:
    imports = [
        line.split()[1].split(".")[0] for line in SCRIPT.read_text().split("\n") if line[:5] in ("impor", "from ")
    ]
    assert set(imports) <= {"base64", "hashlib", "re", "sys", "pathlib", "cryptography"}
