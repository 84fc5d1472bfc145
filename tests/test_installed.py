"""Another house's kind: installed as a wheel, imported only once its digest is allowed, and then like one of ours."""

import importlib.util
import py_compile
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hansa import installed, jobs
from hansa.errors import Refused
from hansa.hub import settings as hub_settings
from hansa.jobs import EXAMPLES, _examples, _kinds, decode_answer, encode_answer, form, parse
from hansa.plan import Question
from hansa_site import policy as policies
from tests.world import EVERYTHING, OPEN, World

KIND = "acme_rows"
MODULE = '''
"""How many rows there are: one total."""
from typing import ClassVar
from hansa.jobs.base import Answer, Example, Job, Step, fit, reals
from hansa.jobs.example import numbers_table
from hansa.privacy import disclosure

class Rows(Answer, frozen=True, tag="acme_rows", kw_only=True):
    rows: int | None
    def disclosed(self, rules):
        return Rows(rows=disclosure.shown(self.rows or 0, rules))

class Ask(Job, frozen=True, tag="acme_rows", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Rows of a column"
    learns: ClassVar[str] = "how many rows there are"
    column: str
    def columns(self):
        return (self.column,)
    def check(self, schema):
        schema.column(self.column)
    def begin(self, schemas, sites):
        return Step("rows", (reals("rows", (1,), 2.0**30, sites),))
    def encode(self, table, step):
        return fit(step, {"rows": [float(table.rows)]})
    def advance(self, step, total):
        return Rows(rows=total.count("rows"))

EXAMPLE = Example(job=Ask(column="x"), tables={"a": numbers_table(x=[1.0, 2.0])}, answer=Rows(rows=2))
'''


def wheel(folder: Path, module: str = MODULE, points: str = f"{KIND} = acme_kinds.rows", extra: str = "") -> Path:
    """A wheel as any build tool makes it, with `extra` as a file beside its folder."""
    info = "acme_kinds-1.0.dist-info"
    files = {
        "acme_kinds/__init__.py": "",
        "acme_kinds/rows.py": module,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: acme-kinds\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[hansa.jobs]\n{points}\n",
    }
    if extra:
        files[extra] = ""
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "acme_kinds-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs with pip into a folder that this process finds; the process forgets it all afterwards."""

    def into(**parts: str) -> Path:
        target = tmp_path / "installed"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        made = wheel(tmp_path / "made", **parts)
        subprocess.run([*pip, "--disable-pip-version-check", "--target", str(target), str(made)], check=True)
        monkeypatch.syspath_prepend(str(target))
        monkeypatch.setattr(sys, "pycache_prefix", None)
        return target

    yield into
    _examples.pop(KIND, None)
    _kinds.pop(KIND, None)
    installed._admitted.pop(KIND, None)
    for name in [name for name in sys.modules if name.startswith("acme_kinds")]:
        del sys.modules[name]


def test_it_is_listed_with_its_digest_and_not_imported(install: Install) -> None:
    install()
    one = installed.found()[KIND]
    assert (one.package, one.version, one.trouble, len(one.digest)) == ("acme-kinds", "1.0", "", 64)
    assert "acme_kinds" not in sys.modules
    installed.admit({})
    installed.admit({KIND: "0" * 64})
    assert "acme_kinds" not in sys.modules and KIND not in jobs.KINDS


def test_allowed_by_its_digest_it_is_a_kind_as_any_other(install: Install) -> None:
    install()
    installed.admit({KIND: installed.found()[KIND].digest})
    assert [field.name for field in form(KIND)] == ["column"]
    assert parse(KIND, {"column": "x"}).title == "Rows of a column"
    assert decode_answer(encode_answer(EXAMPLES[KIND].answer)) == EXAMPLES[KIND].answer
    assert jobs.KINDS[KIND].learns == "how many rows there are"


def test_any_byte_of_it_changes_the_digest_and_so_does_a_name(install: Install) -> None:
    target = install()
    before = installed.found()[KIND].digest
    (target / "acme_kinds" / "rows.py").write_text(MODULE + "\n")
    changed = installed.found()[KIND].digest
    assert changed != before
    installed.admit({KIND: before})
    assert KIND not in jobs.KINDS


def test_a_compiled_file_that_says_something_else_is_not_what_runs(install: Install, tmp_path: Path) -> None:
    target = install()
    digest = installed.found()[KIND].digest
    other = tmp_path / "other.py"
    other.write_text(MODULE.replace("Rows of a column", "Something else"))
    cached = importlib.util.cache_from_source(str(target / "acme_kinds" / "rows.py"))
    py_compile.compile(str(other), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert installed.found()[KIND].digest == digest
    installed.admit({KIND: digest})
    assert jobs.KINDS[KIND].title == "Rows of a column"


def test_a_folder_of_the_same_name_before_it_on_the_path_is_found(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    digest = installed.found()[KIND].digest
    (tmp_path / "first" / "acme_kinds").mkdir(parents=True)
    (tmp_path / "first" / "acme_kinds" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    assert "another 'acme_kinds' stands before its folder" in installed.found()[KIND].trouble
    installed.admit({KIND: digest})
    assert KIND not in jobs.KINDS


def test_sites_answer_it_once_their_policies_allow_its_digest_and_not_before(install: Install, tmp_path: Path) -> None:
    install()
    digest = installed.found()[KIND].digest
    installed.admit({KIND: digest})  # as the hub's own settings do
    named: dict[str, str] = {KIND: digest}
    for place, digests in enumerate(({}, {KIND: "0" * 64}, named)):
        policy = replace(OPEN, kinds=(KIND,), kind_digests=digests)
        folder = tmp_path / f"world{place}"
        folder.mkdir()
        world = World(folder, policy=policy)
        run = world.ask(Question(KIND, "numbers", {"column": "x"}, disclosure=EVERYTHING))
        job = world.finish(run)
        assert (job.status == "done") == (digests is named), job.reason
        if digests is named:
            assert b'"rows":4' in (job.answer or b"")
        else:
            assert "with other code than is installed here" in (job.reason or "")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"points": "glm = acme_kinds.rows"}, "Hansa's own"),
        ({"points": "acme_rows = hansa.jobs.rows"}, "a folder of Hansa's own"),
        ({"extra": "acme_kinds.pth"}, "a file outside its folder 'acme_kinds'"),
        ({"extra": "hansa/jobs/rows.py"}, "a file outside its folder 'acme_kinds'"),
    ],
)
def test_a_package_that_reaches_beyond_its_folder_is_never_imported(
    install: Install, parts: dict[str, str], words: str
) -> None:
    install(**parts)
    (one,) = [one for one in installed.found().values() if one.package == "acme-kinds"]
    assert words in one.trouble and not one.digest
    installed.admit({one.kind: one.digest})
    assert "acme_kinds" not in sys.modules


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (MODULE.replace("EXAMPLE = ", "OTHER = "), "holds no EXAMPLE"),
        (
            MODULE.replace('Job, frozen=True, tag="acme_rows"', 'Job, frozen=True, tag="glm"'),
            "carry the tag 'acme_rows'",
        ),
    ],
)
def test_a_module_that_is_no_kind_is_refused_in_a_sentence(install: Install, module: str, words: str) -> None:
    install(module=module)
    with pytest.raises(Refused, match=words):
        installed.admit({KIND: installed.found()[KIND].digest})
    assert KIND not in jobs.KINDS


def test_a_policy_that_names_it_without_its_digest_or_while_it_is_not_there_is_refused(install: Install) -> None:
    for raw in ({"kinds": [KIND]}, {"kind_digests": {KIND: "0" * 64}}):
        with pytest.raises(Refused, match="no such kind is installed here"):
            policies.convert(raw, frozenset(), "policy.toml")
    install()
    with pytest.raises(Refused, match="wants to be named in 'kind_digests'"):
        policies.convert({"kinds": [KIND]}, frozenset(), "policy.toml")
    digest = installed.found()[KIND].digest
    assert policies.convert({"kinds": [KIND], "kind_digests": {KIND: digest}}, frozenset(), "policy.toml")
    assert "acme_kinds" not in sys.modules  # a policy that is only looked at runs nothing


def test_a_hub_runs_what_its_settings_allow(install: Install, tmp_path: Path) -> None:
    install()
    text = 'database = "sqlite://"\nprivate = ""\n[mailboxes]\n'
    (tmp_path / "hub.toml").write_text(text)
    hub_settings.read_settings(tmp_path)
    assert KIND not in jobs.KINDS
    (tmp_path / "hub.toml").write_text(f'{text}[kind_digests]\n{KIND} = "{installed.found()[KIND].digest}"\n')
    hub_settings.read_settings(tmp_path)
    assert KIND in jobs.KINDS
    (tmp_path / "hub.toml").write_text(f'{text}[kind_digests]\nhoroscope = "{"0" * 64}"\n')
    with pytest.raises(Refused, match="names 'horoscope', and no such kind is installed here"):
        hub_settings.read_settings(tmp_path)
