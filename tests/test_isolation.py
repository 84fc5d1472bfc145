"""Every command that a server has, with a site's own login, against what belongs to others: really sent.

`test_brokers` says by name what a site may and may not; here nothing is picked by hand. The server lists its own
commands, and each is tried in several shapes against every foreign key, script and channel. Whether an attempt touched
something foreign is judged by the server (COMMAND GETKEYS) and by what the foreign keys hold before and after.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.hub.gateway import Door, Gateway
from hansa.mail.boxes import Desk, SetAside
from hansa.mail.database import migrate, open_engine
from hansa.mail.post import BROKER_ERRORS, ToHub, ToSite
from hansa.mail.tls import Address
from tests import cards
from tests.end_to_end.consortium import until
from tests.servers import SERVERS, Server, serve

pytestmark = pytest.mark.processes

SECONDS = 1.5  # no attempt may hang longer
OWN = ("s:north:tasks", "s:north:hub", "s:north:up:1", "s:north:dn:1")
FOREIGN = (
    *("s:south:tasks", "s:south:hub", "s:south:up:1", "s:south:dn:1"),
    *("h:tasks", "h:proc:north", "h:secret", "s:northern:tasks", "tasks"),
)
SCRIPT = "return redis.call('GET', KEYS[1])"
LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys) return redis.call('GET', keys[1]) end)"
# They touch no key, no setting and nobody else's connection.
OF_THE_CONNECTION = {"ping", "multi", "exec", "auth", "hello", "quit", "reset", "client|setname", "client|setinfo"}
MAY_USE_OWN_KEYS = {"brpop", "lpush", "llen", "sadd", "set", "get"}
# Off for everybody by the server's own defaults, which it says before it looks at the rules.
SWITCHED_OFF = {"debug", "module|load", "module|loadex", "module|unload"}


class Command(NamedTuple):
    """As the server describes it: `words` to send, and how many arguments follow them, at least or exactly."""

    name: str
    words: tuple[str, ...]
    least: int
    exactly: bool


def commands(admin: "redis.Redis") -> list[Command]:
    """All of them; of those that have subcommands, the subcommands."""
    found = []

    def add(entry: list[Any]) -> None:
        name = entry[0].decode()
        words = tuple(name.split("|"))
        if not entry[9]:
            found.append(Command(name, words, abs(entry[1]) - len(words), entry[1] > 0))
        for inner in entry[9]:
            add(inner)

    connection = admin.connection_pool.get_connection()
    connection.send_command("COMMAND")
    for entry in connection.read_response():
        add(entry)
    admin.connection_pool.release(connection)
    return found


def shapes(command: Command, foreign: str, sha: str) -> Iterator[tuple[str, ...]]:
    """Arguments around one foreign key: alone, between own keys, counted, timed, as a script's; as many as are due."""
    own = OWN[0]
    for begin, rest in (
        ((foreign,), foreign),
        ((foreign,), "1"),
        (("1", foreign), "1"),
        ((own, foreign, "LEFT", "RIGHT"), "1"),
        ((foreign, own, "LEFT", "RIGHT"), "1"),
        ((own, own), foreign),
        ((sha, "1", foreign), "1"),
        (("f", "1", foreign), "1"),
        (("LOAD", foreign, foreign), "1"),
    ):
        padded = (*begin, *(rest,) * (command.least - len(begin)))
        yield padded[: command.least]
        if not command.exactly:
            yield padded
            yield padded[: command.least + 1]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(request.param, tmp_path_factory.mktemp("isolation") / "mailbox") as running:
        yield running


class World:
    """What an administrator sees of everything that is not the site's."""

    def __init__(self, server: Server) -> None:
        self._admin = server.client("admin")
        self._admin.flushall()
        self.sha = str(self._admin.script_load(SCRIPT))
        self._admin.function_load(LIBRARY, replace=True)
        for key in (*FOREIGN, *OWN):
            if key.endswith(("up:1", "dn:1", "secret")):
                self._admin.set(key, "blob")
            else:
                self._admin.lpush(key, *["letter"] * 50)
        self.listener = self._admin.pubsub(ignore_subscribe_messages=True)
        self.listener.psubscribe("*")

    def now(self) -> dict[str, Any]:
        pipe = self._admin.pipeline(transaction=False)
        for key in FOREIGN:
            pipe.dump(key)
            pipe.pttl(key)
        pipe.acl_list()
        pipe.script_exists(self.sha)
        pipe.function_list()
        pipe.config_get("*")
        state = dict(enumerate(pipe.execute()))
        others = [key for key in self._admin.scan_iter() if not key.startswith(b"s:north:")]
        return {"state": state, "foreign": sorted(others)}

    def foreign(self, words: tuple[str, ...]) -> bool:
        """Whether the server reads a foreign key in this command."""
        try:
            return not set(self._admin.command_getkeys(*words)) <= set(OWN)
        except ResponseError:
            return False  # it has no keys at all

    def close(self) -> None:
        self.listener.close()
        self._admin.close()


@pytest.fixture
def world(server: Server) -> Iterator[World]:
    world = World(server)
    yield world
    world.close()


class Intruder:
    """The site's login, used badly. One connection, opened anew after whatever may have changed it."""

    def __init__(self, server: Server) -> None:
        self._server, self._connection = server, server.connection("site-north", SECONDS)
        self.attempts, self.refused = 0, set[str]()
        self.answered: list[tuple[str, ...]] = []

    def attempt(self, command: Command, arguments: tuple[str, ...]) -> None:
        words = (*command.words, *arguments)
        self.attempts += 1
        try:
            self._connection.send_command(*words)
            self._connection.read_response()
        except NoPermissionError:
            self.refused.add(command.name)
            return
        except ResponseError:
            return  # it has other arguments
        except (redis.RedisError, OSError):
            self._anew()
            return
        self.answered.append(words)
        if command.name in OF_THE_CONNECTION:
            self._anew()

    def in_a_transaction(self, command: Command, arguments: tuple[str, ...]) -> None:
        """MULTI, the command, EXEC; what EXEC answered is in `answered` if it ran anything."""
        self.attempts += 1
        try:
            for words in (("MULTI",), (*command.words, *arguments)):
                self._connection.send_command(*words)
                self._connection.read_response()
            self._connection.send_command("EXEC")
            if any(not isinstance(reply, ResponseError) for reply in self._connection.read_response() or ()):
                self.answered.append((*command.words, *arguments))
        except (redis.RedisError, OSError):
            pass
        self._anew()

    def _anew(self) -> None:
        self._connection.disconnect()
        self._connection = self._server.connection("site-north", SECONDS)


def test_no_command_of_the_server_reaches_what_is_not_the_sites(server: Server, world: World) -> None:
    intruder, before = Intruder(server), world.now()
    known = commands(server.client("admin"))
    assert len(known) > 300
    for command in known:
        for foreign in FOREIGN:
            for arguments in shapes(command, foreign, world.sha):
                intruder.attempt(command, arguments)
        intruder.in_a_transaction(command, next(shapes(command, FOREIGN[0], world.sha)))
        assert world.now() == before, f"{command.name} changed what is not the site's"
    print(f"{server.version}: {len(known)} commands, {intruder.attempts} attempts")  # shown with -s
    succeeded = [words for words in intruder.answered if not _harmless(words, world)]
    assert succeeded == []
    assert world.listener.get_message() is None  # nothing was published
    excused = OF_THE_CONNECTION | MAY_USE_OWN_KEYS | SWITCHED_OFF
    for_arguments_only = {command.name for command in known} - intruder.refused - excused
    assert for_arguments_only == set(), "the battery says nothing of these"
    assert intruder.attempts > 20_000


def fill(way: ToHub, sizes: tuple[int, ...] = (4 << 20, 1 << 16, 1 << 8, 1)) -> None:
    """To the last byte: what is refused as a large letter is tried again as smaller ones."""
    for size in sizes:
        with pytest.raises(OutOfMemoryError):
            for _ in range(100_000):
                way.send(bytes(size))


def test_a_full_mailbox_is_its_own_sites_trouble_only(server: Server, tmp_path: Path) -> None:
    """The site fills its server through what it may write; the hub's letters to it wait, those to others arrive."""
    with serve("valkey", tmp_path / "south", "south") as other, server.client("admin") as admin:
        admin.flushall()
        admin.config_set("maxmemory", 24 << 20)
        fill(ToHub(Address(server.url("site-north")), "north"))
        admin.config_set("maxmemory", 23 << 20)  # well over, so that buffers of connections decide nothing
        with pytest.raises(BROKER_ERRORS):
            ToSite(Address(server.url("hub")), "north").send(b"letter")
        ToSite(Address(other.url("hub")), "south").send(b"letter")
        with other.client("site-south") as neighbour:
            assert neighbour.llen("s:south:tasks") == 1


def test_a_mailbox_that_was_full_is_emptied_and_takes_letters_again(server: Server, tmp_path: Path) -> None:
    """Moving a letter is refused on a full server (DENYOOM), so the gateway reads and removes it where it lies."""
    engine, stop = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite'}"), threading.Event()
    migrate(engine, "hub")
    nothing: Any = None
    charter = cards.charter(("east", "north", "south"))
    door = Door(engine, Desk("hub", charter, cards.hub_keys(), nothing), "north", nothing)
    with server.client("admin") as admin:
        admin.flushall()
        admin.config_set("maxmemory", 24 << 20)
        way = ToHub(Address(server.url("site-north")), "north")
        fill(way, (4 << 20, 1 << 19, 1 << 17))
        admin.config_set("maxmemory", 8 << 20)
        with server.client("hub") as hub, pytest.raises(OutOfMemoryError):
            hub.blmove("s:north:hub", "h:proc:north", 1, "RIGHT", "LEFT")
        gateway = Gateway(door, "north", Address(server.url("hub")), lambda _run: None, stop)
        gateway.start()
        try:
            until("an empty mailbox", lambda: admin.llen("s:north:hub") == 0, gateway.is_alive)
        finally:
            stop.set()
            gateway.join()
        way.send(b"letter")
        assert admin.exists("h:proc:north") == 0
    with Session(engine) as db:
        assert db.scalar(select(func.count()).select_from(SetAside)) > 5  # none was a letter, none was lost
    engine.dispose()


def _harmless(words: tuple[str, ...], world: World) -> bool:
    name = "|".join(words[:2]).lower() if words[0].lower() == "client" else words[0].lower()
    return name in OF_THE_CONNECTION or (name in MAY_USE_OWN_KEYS and not world.foreign(words))
