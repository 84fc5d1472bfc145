"""The shape of a lie, and what a liar needs to tell one.

A hub's lie is sent besides the true request, before it unless `after`: whoever refuses the lie answers the truth, so a
lie never merely ends the job. A lie that opens a letter or signs for others uses the keys of colluders, if it has any.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from hansa.messages import decode
from hansa.protocols.base import Message
from hansa.protocols.key_setup import Session
from hansa.protocols.secure_sum import Contribute

Absent = tuple[str, int, Callable[[int], int]]  # stage, steps before the lie's, how many are silent then
Lies = dict[str, list["Told"]]  # by site


class Told(Struct, frozen=True):
    """One lie to one site. What is not given is as with the true request."""

    message: Any
    sort: str = ""
    round: int = 0
    beside: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class HubLie:
    """`large`: told only in schedules that are, or are not. A lie with nothing to tell waits for the next round."""

    request: type[Message]
    tell: Callable[[Any, dict[str, Any], int], Lies]
    sites: int = 3
    steps: int = 1
    absent: tuple[Absent, ...] = ()
    after: bool = False
    large: bool | None = None


@dataclass(frozen=True)
class MemberLie:
    """`tell` gives reply, next state, and what is sent after that under the same round."""

    request: type[Message]
    tell: Callable[[Any, Any, Any, int], tuple[Any, Any, list[bytes]]]
    sites: int = 3
    steps: int = 1
    absent: tuple[Absent, ...] = ()
    large: bool | None = None


@dataclass
class Armed:
    """A lie in wait for its round."""

    lie: Any
    pick: int
    step: int

    @property
    def after(self) -> bool:
        return bool(self.lie.after)

    def due(self, what: Any, state: Any) -> bool:
        """At the hub: of these requests, in this step. At a member: of this request, to this state."""
        if isinstance(what, dict):
            first = next(iter(what.values()), None)  # None where nobody is left to be asked
            return isinstance(first, self.lie.request) and state >= self.step
        at = what.step if isinstance(what, Contribute) else getattr(state, "step", self.step)
        return isinstance(what, self.lie.request) and at >= self.step

    def tell(self, party: Any, *what: Any) -> Any:
        return self.lie.tell(party, *what, self.pick)


Change = Callable[[Any, Any, str, int], Any]


def to_one(change: Change) -> Callable[[Any, dict[str, Any], int], Lies]:
    """The hub tells one site another request."""
    return _to_one(change, lambda _hub, requests: list(requests))


def to_one_off_committee(change: Change) -> Callable[[Any, dict[str, Any], int], Lies]:
    """One that has not seen who locked what, where there is one."""

    def off(hub: Any, requests: dict[str, Any]) -> list[str]:
        committee = session_of(hub).committee
        return [site for site in requests if site not in committee] or list(requests)

    return _to_one(change, off)


def _to_one(
    change: Change, among: Callable[[Any, dict[str, Any]], list[str]]
) -> Callable[[Any, dict[str, Any], int], Lies]:
    def tell(hub: Any, requests: dict[str, Any], pick: int) -> Lies:
        sites = sorted(among(hub, requests))
        if not sites:
            return {}
        site = sites[pick % len(sites)]
        changed = change(hub, requests[site], site, pick // 7)
        return {} if changed is None else {site: [changed if isinstance(changed, Told) else Told(changed)]}

    return tell


def past(hub: Any, sort: type[Message], site: str) -> list[Any]:
    """Earlier requests of this sort to this site, oldest first."""
    return [asked[site] for _number, asked in hub.past if site in asked and isinstance(asked[site], sort)]


def session_of(hub: Any) -> Session:
    session: Session = decode(hub.opening.session, Session)
    return session


def others(names: Iterable[str], site: str) -> list[str]:
    return [name for name in names if name != site]


def in_place(row: Collection[Any], place: int, item: Any) -> tuple[Any, ...]:
    """`row` with another item at `place`."""
    return tuple(item if at == place else old for at, old in enumerate(row))


def any_key(hub: Any) -> Any:
    """Of a site that colludes, or None."""
    return next(iter(hub.colluders.values()), None)
