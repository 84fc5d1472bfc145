"""The commands of deploy/README.md, and the machines that they are played on: network namespaces of this machine.

A command is played as it stands, but for paths and names: a machine's `/var/lib/hansa` is a folder, `hub.example.org`
an address inside the namespaces. What needs another machine's root is played by what it stands for: `systemctl enable
--now` starts the unit's own ExecStart in its own WorkingDirectory; packages and users are there.
"""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.consortium import PATIENCE, environment

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMPT = re.compile(r"^(hub|site)([#$]) (.+)$")
HANSA = "/opt/hansa/.venv/bin/hansa"
GIVEN = ("apt-get", "useradd", "python3", "/opt/hansa/.venv/bin/pip", "cp")  # what this machine has already
HUB_ADDRESS = "10.213.0.1"


class Step(NamedTuple):
    where: str  # hub or site
    root: bool
    words: list[str]

    @property
    def of_each_site(self) -> bool:
        """North's is written out: its files, and its mailbox."""
        text = " ".join(self.words)
        return self.where == "site" or (re.search(r"north\.|-north", text) is not None and "south" not in text)


def steps() -> list[Step]:
    """The commands in the order of the page."""
    found = [PROMPT.match(line) for line in (DEPLOY / "README.md").read_text().splitlines()]
    return [Step(match[1], match[2] == "#", shlex.split(match[3])) for match in found if match]


def unit(name: str) -> Mapping[str, str]:
    """The `[Service]` of a unit, `%i` filled in."""
    kind, _, instance = name.partition("@")
    path = DEPLOY / "systemd" / (f"{kind}@.service" if instance else f"{kind}.service")
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return {key: value.replace("%i", instance) for key, value in parser["Service"].items()}


def skip_unless_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces are root's to make")
    for command, package in (("ip", "iproute2"), ("redis-server", "redis-server")):
        if shutil.which(command) is None:
            pytest.skip(f"no {command} on this machine (Debian: apt-get install {package})")


class Machine:
    """A namespace with a folder for its `/var/lib/hansa`, and what was started in it."""

    def __init__(self, name: str, folder: Path, post: Path) -> None:
        self.name, self.namespace = name, f"hansa-{os.getpid()}-{name}"
        self.folder, self._post = folder / name, post
        self.folder.mkdir()
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))

    def said(self, words: Sequence[str], answers: str = "") -> str:
        """Runs one command to its end, in the folder where the post lies; gives its output."""
        done = subprocess.run(
            self._inside(words),
            input=answers,
            cwd=self._post,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}\n{self.log}"
        return done.stdout

    def enable(self, name: str) -> None:
        service = unit(name)
        folder = Path(self._here(service.get("WorkingDirectory", str(self._post))))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.services[name] = subprocess.Popen(
                self._inside(shlex.split(service["ExecStart"])),
                cwd=folder,
                env=environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        for process in reversed(self.services.values()):
            process.terminate()
        for process in self.services.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def lives(self) -> bool:
        return all(process.poll() is None for process in self.services.values())

    def _inside(self, words: Sequence[str]) -> list[str]:
        first, *rest = (self._here(word) for word in words)
        command = [sys.executable, "-m", "hansa.cli"] if first in ("hansa", HANSA) else [first]
        return ["ip", "netns", "exec", self.namespace, *command, *rest]

    def _here(self, word: str) -> str:
        for place, folder in (("/var/lib/hansa", self.folder), ("/srv/data", self.folder / "data")):
            word = word.replace(place, str(folder))
        return word.replace("hub.example.org", HUB_ADDRESS)


@contextmanager
def machines(folder: Path, sites: Sequence[str]) -> Iterator[dict[str, Machine]]:
    """The hub's and one a site, each in a namespace of its own; a cable from each site to the hub, and no other."""
    post = folder / "post"
    post.mkdir()
    found = {name: Machine(name, folder, post) for name in ("hub", *sites)}
    hub = found["hub"].namespace
    try:
        for machine in found.values():
            _ip("netns", "add", machine.namespace)
            _ip("-n", machine.namespace, "link", "set", "lo", "up")
        _ip("-n", hub, "addr", "add", f"{HUB_ADDRESS}/32", "dev", "lo")
        for number, site in enumerate(sites, 1):
            there, cable = found[site].namespace, f"to{number}"
            _ip("link", "add", cable, "netns", hub, "type", "veth", "peer", "name", "eth0", "netns", there)
            for namespace, device, last in ((hub, cable, 1), (there, "eth0", 2)):
                _ip("-n", namespace, "addr", "add", f"10.213.{number}.{last}/24", "dev", device)
                _ip("-n", namespace, "link", "set", device, "up")
            _ip("-n", there, "route", "add", HUB_ADDRESS, "via", f"10.213.{number}.1")
        yield found
    finally:
        for machine in reversed(found.values()):
            machine.stop()
        for machine in found.values():
            subprocess.run(["ip", "netns", "del", machine.namespace], capture_output=True, timeout=20, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode and words[:2] == ("netns", "add"):
        pytest.skip(f"no network namespaces can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
