"""What holds the house together and no linter checks."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hansa import jobs

ROOT = Path(__file__).parents[1]
SOURCES = {"platform": "hansa", "workers": "hansa_site", "dashboard": "hansa_dashboard"}
HEAVY = {"torch", "streamlit", "pandas", "polars", "celery", "scipy", "formulaic", "sqlalchemy", "redis", "numpy"}


def product() -> Iterator[Path]:
    """Every file of the product's code."""
    for source in SOURCES:
        yield from sorted(path for path in (ROOT / source).rglob("*.py") if "__pycache__" not in path.parts)


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `statement`."""
    program = f"import json, sys\nfor source in {list(SOURCES)!r}: sys.path.insert(0, {str(ROOT)!r} + '/' + source)\n"
    program += f"{statement}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_platform_is_the_standard_librarys_wherever_python_starts() -> None:
    for folder in (ROOT, ROOT / "platform"):
        done = subprocess.run(
            [sys.executable, "-c", "import platform; print(platform.__file__); platform.system()"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert not Path(done.stdout.strip()).is_relative_to(ROOT / "platform")


@pytest.mark.parametrize(("source", "package"), SOURCES.items())
def test_a_source_root_holds_its_package_and_nothing_else(source: str, package: str) -> None:
    found = {path.name for path in (ROOT / source).iterdir()} - {"__pycache__"}
    assert found == {package}


@pytest.mark.parametrize("source", SOURCES)
def test_no_test_stands_among_the_products_files(source: str) -> None:
    names = [path.name for path in (ROOT / source).rglob("*.py")]
    assert not [name for name in names if name.startswith(("test_", "conftest")) or name.endswith("_test.py")]


@pytest.mark.parametrize(("source", "package"), SOURCES.items())
def test_every_folder_of_a_package_is_a_package(source: str, package: str) -> None:
    folders = {path.parent for path in (ROOT / source / package).rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "jsonpickle"}


def test_nothing_in_the_product_runs_text_as_code_or_unpickles_it() -> None:
    found = []
    for path in product():
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & FORBIDDEN_CALLS
            elif isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} & FORBIDDEN_MODULES
            elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
                names = {node.arg}
            found += [f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {name}" for name in names]
    assert found == []


def test_hansa_alone_loads_nothing_heavy() -> None:
    assert not loaded_by("import hansa") & HEAVY


def test_a_protocol_loads_neither_database_nor_broker_nor_tables() -> None:
    assert not loaded_by("import hansa.protocols.secure_sum") & (HEAVY - {"numpy"})


def test_the_site_loads_nothing_of_the_hub_and_the_hub_nothing_of_the_site() -> None:
    for statement, other in (
        ("import hansa_site.site", "hansa.hub"),
        ("import hansa.hub.coordinator, hansa.hub.actions, hansa.hub.queries", "hansa_site"),
    ):
        loaded = loaded_by(f"{statement}\nassert not [n for n in sys.modules if (n + '.').startswith('{other}.')]")
        assert "streamlit" not in loaded


@pytest.mark.parametrize("kind", jobs.KINDS)
def test_every_kind_in_the_catalogue_says_what_it_is_and_what_is_learnt(kind: str) -> None:
    job = jobs.KINDS[kind]
    assert job.title.strip() == job.title != ""
    assert len(job.learns) > 20
    assert "\n" not in job.title + job.learns
    assert all(field.title and field.description for field in jobs.form(kind))


def test_every_file_of_the_product_begins_by_saying_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in product()
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []
