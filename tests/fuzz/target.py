"""What is fuzzed."""

from collections.abc import Callable
from typing import NamedTuple

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused

OURS = (ProtocolViolation, Refused, NotEnoughSites)
Parse = Callable[[bytes], bytes | None]


class Target(NamedTuple):
    """`parse` raises one of our errors or gives the bytes that what it read is written as, if there is one way."""

    parse: Parse
    seeds: tuple[bytes, ...]
