"""The shape of a protocol: rounds, as values.

The hub asks some sites, and the round closes when the replies or the deadline come. A state is a small frozen struct
that accepts exactly one message; it is stored between two letters and picked up by whatever process comes next, so
drop-outs, deadlines, duplicates and restarts are written once, outside, for every protocol.

Chance, keys and data are arguments (`Own`); a state that holds a secret prints its kind and nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

from msgspec import Struct

from hansa.crypto.fixed_point import Ring
from hansa.crypto.keys import SigningKey
from hansa.messages import SiteId

RingBits = Literal[32, 64]  # numbers are added in Z_2^32 or Z_2^64
Vector = Ring
Output = TypeVar("Output")
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterator[Any]]  # as `map`; a pool's spreads over the cores


class Own(Struct, frozen=True):
    """What a site lends its state for one answer: its signing key, and its numbers where a round asks for them.

    `vector` has one dimension. It is masked in place, and is the contribution afterwards: a site never holds two.
    """

    key: SigningKey
    vector: Vector | None = None
    spread: Spread = map

    def __repr__(self) -> str:
        return "Own(hidden)"


class Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A request or a reply. `repr` shows its kind only: contents are long, and often secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class SiteState(Struct, frozen=True):
    """At a site: accepts one type of request, gives the next state and the reply."""

    accepts: ClassVar[type[Message]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


class HubState(Struct, frozen=True):
    """At the hub: accepts one type of reply from each site that was asked, and closes with those that came."""

    accepts: ClassVar[type[Message]]

    def check(self, site: SiteId, reply: Any) -> None:
        """Raises ProtocolViolation if this reply alone shows that `site` strays; the round may close without it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Ask(Struct, frozen=True):
    """Send `requests`; go on with `state.close(replies)` once `quorum` or more replied and no more will come."""

    state: HubState
    requests: Mapping[SiteId, Message]
    quorum: int


class Done(Struct, Generic[Output], frozen=True):
    output: Output
