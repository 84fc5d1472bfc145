"""`hansa hub status` and `hansa site doctor` over real homes and servers: each trouble by its name, with the remedy."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from sqlalchemy.orm import Session
from typer.testing import CliRunner

import hansa
from hansa.cli import app
from hansa.files import write_private, write_toml
from hansa.hub import drafts, kits
from hansa.hub import settings as hub_settings
from hansa.hub import status as hub_status
from hansa.hub.models import Job, Member, Participant
from hansa.jobs.base import Schema
from hansa.mail import boxes, certificates
from hansa.mail.boxes import Inbox, Outbox
from hansa.mail.checks import Finding, broker
from hansa.mail.database import migrate, open_engine
from hansa.mail.letters import STANDING
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.mail.workers import Worker
from hansa.messages import HUB, encode
from hansa_site import doctor, joining
from hansa_site.journal import HubSeen
from hansa_site.settings import TableSource, read_settings
from tests.cards import ORIGIN
from tests.end_to_end.consortium import until
from tests.founded import Founded, free_ports
from tests.servers import PASSWORDS, debian_redis, serve

pytestmark = pytest.mark.processes
NOW = time.time()
SITES = ("north", "south", "west")


def consortium(root: Path) -> Founded:
    """With its charter, one table, databases, and a hub that has been heard: as after a first day."""
    made = Founded(root, SITES, free_ports(4))
    draft = drafts.draft(made.hub, "hearts", [made.requests[site] for site in SITES], {}, ORIGIN)
    signatures = [joining.sign(made.home(site), joining.read(made.home(site), draft)) for site in SITES]
    _, charter = drafts.finish(made.hub, draft, signatures)
    for site in SITES:
        joining.accept(made.home(site), charter)
    north = made.home("north")
    (north / "people.csv").write_text("age,sex\n31,0\n42,1\n")
    joining.add_table(north, TableSource("people", "people.csv"))
    with database(made.hub, "hub") as db:
        for site in SITES:
            tables = encode(tuple[Schema, ...]())
            db.add(Member(site=site, version=hansa.__version__, tables=tables, seen_at=NOW - 60))
    with database(north, "site") as db:
        db.add(HubSeen(id=1, version=hansa.__version__, at=NOW - 60))
        db.add(letter_in(NOW - 60))
    return made


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    """Nothing of it runs."""
    return consortium(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    """With every server, and a process on either home that holds its locks."""
    made = consortium(tmp_path_factory.mktemp("consortium"))
    workers = [Worker(made.hub, bytes(16)), Worker(made.home("north"), bytes(16))]
    assert all(worker.leads() for worker in workers)
    with made.serving("", *SITES):
        yield made
    for worker in workers:
        worker.close()


@pytest.fixture
def running(served: Founded, tmp_path: Path) -> Iterator[Founded]:
    """As `served`; what a test changes in the two homes is put back after it."""
    homes = (served.hub, served.home("north"))
    stays = shutil.ignore_patterns("brokers", "workers")  # in use by what runs
    for at in homes:
        shutil.copytree(at, tmp_path / at.name, ignore=stays)
    yield served
    for at in homes:
        for path in at.iterdir():
            if path.is_file():
                path.unlink()
        shutil.copytree(tmp_path / at.name, at, dirs_exist_ok=True)


class database:
    """A home's database, brought to the newest version; what is added is committed."""

    def __init__(self, at: Path, tree: str) -> None:
        url = hub_settings.read_settings(at).database if tree == "hub" else read_settings(at).database
        self._engine = open_engine(url)
        migrate(self._engine, tree)

    def __enter__(self) -> Session:
        self._db = Session(self._engine)
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.commit()
        self._db.close()
        self._engine.dispose()


def letter_in(at: float) -> Inbox:
    return Inbox(
        sender=HUB, run=STANDING, sequence=0, kind="welcome", data=b"x", received_at=at, attempts=0, done_at=at
    )


def letter_out(receiver: str, attempts: int) -> Outbox:
    return Outbox(
        receiver=receiver,
        run=STANDING,
        sequence=0,
        kind="hello",
        data=b"x",
        attempts=attempts,
        next_at=NOW,
        acked_at=None,
    )


def of_site(founded: Founded, now: float = NOW) -> list[Finding]:
    return safe(founded, doctor.look(founded.home("north"), now))


def of_hub(founded: Founded, now: float = NOW) -> list[Finding]:
    return safe(founded, hub_status.look(founded.hub, now))


def safe(founded: Founded, findings: list[Finding]) -> list[Finding]:
    """No sentence holds a password, or an address that could; and whatever is wrong has a remedy."""
    settings = hub_settings.read_settings(founded.hub)
    urls = [settings.private, *settings.mailboxes.values()]
    urls += [read_settings(founded.home(site)).mailbox for site in SITES]
    said = " ".join(f"{finding.says} {finding.mend}" for finding in findings)
    assert "://" not in said
    assert not [url for url in urls if (urlsplit(url).password or "none") in said]
    assert all(finding.mend for finding in findings if finding.mark == "wrong")
    return findings


def wrong(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.mark == "wrong"]


def only(findings: Sequence[Finding], about: str) -> Finding:
    """What is wrong about one thing, where nothing else is wrong."""
    (found,) = wrong(findings)
    assert found.about == about
    return found


def set_mailbox(founded: Founded, url: str) -> None:
    at = founded.home("north")
    plain = joining._plain(replace(read_settings(at), mailbox=url))
    write_toml(at / "site.toml", plain)


def test_where_all_is_well_nothing_is_wrong_and_asking_leaves_no_trace(running: Founded) -> None:
    for _ in range(2):
        assert wrong(of_hub(running)) == wrong(of_site(running)) == []
    mailbox = next(finding for finding in of_hub(running) if finding.about == "mailbox of north")
    assert mailbox.says.endswith("can be used: 0 letters for the site, 0 for us")
    assert any(finding.says.startswith("can be read, 2 columns") for finding in of_site(running))
    assert any(f"Hansa {hansa.__version__}" in finding.says for finding in of_hub(running))


def test_the_commands_print_a_line_a_finding_and_exit_with_0_or_1(running: Founded) -> None:
    run = CliRunner()
    north = ["--home", str(running.home("north"))]
    good = run.invoke(app, ["site", "doctor", *north])
    assert good.exit_code == 0 and "ok    mailbox: " in good.output and "wrong" not in good.output
    (running.home("north") / "people.csv").unlink()
    bad = run.invoke(app, ["site", "doctor", *north])
    assert bad.exit_code == 1 and "wrong table people: " in bad.output and "To mend it: " in bad.output
    found = json.loads(run.invoke(app, ["site", "doctor", *north, "--json"]).output)
    assert [entry["about"] for entry in found if entry["mark"] == "wrong"] == ["table people"]
    hub = run.invoke(app, ["hub", "status", "--home", str(running.hub), "--json"])
    assert hub.exit_code == 0 and {entry["mark"] for entry in json.loads(hub.output)} <= {"ok", "note"}


def test_a_missing_table_is_named_with_its_file(running: Founded) -> None:
    (running.home("north") / "people.csv").unlink()
    found = only(of_site(running), "table people")
    assert "there is no file" in found.says and "people.csv" in found.says
    assert "site.toml" in found.mend


def test_a_table_of_bytes_is_no_table(running: Founded) -> None:
    (running.home("north") / "people.csv").write_bytes(b"\0\1\2")
    assert "is not a CSV file" in only(of_site(running), "table people").says


def test_brokers_and_processes_that_do_not_run_are_named_each(founded: Founded) -> None:
    site, hub = wrong(of_site(founded)), wrong(of_hub(founded))
    assert [finding.about for finding in site] == ["processes", "mailbox"]
    assert "connection was refused" in site[1].says and "127.0.0.1:" in site[1].says
    assert "ask the hub's operator" in site[1].mend
    assert [finding.about for finding in hub] == [
        "processes", "the hub's broker", "mailbox of north", "mailbox of south", "mailbox of west",
    ]  # fmt: skip
    assert "systemctl restart hansa-broker@mailbox-north" in hub[2].mend
    assert "systemctl start hansa-hub" in hub[0].mend


def test_further_workers_are_no_hub(founded: Founded) -> None:
    worker = Worker(founded.hub, bytes(16))
    found = next(finding for finding in of_hub(founded) if finding.about == "processes")
    worker.close()
    assert found.mark == "wrong" and "only 1 further workers" in found.says


def test_a_wrong_password_is_told_from_everything_else(running: Founded) -> None:
    right = read_settings(running.home("north")).mailbox
    set_mailbox(running, right.replace(urlsplit(right).password or "", "of-yesterday"))
    findings = of_site(running)
    found = only(findings, "mailbox")
    assert "refuses the name or the password" in found.says and "newest kit" in found.mend
    assert "of-yesterday" not in str(findings)


def test_a_host_name_that_is_unknown_or_another_than_the_certificates(running: Founded) -> None:
    right = read_settings(running.home("north")).mailbox
    set_mailbox(running, right.replace("127.0.0.1", "localhost"))
    assert "is for another host name" in only(of_site(running), "mailbox").says
    set_mailbox(running, right.replace("127.0.0.1", "nowhere.invalid"))
    assert "nowhere.invalid" in only(of_site(running), "mailbox").says
    assert "can't be resolved" in only(of_site(running), "mailbox").says


def test_a_server_of_another_authority_and_a_client_whom_the_server_does_not_know(
    running: Founded, tmp_path: Path
) -> None:
    other = Founded(tmp_path / "other", ("north",), free_ports(2))
    own, theirs = running.home("north") / "tls", other.home("north") / "tls"
    authority = (own / "authority.pem").read_bytes()
    write_private(own / "authority.pem", (theirs / "authority.pem").read_bytes())
    found = only(of_site(running), "mailbox")
    assert "of another authority than the pinned one" in found.says and "tell the hub's operator" in found.mend
    write_private(own / "authority.pem", authority)
    for name in ("site.pem", "site.key"):
        write_private(own / name, (theirs / name).read_bytes())
    found = only(of_site(running), "mailbox")
    assert "refuses this party's TLS certificate" in found.says and "--again" in found.mend


def test_certificates_are_judged_by_the_clock(running: Founded) -> None:
    days = 86_400
    later = wrong(of_site(running, NOW + 900 * days))
    assert any("has expired" in finding.says and "clock" in finding.mend for finding in later)
    earlier = wrong(of_hub(running, NOW - 3 * days))
    assert any("is not yet valid" in finding.says and "clock is behind" in finding.mend for finding in earlier)
    soon = [finding for finding in of_hub(running, NOW + 810 * days) if finding.about == "certificate"]
    assert {finding.mark for finding in soon} == {"note", "ok"}
    assert any("hansa hub renew" in finding.says for finding in soon)


@pytest.mark.parametrize(("days", "word"), [(-2000, "has expired"), (30, "is not yet valid")])
def test_a_servers_certificate_of_another_time_names_the_clock(founded: Founded, days: int, word: str) -> None:
    folder, tls = kits.folder(founded.hub, "north"), founded.hub / "tls"
    place, key = kits.read_broker(founded.hub, "north").place, (folder / "server.key").read_bytes()
    above = (tls / "authority.pem").read_bytes(), (tls / "authority.key").read_bytes()
    write_private(
        folder / "server.pem", certificates.sign_server(key, place.hosts, *above, time.time() + days * 86_400)
    )
    with listening(folder, place.port):
        found = broker.probe(founded.of_site("north"), ()).trouble
    assert found is not None and word in found.says and "clock" in found.says
    (at_hub,) = [finding for finding in wrong(of_hub(founded)) if finding.about == "certificate"]
    assert "the server's certificate of mailbox-north" in at_hub.says and word in at_hub.says


@contextmanager
def listening(folder: Path, port: int) -> Iterator[None]:
    """A server that no client believes: it is there once its port takes connections."""
    process = subprocess.Popen([debian_redis()[0], "server.conf"], cwd=folder, stdout=subprocess.DEVNULL)

    def takes() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until("the server", takes, lambda: process.poll() is None, lambda: "it ended")
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_a_full_mailbox_and_one_whose_rules_are_another_sites(tmp_path: Path) -> None:
    with serve("valkey", tmp_path / "server") as server:
        north, hub = Address(server.url("site-north")), Address(server.url("hub"))
        tasks, way_in = (f"{site_prefix('north')}{name}" for name in ("tasks", "hub"))
        assert broker.probe(hub, (("LPUSH", tasks, "x"),), (tasks,)) == broker.Probe(None, (0,))
        denied = broker.probe(north, (("LPUSH", way_in, "x"), ("GET", "s:south:dn:x"))).trouble
        assert denied is not None and denied.kind == "permission" and denied.says.endswith("GET on s:south:dn:x")
        with server.client("admin") as admin:
            assert admin.llen(way_in) == 0
            admin.config_set("maxmemory", 1)
            full = broker.probe(north, (("LPUSH", way_in, "x"),), (tasks,))
        assert full.trouble is not None and full.trouble.kind == "full" and full.lengths == (0,)
        assert not [password for password in PASSWORDS.values() if password in full.trouble.says]


def test_a_server_that_refuses_to_queue_is_not_sent_what_it_would_do(tmp_path: Path) -> None:
    with serve("valkey", tmp_path / "server") as server, server.client("admin") as admin:
        way_in = f"{site_prefix('north')}hub"
        admin.execute_command("ACL", "SETUSER", "site-north", "-multi")
        found = broker.probe(Address(server.url("site-north")), (("LPUSH", way_in, "x"),)).trouble
        assert found is not None and found.kind == "permission"
        assert admin.llen(way_in) == 0  # else a probe of BRPOP would take a letter, and lose it


def test_a_member_without_a_mailbox_is_named(running: Founded) -> None:
    settings = hub_settings.read_settings(running.hub)
    two = {site: url for site, url in settings.mailboxes.items() if site != "west"}
    write_toml(running.hub / "hub.toml", kits._plain(replace(settings, mailboxes=two)))
    found = only(of_hub(running), "mailbox of west")
    assert "hansa site kit west.request" in found.mend


def test_versions_further_apart_than_one_minor_are_named_on_either_side(running: Founded) -> None:
    with database(running.hub, "hub") as db:
        db.get_one(Member, "south").version = "0.9.0"
    with database(running.home("north"), "site") as db:
        db.get_one(HubSeen, 1).version = "0.9.0"
    found = only(of_hub(running), "site south")
    assert "Hansa 0.9.0" in found.says and "upgrade the older one" in found.mend
    assert "upgrade the older one" in only(of_site(running), "hub's version").mend


def test_a_clock_set_back_shows_in_the_newest_rows(running: Founded) -> None:
    for found in (only(of_hub(running, NOW - 3600), "clock"), only(of_site(running, NOW - 3600), "clock")):
        assert "was set back" in found.says and "NTP" in found.mend


def test_letters_set_aside_are_counted_and_the_newest_five_shown(running: Founded) -> None:
    for tree, at in (("hub", running.hub), ("site", running.home("north"))):
        with database(at, tree) as db:
            boxes.set_aside(db, "south", "long ago", b"x", NOW - 30 * 86_400)
            for number in range(7):
                boxes.set_aside(db, "south", f"reason {number}", b"x", NOW - 10)
    for findings in (of_hub(running), of_site(running)):
        assert only(findings, "letters set aside").says == "7 in 7 days"
        shown = [finding.says for finding in findings if finding.about == "letter set aside"]
        assert [says.rpartition(" ")[2] for says in shown] == ["6", "5", "4", "3", "2"]
    assert wrong(doctor.look(running.home("north"), NOW + 2 * 86_400)) == []  # told of for a week, wrong for a day


def test_letters_wait_and_after_some_attempts_that_is_wrong(running: Founded) -> None:
    with database(running.home("north"), "site") as db:
        db.add(letter_out(HUB, 1))
    assert wrong(of_site(running)) == []
    with database(running.hub, "hub") as db:
        db.add(letter_out("west", 9))
    found = only(of_hub(running), "letters to west")
    assert "1 not acknowledged after up to 9 attempts; it has acknowledged none yet" in found.says
    assert "hansa site doctor" in found.mend


def test_an_open_job_says_what_it_waits_for_and_a_missed_deadline_is_wrong(running: Founded) -> None:
    with database(running.hub, "hub") as db:
        db.add(job("a" * 32, 0, "waiting", None))
        db.add(job("b" * 32, 1, "consenting", NOW + 20))
        db.flush()
        for site, consent in (("north", b"yes"), ("south", None)):
            db.add(participant("b" * 32, site, consent))
    findings = of_hub(running)
    assert wrong(findings) == []
    said = {finding.about: finding.says for finding in findings}
    assert said["jobs"].startswith("1 in line, 1 under way; the oldest was asked ")
    assert said["job aaaaaaaa"] == "waiting: waits for its turn over table 'people'"
    assert said["job bbbbbbbb"] == "consenting: waits for consents of south; until 20 seconds from now"
    late = only(of_hub(running, NOW + 120), "job bbbbbbbb")
    assert "its deadline was 100 seconds ago" in late.says and "the hub runs" in late.mend


def job(run: str, place: int, status: str, deadline: float | None) -> Job:
    return Job(
        run=run, plan=b"", person="ada", status=status, reason="", created_at=NOW - 100, place=place,
        table_name="people", attempt=0, agreed=0, step=0, round=0, quorum=0, deadline=deadline,
    )  # fmt: skip


def participant(run: str, site: str, consent: bytes | None) -> Participant:
    return Participant(
        run=run, site=site, consent=consent, asked=True, active=True, steps=0, stage="asked", reason="",
        bytes_sent=0, bytes_received=0, changed_at=NOW - 50,
    )  # fmt: skip


def test_a_database_that_is_not_there_or_of_another_version_is_not_made_or_migrated(running: Founded) -> None:
    change(read_settings(running.home("north")).database, "UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in only(of_site(running), "database").says
    change(read_settings(running.home("north")).database, "UPDATE alembic_version SET version_num = '0001'")
    found = only(of_site(running), "database")
    assert "at migration 0001" in found.says and "hansa site run" in found.mend
    (running.home("north") / "site.sqlite").unlink()
    assert "there is no database" in only(of_site(running), "database").says
    assert not (running.home("north") / "site.sqlite").exists()


def change(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_database_server_that_is_away_is_named_without_its_password(running: Founded) -> None:
    pytest.importorskip("psycopg")
    settings = hub_settings.read_settings(running.hub)
    url = f"postgresql+psycopg://hansa:the-secret@127.0.0.1:{free_ports(1)}/hansa"
    write_toml(running.hub / "hub.toml", kits._plain(replace(settings, database=url)))
    findings = of_hub(running)
    assert "connection was refused" in only(findings, "database").says
    assert "the-secret" not in str(findings)


def test_a_home_is_private_and_whole(running: Founded) -> None:
    north = running.home("north")
    (north / "keys").chmod(0o644)
    found = only(of_site(running), "home")
    assert "mode 0644" in found.says and "chmod 600" in found.mend
    write_private(north / "keys", (running.home("south") / "keys").read_bytes())
    assert "names other keys for 'north'" in only(of_site(running), "home").says
    (north / "keys").unlink()
    assert "holds no keys" in only(of_site(running), "keys").says
    (running.hub / "charter").unlink()
    assert "holds no charter yet" in only(of_hub(running), "home").says
    (north / "site.toml").unlink()
    assert "holds no site.toml" in only(doctor.look(north, NOW), "home").says
