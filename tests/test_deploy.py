"""What stands in deploy/ as far as it can be checked without an engine: it parses, and every command in it exists."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hansa.cli import app
from tests.end_to_end.runbook import DEPLOY, HANSA, PROMPT, steps, unit

UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
PAGE = (DEPLOY / "README.md").read_text()
SECRET = re.compile(r"(?i)(password|secret|token|key)\b[ \t]*[:=][ \t]*\S")


def check_command(words: list[str]) -> None:
    """Fails unless `hansa <words>` is a command that takes these options, and this many arguments."""
    command: Any = typer.main.get_command(app)
    if words[:2] == ["hub", "add-person"]:
        words = [*words, "--password", "is asked for"]
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"there is no `hansa {' '.join(words)}`"
        command, words = command.commands[words[0]], words[1:]
    command.make_context("hansa", list(words))


def commands_on_the_page() -> list[list[str]]:
    return [step.words[1:] for step in steps() if step.words[0] == "hansa"]


@pytest.mark.parametrize("words", commands_on_the_page(), ids=" ".join)
def test_a_command_of_the_runbook_exists_with_its_options(words: list[str]) -> None:
    check_command(words)


def test_every_prompt_on_the_page_is_understood() -> None:
    prompted = [line for line in PAGE.splitlines() if re.match(r"^\w+[#$] ", line)]
    assert len(prompted) > 20
    assert all(PROMPT.match(line) for line in prompted)


@pytest.mark.parametrize(
    "name", re.findall(r"`hansa ((?:hub|site|job|audit|charter)[a-z -]*)", (DEPLOY / "README.md").read_text())
)
def test_a_command_that_the_runbook_names_in_a_sentence_exists(name: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in name.split():
        if not hasattr(command, "commands") or word.startswith("-"):
            return
        assert word in command.commands, f"there is no `hansa {name}`"
        command = command.commands[word]


# Units


@pytest.mark.parametrize("file", UNITS)
def test_a_unit_runs_a_command_that_exists_as_a_user_of_its_own_with_little_else_in_sight(file: str) -> None:
    service = unit(file.removesuffix(".service").replace("@", "@x"))
    first, *words = shlex.split(service["ExecStart"])
    if first == HANSA:
        check_command(words)
    else:
        assert (first, words) == ("/usr/bin/redis-server", ["server.conf"])
    assert service["User"] == "hansa"
    for name in ("NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome", "ProtectKernelTunables"):
        assert service[name] == "yes"
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"], service["UMask"]) == ("strict", "", "0077")


@pytest.mark.parametrize("file", UNITS)
def test_systemd_understands_every_line_of_a_unit(file: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    text = (DEPLOY / "systemd" / file).read_text()
    # What is installed elsewhere stands in for what is not installed here; systemd looks whether it is there.
    for program in (HANSA, "/usr/bin/redis-server"):
        text = text.replace(f"ExecStart={program} ", f"ExecStart={sys.executable} ")
    (tmp_path / file).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / file)], capture_output=True, text=True, check=False, timeout=60
    )
    of_this_unit = [line for line in (done.stdout + done.stderr).splitlines() if "hansa" in line]
    assert of_this_unit == []
    assert done.returncode == 0, done.stderr


def test_every_unit_is_installed_by_the_runbook_and_enabled_or_named() -> None:
    for file in UNITS:
        assert f"systemd/{file}" in PAGE
        assert file.removesuffix(".service").removesuffix("@") in PAGE.replace(f"systemd/{file}", "")


# Containers


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_command_that_exists_with_nothing_it_can_do_without(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"
    if name == "postgres":  # its image starts as root and drops to its own user
        return
    if service["image"] == "hansa":
        check_command(service["command"])
    else:
        assert (service["entrypoint"], service["command"]) == (["redis-server"], ["server.conf"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])


def test_the_services_are_a_hub_a_database_a_mailbox_and_a_site_each_and_all_references_hold() -> None:
    sites = {name.removeprefix("site-") for name in SERVICES if name.startswith("site-")}
    assert len(sites) == 3
    assert set(SERVICES) == {"hub", "dashboard", "postgres", "private"} | {
        f"{sort}-{site}" for sort in ("site", "mailbox") for site in sites
    }
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    # A site reaches its mailbox, and neither the hub's own broker nor its database.
    for site in sites:
        reach = set(SERVICES[f"site-{site}"]["networks"])
        assert reach & set(SERVICES[f"mailbox-{site}"]["networks"])
        assert not reach & (set(SERVICES["private"]["networks"]) | set(SERVICES["postgres"]["networks"]))


@pytest.mark.parametrize("file", ["compose.yaml", "Containerfile", *(f"systemd/{name}" for name in UNITS)])
def test_no_secret_stands_in_a_file_of_deploy(file: str) -> None:
    assert SECRET.findall("\n".join(_code(file))) == []


def _code(file: str) -> list[str]:
    return [line for line in (DEPLOY / file).read_text().splitlines() if not line.lstrip().startswith("#")]


def test_the_image_copies_what_is_there_and_ends_as_a_user_without_rights() -> None:
    root = DEPLOY.parent
    copied = [words[1:-1] for words in map(str.split, _code("Containerfile")) if words[:1] == ["COPY"]]
    names = [name for names in copied for name in names if not name.startswith(("--from", "/opt"))]
    assert names and all((root / name).exists() for name in names)
    users = re.findall(r"^USER (.+)$", CONTAINERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert '\nENTRYPOINT ["hansa"]\n' in CONTAINERFILE
