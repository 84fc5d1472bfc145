"""What is installed holds all that a consortium needs, and nothing that only tests read."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hansa.cli.consortium import read_consortium

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in the wheel that is built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("hansa-*.whl")
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def of(folder: Path, *, under: str) -> set[str]:
    """The files of a folder of this checkout, as they are to be named in the wheel."""
    return {
        f"{under}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_all_three_packages_and_both_trees_of_migrations(wheel: list[str]) -> None:
    for folder, name in (
        ("platform/hansa", "hansa"),
        ("workers/hansa_site", "hansa_site"),
        ("dashboard/hansa_dashboard", "hansa_dashboard"),
        ("migrations/hub", "hansa/migrations/hub"),
        ("migrations/site", "hansa/migrations/site"),
    ):
        due = of(ROOT / folder, under=name)
        assert due
        assert due <= set(wheel), sorted(due - set(wheel))


def test_the_wheel_holds_the_demo_and_every_table_that_it_names(wheel: list[str]) -> None:
    demo = ROOT / "platform" / "hansa" / "demo"
    named = {Path(table.path).name for site in read_consortium(demo / "consortium.toml").site for table in site.table}
    assert len(named) == 8
    plans = {"glm.toml", "summary.toml", "kaplan_meier.toml", "cox.toml"}
    for name in {*named, *plans, "consortium.toml", "README.md"}:
        assert f"hansa/demo/{name}" in wheel


def test_the_wheel_holds_nothing_that_only_tests_and_benchmarks_read(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hansa", "hansa_site", "hansa_dashboard"}
    for name in wheel:
        assert not any(part in ("tests", "benchmarks", "vectors", "__pycache__") for part in name.split("/")), name
        assert Path(name).name not in {path.name for path in (ROOT / "tests" / "data").iterdir()} - {"README.md"}
        assert not name.endswith((".sqlite", ".log", "keys", "hub.toml", "site.toml"))


def test_the_wheel_installs_the_command_and_no_file_stands_in_it_twice(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
    assert len(set(wheel)) == len(wheel)
