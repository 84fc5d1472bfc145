"""Whether every worker consumes again after its broker came back empty. One that lives and never does is a wedge."""

import time

import redis

from hansa.messages import HUB
from tests.chaos.consortium import PRIVATE, WORKER, Running, Server

BACK_SECONDS = 10.0
START_SECONDS = 25.0  # that a process may take until it first consumes, on a machine under load


class Watch:
    """`look` often. Of each restart of a broker, `back` is how long it took everybody to block on it again."""

    def __init__(self, parties: Running) -> None:
        self._parties = parties
        self._waiting: dict[str, set[str]] = {}  # by server: who has not been seen since it started
        self._since: dict[str, float] = {}
        self.restarts, self.slowest = 0, 0.0
        self.wedges: list[str] = []
        self._late: dict[tuple[str, str], int] = {}  # by server and consumer: which of the wedges

    def look(self) -> None:
        for name, server in self._parties.servers.items():
            if self._since.get(name) != server.started_at:
                self.restarts += name in self._since
                self._late = {where: wedge for where, wedge in self._late.items() if where[0] != name}
                self._since[name], self._waiting[name] = server.started_at, set(self._consumers(name))
            if self._waiting[name]:
                self._look_at(name, server)

    def _consumers(self, server: str) -> list[str]:
        """The processes that must block there: the hub's gateway and the site; or the hub's workers."""
        return [HUB, WORKER] if server == PRIVATE else [HUB, server]

    def waiting(self) -> bool:
        return any(self._waiting.values())

    def _look_at(self, name: str, server: Server) -> None:
        seen, now = self._seen(name, server), time.monotonic()
        for consumer in sorted(self._waiting[name]):
            process, where = self._parties.processes[consumer], (name, consumer)
            started_later = process.started_at > server.started_at
            if consumer in seen:
                self._waiting[name].discard(consumer)
                if where in self._late:
                    self.wedges[self._late.pop(where)] += f"; back after {now - server.started_at:.0f} s"
                elif not started_later:
                    self.slowest = max(self.slowest, now - server.started_at)
            elif process.stopped or where in self._late:
                continue
            elif now > max(server.started_at, process.started_at + START_SECONDS * started_later) + BACK_SECONDS:
                self._late[where] = len(self.wedges)
                self.wedges.append(f"{consumer} at the broker of {name}")
                process.tell_where()

    def _seen(self, name: str, server: Server) -> set[str]:
        """Who blocks there."""
        try:
            with redis.Redis.from_url(server.administer(), socket_timeout=1) as client:
                rows = client.client_list()
        except redis.RedisError:
            return set()
        blocked = [(row["user"], row["cmd"]) for row in rows]  # type: ignore[index]
        if name == PRIVATE:
            return self._at_private(sum(cmd == "brpop" for _user, cmd in blocked))
        found = {HUB} if any(user == "hub" and cmd == "blmove" for user, cmd in blocked) else set()
        return found | ({name} if any(user == f"site-{name}" and cmd == "brpop" for user, cmd in blocked) else set())

    def _at_private(self, blocked: int) -> set[str]:
        """The hub's two workers look alike there: as many must block as are able to."""
        now, both = time.monotonic(), {HUB, WORKER}
        processes = {name: self._parties.processes[name] for name in both}
        able = {name for name, one in processes.items() if not one.stopped and now > one.started_at + START_SECONDS}
        return both if blocked >= len(both) else able if blocked >= len(able) else set()
