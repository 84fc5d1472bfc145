"""What working off a letter, or a decision, leads to; stored in one transaction (`site.py`)."""

from collections.abc import Mapping

from msgspec import Struct

from hansa.mail.letters import Payload, Refusal, Welcome, sentence
from hansa.messages import SiteId
from hansa.protocols.base import SiteState
from hansa_site.deeds import Deed
from hansa_site.journal import Agreed, Said


class Asked(Struct, frozen=True):
    """What waits for a person: `digest` is what the decision must name; `until` in seconds since 1970."""

    what: str
    digest: bytes
    content: bytes
    until: float


class Outcome(Struct, frozen=True):
    """A violation (`aside`) changes nothing else."""

    letters: tuple[tuple[str, Payload], ...] = ()
    status: str | None = None  # of the run from now on
    state: SiteState | None = None
    erase: bool = False
    aside: str = ""
    plan: bytes | None = None  # of a run that begins here
    attempt: int | None = None
    contributed: bool = False
    said: Said | None = None
    act: str = ""
    welcome: Welcome | None = None  # the hub is up
    deeds: tuple[Deed, ...] = ()  # for the log
    asked: Asked | None = None  # a person must decide first
    locked: tuple[int, tuple[SiteId, ...]] | None = None  # a step and the survivors whose total it helps to open
    agreed: Agreed | None = None  # an answer whose release it agrees to


def refused(reason: str, by: Mapping[str, str] = {}) -> Outcome:
    """This site takes no part, or no further; `by` whom it was decided, if by people."""
    deed = Deed("refused", dict(by), reason.encode())
    letters = (("refusal", Refusal(sentence(reason))),)
    return Outcome(letters, f"refused: {reason}"[:500], erase=True, act=f"refuses: {reason}", deeds=(deed,))
