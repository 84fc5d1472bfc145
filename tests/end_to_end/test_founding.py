"""The runbook, played: four machines, TLS between them, and the right answer at the end."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import hansa
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa_site.settings import read_settings
from tests.end_to_end.consortium import until
from tests.end_to_end.runbook import GIVEN, Machine, Step, machines, skip_unless_namespaces, steps

pytestmark = pytest.mark.processes

DEMO = Path(hansa.__file__).parent / "demo"
ROWS = {"north": "cleveland.csv", "south": "hungarian.csv", "west": "switzerland.csv"}
FINGERPRINT = re.compile(r"^  ((?:[a-z]+ ){11}[a-z]+)$", re.MULTILINE)
PASSWORD = "a password of more than twelve letters"


class Founding:
    """Plays the page from top to bottom; what a person reads, compares and types is done here."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self.machines, self.hub = machines, machines["hub"]
        self.post = self.hub.folder.parent / "post"
        self._fingerprints: dict[str, str] = {}

    def play(self, step: Step) -> None:
        if step.words[0] in GIVEN or step.words[:2] == ["systemctl", "disable"]:
            return
        for site in ROWS if step.of_each_site else ("",):
            words = [word.replace("north", site) if site else word for word in step.words]
            name = site if step.where == "site" else "hub"
            if words[0] == "systemctl":
                assert words[1:3] == ["enable", "--now"]
                self.enable(name, words[3])
            else:
                self._command(name, site, words)

    def _command(self, name: str, site: str, words: list[str]) -> None:
        asked = {"kit": site, "join": "hub"}.get(words[2], "")
        answers = {"sign": "y\n", "add-person": f"{PASSWORD}\n{PASSWORD}\n"}.get(words[2], "")
        said = self.machines[name].said(words, f"{self._fingerprints[asked]}\n" if asked else answers)
        if words[2] == "init":
            found = FINGERPRINT.search(said)
            assert found is not None, said
            self._fingerprints[name] = found[1]
        if words[2] == "sign":
            assert all(fingerprint in said for fingerprint in self._fingerprints.values()), said

    def enable(self, name: str, service: str) -> None:
        machine = self.machines[name]
        machine.enable(service)
        if service in ("hansa-hub", "hansa-site"):
            ready = machine.folder / service.removeprefix("hansa-") / "ready"
            until(service, ready.exists, machine.lives, lambda: machine.log)

    def wait_for_sites(self) -> None:
        hub = Hub(self.hub.folder / "hub")
        until("a letter of every site", lambda: all(view.seen_at for view in queries.members(hub)), self.hub.lives)


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founding]:
    skip_unless_namespaces()
    folder = tmp_path_factory.mktemp("founding")
    with machines(folder, tuple(ROWS)) as made:
        shutil.copy(DEMO / "summary.toml", folder / "post" / "plan.toml")
        for site, rows in ROWS.items():
            (made[site].folder / "data").mkdir()
            shutil.copy(DEMO / rows, made[site].folder / "data" / "heart.csv")
        founding = Founding(made)
        for step in steps():
            if step.words[:3] == ["hansa", "job", "run"]:
                founding.wait_for_sites()
            founding.play(step)
        yield founding


def test_the_page_founds_a_consortium_that_gives_the_right_answer(founding: Founding) -> None:
    said: dict[str, Any] = json.loads((founding.post / "answer.json").read_text())
    assert (said["status"], said["participants"]) == ("done", list(ROWS))
    ages = [float(row["age"]) for rows in ROWS.values() for row in csv.DictReader((DEMO / rows).open())]
    assert said["answer"]["columns"]["age"]["count"] == len(ages)
    assert said["answer"]["columns"]["age"]["mean"] == pytest.approx(fmean(ages), rel=1e-9)


def test_a_site_that_lost_its_database_answers_new_questions_from_an_empty_one(founding: Founding) -> None:
    """As the runbook says; an older copy of it would be dangerous, and is never put back."""
    north = founding.machines["north"]
    north.stop()
    for path in (north.folder / "site").glob("site.sqlite*"):
        path.unlink()
    founding.enable("north", "hansa-site")
    ask = next(step.words for step in steps() if step.words[:3] == ["hansa", "job", "run"])
    founding.hub.said([word.replace("answer.json", "again.json") for word in ask])
    first, second = (json.loads((founding.post / name).read_text()) for name in ("answer.json", "again.json"))
    assert (second["status"], second["answer"]) == ("done", first["answer"])
    assert second["run"] != first["run"]


def test_a_new_site_is_up_in_ten_commands() -> None:
    assert 5 < len([step for step in steps() if step.where == "site"]) <= 10


INTRUDER = """
import sys
from hansa.mail.post import raw_client
from hansa.mail.tls import Address, Tls
try:
    print(raw_client(Address(sys.argv[1], Tls(*sys.argv[2:]))).ping())
except Exception as error:
    print(type(error).__name__, error)
"""
NO_CERTIFICATE = """
import sys, redis
try:
    print(redis.Redis.from_url(sys.argv[1], ssl_ca_certs=sys.argv[2], retry=None).ping())
except Exception as error:
    print(type(error).__name__, error)
"""


def test_another_sites_machine_gets_into_no_mailbox_but_its_own(founding: Founding) -> None:
    north, south = founding.machines["north"], founding.machines["south"]
    homes = {site: founding.machines[site].folder / "site" for site in ROWS}
    url = {site: read_settings(home).mailbox for site, home in homes.items()}
    tls = {
        site: [str(home / "tls" / name) for name in ("authority.pem", "site.pem", "site.key")]
        for site, home in homes.items()
    }
    for site in ("north", "south"):  # so that below the certificate alone makes the difference
        assert south.said([sys.executable, "-c", INTRUDER, url[site], *tls[site]]).strip() == "True"
    stolen = south.said([sys.executable, "-c", INTRUDER, url["north"], *tls["south"]])
    bare = south.said([sys.executable, "-c", NO_CERTIFICATE, url["north"], tls["south"][0]])
    for said in (stolen, bare):
        assert "True" not in said and ("ConnectionError" in said or "SSL" in said), said
    other = [tls["north"][1], *tls["north"][1:]]  # an authority that signed no server
    assert "certificate verify failed" in north.said([sys.executable, "-c", INTRUDER, url["north"], *other]).lower()
