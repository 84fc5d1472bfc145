"""Who comes through a mailbox's port, on Debian's Redis 7.0 with TLS: the hub, one site, and nobody else."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery.contrib.testing.worker import start_worker
from kombu.exceptions import OperationalError
from msgspec.structs import replace
from redis.backoff import NoBackoff
from redis.retry import Retry

from hansa.crypto.merkle import leaf
from hansa.errors import Refused
from hansa.hub import kits
from hansa.mail.blobs import AtHub, AtSite
from hansa.mail.post import BROKER_ERRORS, LETTER_TASK, ToHub, ToSite, letter_of, raw_client, worker_app
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address, Tls, address
from tests.founded import Founded, free_ports

processes = pytest.mark.processes


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    founded = Founded(tmp_path_factory.mktemp("founded"), ("north", "south"), free_ports(3))
    with founded.serving("", "north", "south"):
        yield founded


def refused(address: Address, *why: str) -> None:
    """By either end, while the connection is made; `why` are words of one of the reasons."""
    with raw_client(address) as client, pytest.raises((redis.ConnectionError, ssl.SSLError)) as error:
        client.ping()
    assert not why or any(word in str(error.value).lower() for word in why), str(error.value)


BY_THE_SERVER = ("required", "unknown ca", "alert", "closed", "reset", "eof", "broken pipe", "unsupported")


@processes
def test_letters_and_chunks_pass_by_every_sort_of_client(founded: Founded) -> None:
    hub, site = founded.of_hub("north"), founded.of_site("north")
    ToSite(hub, "north").send(b"letter")
    app, got = worker_app("site", site, site_prefix("north")), list[bytes | None]()
    arrived = threading.Event()

    @app.task(name=LETTER_TASK)
    def letter(argument: object) -> None:
        got.append(letter_of(argument))
        arrived.set()

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        assert arrived.wait(30)
    assert got == [b"letter"]
    ToHub(site, "north").send(b"answer")
    with raw_client(hub) as gateway:
        assert gateway.blmove("s:north:hub", "h:proc:north", 1, "RIGHT", "LEFT") == b"answer"
    AtSite(site, "north").offer(leaf(b"chunk"), b"chunk")
    assert AtHub(hub, "north").take(leaf(b"chunk")) == b"chunk"


@processes
def test_tls_is_1_3_and_the_servers_certificate_is_the_pinned_authoritys(founded: Founded) -> None:
    site = founded.of_site("north")
    with raw_client(site) as client:
        connection = client.connection_pool.get_connection()
        assert connection._sock.version() == "TLSv1.3"
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    older.load_verify_locations(site.tls.authority)
    older.load_cert_chain(site.tls.certificate, site.tls.key)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    port = kits.read_broker(founded.hub, "north").place.port
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        older.wrap_socket(plain, server_hostname="127.0.0.1")


@processes
def test_another_sites_certificate_with_the_right_password_is_refused(founded: Founded) -> None:
    north, south = founded.of_site("north"), founded.of_site("south")
    with raw_client(south) as client:
        assert client.ping()
    refused(Address(north.url, south.tls), *BY_THE_SERVER)


@processes
def test_no_certificate_is_refused_whatever_password_comes_with_it(founded: Founded) -> None:
    north = founded.of_site("north")
    with (
        redis.Redis.from_url(north.url, ssl_ca_certs=north.tls.authority, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises((redis.ConnectionError, ssl.SSLError)),
    ):
        client.ping()


@processes
def test_a_servers_certificate_is_none_for_a_client(founded: Founded) -> None:
    north, folder = founded.of_site("north"), kits.folder(founded.hub, "south")
    stolen = replace(north.tls, certificate=str(folder / "server.pem"), key=str(folder / "server.key"))
    refused(Address(north.url, stolen), *BY_THE_SERVER)


@processes
def test_the_private_server_takes_the_hub_only(founded: Founded) -> None:
    private = kits.read_broker(founded.hub, "").place
    assert founded.of_hub("north").tls is not None
    for site in ("north", "south"):
        refused(Address(private.url("hub", "x", private.host), founded.of_site(site).tls), *BY_THE_SERVER)


@processes
def test_a_site_does_not_talk_to_a_server_of_another_authority(founded: Founded, tmp_path: Path) -> None:
    other = Founded(tmp_path / "other", ("north",), free_ports(2))
    north = founded.of_site("north")
    impostor = replace(north.tls, authority=other.of_site("north").tls.authority)
    refused(Address(north.url, impostor), "certificate verify failed")
    with pytest.raises((*BROKER_ERRORS, OperationalError)):
        ToSite(Address(founded.of_hub("north").url, impostor), "north").send(b"letter")


@processes
def test_a_server_under_another_host_name_is_not_believed(founded: Founded) -> None:
    north = founded.of_site("north")
    refused(Address(north.url.replace("127.0.0.1", "localhost"), north.tls), "hostname mismatch")
    with pytest.raises((*BROKER_ERRORS, OperationalError)):
        hub = founded.of_hub("north")
        ToSite(Address(hub.url.replace("127.0.0.1", "localhost"), hub.tls), "north").send(b"letter")


# Addresses


@pytest.mark.parametrize("url", ["redis://a:b@hub.example.org/0", "redis://10.0.0.1:6379/0", "redis://[2001:db8::1]/0"])
def test_a_plain_connection_to_another_machine_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(Refused, match=r"^the broker at '[^']+' would be reached without TLS[^\n]*$") as refusal:
        address(url)
    assert "a:b" not in str(refusal.value)


@pytest.mark.parametrize("url", ["", "http://x", "hub.example.org:6379", "rediss://[::1", "redis://127.0.0.1:port"])
def test_what_is_no_brokers_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="broker"):
        address(url)


@pytest.mark.parametrize(
    "url", ["unix://a:b@/run/x.sock", "redis://a:b@127.0.0.1:1/0", "redis://[::1]/0", "redis://localhost/0"]
)
def test_on_this_machine_no_tls_is_asked_for(url: str) -> None:
    found = address(url)
    assert found.options == {}
    assert "b@" not in repr(found)


def test_tls_always_checks_certificate_and_host_name(tmp_path: Path) -> None:
    for name in ("a", "c", "k"):
        (tmp_path / name).touch()
    own = Tls("a", "c", "k").at(tmp_path)
    for found in (address("rediss://hub.example.org/0"), address("rediss://127.0.0.1/0", own)):
        assert found.options["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert found.options["ssl_check_hostname"] is True
        assert found.options["ssl_min_version"] == ssl.TLSVersion.TLSv1_3
    with pytest.raises(Refused, match="no such file"):
        address("rediss://127.0.0.1/0", Tls("a", "c", "nothing").at(tmp_path))
