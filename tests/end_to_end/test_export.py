"""What an auditor does with nothing but an export and a member's charter: check it all, and recompute the release."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hansa
from tests.end_to_end.consortium import command, run_once

pytestmark = pytest.mark.processes

DEMO = Path(hansa.__file__).parent / "demo"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder that holds `export` and `charter`, of four hospitals that are gone; and the answer that they got."""
    folder, auditor = tmp_path_factory.mktemp("hospitals"), tmp_path_factory.mktemp("auditor")
    asked = run_once(
        folder,
        DEMO / "consortium.toml",
        DEMO / "glm.toml",
        "--home",
        str(folder / "home"),
        "--export",
        str(folder / "run"),
    )
    assert asked.code == 0, asked.err
    shutil.move(folder / "run", auditor / "export")
    shutil.move(folder / "home" / "sites" / "va" / "charter", auditor / "charter")
    shutil.rmtree(folder)
    return auditor, asked.answer


def test_an_auditor_with_an_export_and_the_charter_alone_reproduces_the_release(
    handed_over: tuple[Path, dict[str, object]],
) -> None:
    auditor, answer = handed_over
    said = command(auditor, "audit", "verify", auditor / "export", "--charter", auditor / "charter", "--json")
    assert said.code == 0, said.out
    verdict = json.loads(said.out)
    assert (verdict["outcome"], verdict["releases"], verdict["replayed"]) == ("holds", 1, [answer["run"]])
    assert verdict["final"] and verdict["own_charter"] and len(verdict["cosigned"]) == 4
    replayed = command(
        auditor,
        *("audit", "replay", "--file", auditor / "export" / "evidence" / str(answer["run"])),
        *("--charter", auditor / "charter"),
    )
    assert replayed.code == 0 and "to the byte" in replayed.out


def test_the_script_that_needs_no_hansa_says_the_same(handed_over: tuple[Path, dict[str, object]]) -> None:
    auditor, _ = handed_over
    script = [sys.executable, "-I", str(ROOT / "deploy" / "verify_export.py")]
    asked = [*script, str(auditor / "export"), str(auditor / "charter")]
    ran = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_byte_that_was_changed_in_the_export_is_false(
    handed_over: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    auditor, answer = handed_over
    copy = tmp_path / "copy"
    shutil.copytree(auditor / "export", copy)
    evidence = copy / "evidence" / str(answer["run"])
    content = bytearray(evidence.read_bytes())
    content[len(content) // 2] ^= 1
    evidence.write_bytes(content)
    said = command(tmp_path, "audit", "verify", copy, "--charter", auditor / "charter")
    assert said.code == 2 and said.out.startswith("FALSE")
