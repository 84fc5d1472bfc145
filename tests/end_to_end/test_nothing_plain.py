"""No row and no site's plain numbers are anywhere but at that site: everything else is searched for them, byte by byte.

Each site's table holds planted values. A summary and a regression run over them. What each site contributes to each
step is computed again here from its own table; then the brokers (what their users may read, and their memory), the
hub's memory and every file of the hub's are searched for rows, contributions and keys in every spelling. The hub is
held by SIGSTOP in mid-job for one of the searches, so that letters are certain to lie in the brokers.
"""

import base64
import json
import os
import signal
import struct
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import redis

from hansa import jobs, key_file
from hansa.jobs import base
from hansa.jobs.base import Answer, Flags, Reals, Step, Table
from hansa_site.settings import read_settings
from hansa_site.tables import load
from tests.end_to_end.consortium import Consortium, Said, toml, until
from tests.real_rows import Chance

pytestmark = pytest.mark.processes

SITES = ("aachen", "bergen", "cork", "delft")
SUMMARY: dict[str, Any] = {"kind": "summary", "table": "plant", "parameters": {"columns": ["amount", "weight"]}}
REGRESSION: dict[str, Any] = {
    "kind": "glm",
    "table": "plant",
    "parameters": {"family": "gaussian", "formula": "amount ~ weight + C(ward)"},
}
ANCHOR = 6  # bytes by which the search looks; a needle is at least as long
PAGE = os.sysconf("SC_PAGE_SIZE")


class Needles:
    """Many byte strings, looked for in one pass over a haystack: first the six most telling bytes of each."""

    def __init__(self) -> None:
        self._named: dict[int, list[tuple[bytes, int, str]]] = {}
        self._first = [np.zeros(65_536, dtype=np.bool_) for _ in range(ANCHOR // 2)]
        self._known: set[tuple[bytes, str]] = set()

    @property
    def count(self) -> int:
        return len(self._known)

    def add(self, needle: bytes, name: str) -> None:
        if len(needle) < ANCHOR or (needle, name) in self._known:
            return
        self._known.add((needle, name))
        starts = range(min(len(needle), 256) - ANCHOR + 1)
        at = max(starts, key=lambda start: len(set(needle[start : start + ANCHOR]) - {0, 255}))
        anchor = needle[at : at + ANCHOR]
        self._named.setdefault(int.from_bytes(anchor, "big"), []).append((needle, at, name))
        for place, first in enumerate(self._first):
            first[int.from_bytes(anchor[2 * place : 2 * place + 2], "big")] = True

    def add_text(self, text: str, name: str) -> None:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            self.add_bytes(text.encode(encoding), f"{name} as {encoding} text")

    def add_bytes(self, data: bytes, name: str) -> None:
        """As it is, in hexadecimal, and in base64 wherever it may begin."""
        self.add(data, name)
        self.add(data.hex().encode(), f"{name} in hexadecimal")
        self.add(data.hex().upper().encode(), f"{name} in hexadecimal")
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + data)
            whole = coded[(0, 2, 3)[shift] : len(coded) - (4 if (shift + len(data)) % 3 else 0)]
            if len(whole) >= 8:
                self.add(whole, f"{name} in base64")

    def add_number(self, value: float, name: str) -> None:
        """Every way to write a float64 that has digits enough to be told from chance."""
        if len(repr(abs(value)).strip("0.")) >= 7:
            for text in {repr(value), f"{value:.2f}", f"{value:.6f}", f"{value:.10g}", f"{value:e}", f"{value:.17g}"}:
                if len(text) >= 9:  # a shorter one is also a date or a version, somewhere
                    self.add(text.encode(), f"{name} as text")
        for order in "<>":
            packed = struct.pack(f"{order}d", value)
            if len(set(packed) - {0, 255}) >= 4:
                self.add_bytes(packed, f"{name} as float64 {order}")

    def found(self, haystack: bytes) -> set[str]:
        data = np.frombuffer(haystack, dtype=np.uint8)
        if data.size < ANCHOR:
            return set()
        pairs = (data[:-1].astype(np.uint16) << 8) | data[1:]
        places = np.flatnonzero(self._first[0][pairs[: data.size - ANCHOR + 1]])
        for offset, first in enumerate(self._first[1:], 1):
            places = places[first[pairs[places + 2 * offset]]]
        words = [pairs[places + 2 * offset].astype(np.int64) for offset in range(ANCHOR // 2)]
        anchors = (words[0] << 32) | (words[1] << 16) | words[2]
        known = np.isin(anchors, np.fromiter(self._named, dtype=np.int64))
        return {
            name
            for place, anchor in zip(places[known].tolist(), anchors[known].tolist(), strict=True)
            for needle, at, name in self._named[anchor]
            if place >= at and haystack.startswith(needle, place - at)
        }


class Place(NamedTuple):
    """Somewhere to look: what it is called, and its bytes."""

    name: str
    data: bytes


def planted(place: int) -> list[tuple[float, float, str, str]]:
    """A site's rows: amount, weight, ward, and a name that no question asks for. Each number is nobody else's."""
    rows = 23 + 6 * place
    return [
        (
            (123_456_789.25 + 10_000_019.5 * place + 7_654_321.125 * row) * (1 if row % 3 else -1),
            1000 * (place + 1) + 17.0625319 + 0.1234567 * place + row * 1.2345678901,
            ("north", "south")[row % 2],
            f"Wilhelmina Quastenflosser {SITES[place]} {row:04}",
        )
        for row in range(rows)
    ]


def write(folder: Path) -> Path:
    sites = []
    for place, site in enumerate(SITES):
        lines = [f"{amount!r},{weight!r},{ward},{name}" for amount, weight, ward, name in planted(place)]
        (folder / f"{site}.csv").write_text("\n".join(["amount,weight,ward,name", *lines]) + "\n")
        table = {"name": "plant", "path": f"{site}.csv", "categories": {"ward": ["north", "south"]}}
        sites.append({"name": site, "table": [table]})
    file = folder / "plant.toml"
    file.write_text(f'name = "plant"\nsite = {toml(sites)}\n')
    return file


def rows_of(needles: Needles, place: int) -> None:
    for row, (amount, weight, _ward, name) in enumerate(planted(place)):
        needles.add_number(amount, f"{SITES[place]}: amount of row {row}")
        needles.add_number(weight, f"{SITES[place]}: weight of row {row}")
        needles.add_text(name, f"{SITES[place]}: name of row {row}")


def contributions_of(needles: Needles, question: Mapping[str, Any], tables: Mapping[str, Table]) -> Answer:
    """Adds what each site puts into each step, before any mask; gives the answer that these steps lead to.

    Where the ring is meant, a number alone is a needle if its bytes can't be chance, and a block of them always.
    Yes-or-no places are random numbers and zeros, so there is nothing to look for in them.
    """
    job = jobs.parse(question["kind"], question["parameters"])
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        total = np.zeros(sum(base.size(block) for block in step.blocks), dtype=np.uint64)
        for site, table in tables.items():
            share, start = job.encode(table, step), 0
            vector = base.to_ring(step, share, Chance(site))
            total += vector
            for block in step.blocks:
                part = vector[start : start + base.size(block)]
                start += base.size(block)
                if isinstance(block, Reals):
                    name = f"{site}: {block.name} in {question['kind']} {step.name}"
                    _add_share(needles, name, np.asarray(share[block.name], dtype=np.float64).reshape(-1), part)
                else:
                    assert isinstance(block, Flags)
        step = job.advance(step, base.from_ring(step, total, len(tables)))
    return step


def _add_share(needles: Needles, name: str, numbers: "np.ndarray[Any, Any]", ring: "np.ndarray[Any, Any]") -> None:
    for number in numbers.tolist():
        needles.add_number(number, name)
    for order in "<>":
        for element in ring.tolist():
            packed = struct.pack(f"{order}Q", element)
            if len(set(packed) - {0, 255}) >= 4:
                needles.add_bytes(packed, f"{name} in the ring {order}")
        for values, sort in ((numbers, f"{order}f8"), (ring, f"{order}u8")):
            if np.count_nonzero(values) >= 2 and values.size <= 64:
                needles.add_bytes(values.astype(sort).tobytes(), f"{name}, the whole block as {sort}")


def files_under(*folders: Path) -> Iterator[Place]:
    for folder in folders:
        for path in [folder, *sorted(folder.rglob("*"))]:
            if path.is_file():
                yield Place(str(path), path.read_bytes())


def memory_of(pid: int, name: str) -> Iterator[Place]:
    """Whatever a process may write to, and so may hold: the pages that are there, run by run."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with (
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
        Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pages,
    ):
        for line in maps:
            extent, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) // PAGE for part in extent.split("-"))
            pages.seek(8 * start)
            there = np.frombuffer(pages.read(8 * (end - start)), dtype="<u8") >> np.uint64(62) != 0  # or swapped out
            edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(np.int8), [0]])))
            for first, last in edges.reshape(-1, 2).tolist():
                try:
                    memory.seek((start + first) * PAGE)
                    yield Place(f"memory of {name}", memory.read((last - first) * PAGE))
                except OSError:  # gone meanwhile
                    continue


def may_read_memory() -> bool:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 and (not scope.exists() or scope.read_text().strip() in "012")


def lists_of(consortium: Consortium) -> list[Place]:
    """Every list that the hub may read, with the hub's own credentials. (A site's user may take, and not look.)"""
    found = []
    settings = tomllib.loads((consortium.home / "hub" / "hub.toml").read_text())
    for site, url in settings["mailboxes"].items():
        with redis.Redis.from_url(url) as client:
            for key in (f"s:{site}:hub", f"h:proc:{site}"):
                found += [Place(f"{key} in the broker", data) for data in client.lrange(key, 0, -1)]
    return found


def brokers(consortium: Consortium) -> dict[int, str]:
    return {pid: line for pid, line in consortium.processes().items() if "valkey" in line.split()[0]}


def outside(consortium: Consortium) -> Iterator[Place]:
    """All that is not a site's own: the hub's files, every broker's files and lists, every log, and the memories."""
    homes = [consortium.home / "sites" / site for site in SITES]
    yield from files_under(consortium.home / "hub", *(home / "mailbox" for home in homes))
    for home in homes:
        yield Place(str(home / "log"), (home / "log").read_bytes())
    yield from lists_of(consortium)
    if may_read_memory():
        yield from memory_of(consortium.process("hub"), "the hub")
        for pid, line in brokers(consortium).items():
            yield from memory_of(pid, line)


def search(needles: Needles, places: Iterable[Place]) -> tuple[dict[str, set[str]], int]:
    """What was found where, and how many bytes were looked at."""
    found: dict[str, set[str]] = {}
    size = 0
    for place in places:
        size += len(place.data)
        if names := needles.found(place.data):
            found.setdefault(place.name, set()).update(names)
    return found, size


class Searched(NamedTuple):
    """A consortium after two jobs, what was looked for, and what was found in mid-job and after it."""

    consortium: Consortium
    needles: Needles
    said: dict[str, Said]
    expected: dict[str, Answer]
    waiting: list[Place]  # letters that lay in the brokers while the hub was held
    in_mid_job: tuple[dict[str, set[str]], int]
    positive: tuple[dict[str, set[str]], int]  # of a site's own memory in mid-job


def holders(waiting: Iterable[Place]) -> set[str]:
    """The sites in whose brokers these letters lay."""
    return {site for place in waiting for site in SITES if site in place.name}


def hold_with_letters(consortium: Consortium) -> list[Place]:
    """Stops the hub's process at a moment after which every site has left a letter for it in its broker."""
    pid = consortium.process("hub")
    waiting: list[Place] = []

    def held() -> bool:
        nonlocal waiting
        os.kill(pid, signal.SIGSTOP)
        for _ in range(40):
            waiting = lists_of(consortium)
            if holders(waiting) == set(SITES):
                return True
        os.kill(pid, signal.SIGCONT)
        return False

    until("a letter of every site in its broker", held)
    return waiting


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    folder = tmp_path_factory.mktemp("plant")
    with Consortium(folder, write(folder)) as consortium:
        homes = {site: consortium.home / "sites" / site for site in SITES}
        needles, expected = Needles(), {}
        for question in (SUMMARY, REGRESSION):
            columns = jobs.parse(question["kind"], question["parameters"]).columns()
            tables = {site: load(read_settings(home).source("plant"), home, columns) for site, home in homes.items()}
            expected[question["kind"]] = contributions_of(needles, question, tables)
        for place, site in enumerate(SITES):
            rows_of(needles, place)
            [keys] = key_file.read(homes[site])
            needles.add_bytes((homes[site] / "passphrase").read_bytes().strip()[:32], f"{site}: passphrase")
            for start in range(0, len(keys), 32):
                needles.add_bytes(keys[start : start + 32], f"{site}: secret key, byte {start}")
        asked, _run = consortium.begin_up_to_step(REGRESSION, 2)
        waiting = hold_with_letters(consortium)
        try:
            in_mid_job = search(needles, outside(consortium))
            own = memory_of(consortium.process("cork"), "cork") if may_read_memory() else iter(())
            positive = search(needles, own)
        finally:
            os.kill(consortium.process("hub"), signal.SIGCONT)
        said = {"glm": asked.ended(), "summary": consortium.ask(SUMMARY)}
        yield Searched(consortium, needles, said, expected, waiting, in_mid_job, positive)


def test_the_steps_computed_again_here_are_those_of_the_jobs(searched: Searched) -> None:
    for kind, said in searched.said.items():
        assert said.code == 0, said.err
        assert said.answer["participants"] == list(SITES)
        expected = json.loads(jobs.encode_answer(searched.expected[kind]))
        assert said.answer["answer"] == {name: value for name, value in expected.items() if name != "kind"}


def test_the_search_finds_what_lies_in_the_sites_own_files(searched: Searched) -> None:
    for place, site in enumerate(SITES):
        home = searched.consortium.home / "sites" / site
        found, _ = search(searched.needles, files_under(home, searched.consortium.folder / f"{site}.csv"))
        every = {name for names in found.values() for name in names}
        for row in range(len(planted(place))):
            for column in ("amount", "weight", "name"):
                assert any(name.startswith(f"{site}: {column} of row {row} ") for name in every)
        assert f"{site}: passphrase" in every
        assert not any("secret key" in name for name in every)  # wrapped in its own home too


def test_the_search_finds_rows_and_contributions_in_a_haystack_of_chance(searched: Searched) -> None:
    amount = planted(2)[5][0]
    for hidden in (
        struct.pack("<d", amount),
        struct.pack(">d", amount),
        repr(amount).encode(),
        base64.b64encode(b"a letter" + struct.pack("<d", amount) + b"goes on"),
        base64.b64encode(b"a letters" + struct.pack("<d", amount) + b"goes on"),
        base64.b64encode(b"a letter's" + struct.pack("<d", amount) + b"goes on"),
        struct.pack("<d", amount).hex().encode(),
        "Wilhelmina Quastenflosser cork 0005".encode("utf-16-le"),
    ):
        haystack = Chance("hay")(4099) + hidden + Chance("more hay")(512)
        assert any(name.startswith("cork: ") for name in searched.needles.found(haystack))
    assert searched.needles.found(Chance("only hay")(2**20)) == set()


def test_the_search_finds_a_site_s_rows_in_the_memory_of_that_site(searched: Searched) -> None:
    if not may_read_memory():
        pytest.skip("the memory of another process can't be read here: that takes root, and ptrace_scope below 3")
    found = {name for names in searched.positive[0].values() for name in names}
    assert any(name.startswith("cork: amount of row") for name in found)
    others = {name for name in found if " of row " in name and not name.startswith("cork: ")}
    assert others == set(), "a site holds rows of another"


def test_in_mid_job_no_row_contribution_or_key_of_a_site_is_outside_it(searched: Searched) -> None:
    found, size = searched.in_mid_job
    assert found == {}
    assert size > 2**20
    assert holders(searched.waiting) == set(SITES)


def test_the_memory_search_sees_what_lies_in_a_broker(searched: Searched) -> None:
    if not may_read_memory():
        pytest.skip("the memory of another process can't be read here: that takes root, and ptrace_scope below 3")
    needle = b"Quastenflosser in a broker"
    letters = Needles()
    letters.add(needle, "planted")
    settings = read_settings(searched.consortium.home / "sites" / "cork")
    with redis.Redis.from_url(settings.mailbox) as client:
        client.set("s:cork:up:planted", needle)
    found = [search(letters, memory_of(pid, line))[0] for pid, line in brokers(searched.consortium).items()]
    assert len(found) == len(SITES) + 1
    assert sum(bool(one) for one in found) == 1


def test_after_the_jobs_no_row_contribution_or_key_of_a_site_is_outside_it(searched: Searched) -> None:
    found, size = search(searched.needles, outside(searched.consortium))
    assert found == {}
    assert size > 2**20


def test_no_password_lies_in_the_hub_s_home_the_brokers_or_the_logs(searched: Searched) -> None:
    consortium, secret = searched.consortium, Needles()
    password = consortium.told().split("password ")[1].split(")")[0]
    secret.add_text(password, "the password of a person")
    for site in SITES:
        mailbox = read_settings(consortium.home / "sites" / site).mailbox
        secret.add_text(mailbox.split("@")[0].rpartition(":")[2], f"the broker password of {site}")
    assert secret.count > len(SITES)
    homes = [consortium.home / "sites" / site for site in SITES]
    found, _ = search(secret, files_under(consortium.home / "hub", *(home / "mailbox" for home in homes)))
    assert found == {}
    for home in homes:
        assert secret.found((home / "log").read_bytes()) == set()
