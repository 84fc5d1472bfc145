"""The site's policy as it is written, and what a changed one would have said of earlier questions."""

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select

from hansa.errors import Refused
from hansa.plan import Plan
from hansa_site import pending, policy_file
from hansa_site.consent import Opinion
from hansa_site.journal import Decided
from hansa_site.pending import Ground
from hansa_site.policy import example
from hansa_site.shown.opened import OpenedSite


class PolicyView(Struct, frozen=True):
    """`holds`: whether the running site goes by this text; None if it never ran. `digest` is the text's, which a change
    names as its former."""

    where: str
    text: str
    digest: bytes
    holds: bool | None
    explained: str


class Change(Struct, frozen=True):
    """A policy that a person has set; `refusal` says why it counts for nothing."""

    person: str
    at: float
    refusal: str


class Tried(Struct, frozen=True):
    """An earlier question: why it would be refused, now and then; empty where the policy says yes."""

    run: str
    plan: Plan
    now: str
    then: str


def policy(site: OpenedSite) -> PolicyView:
    where, text = policy_file.text_of(site.home)
    with site.reading() as db:
        holds = policy_file.holds(db, site.settings.policy)
    return PolicyView(where, text, policy_file.digest_of(text), holds, example())


def changes(site: OpenedSite, most: int = 10) -> list[Change]:
    """The newest first, of those that were set through a person's decision."""
    rows = select(Decided).where(Decided.what == "set policy", Decided.done_at.is_not(None))
    with site.reading() as db:
        newest = db.scalars(rows.order_by(Decided.at.desc()).limit(most))
        return [Change(row.person, row.at, row.refusal) for row in newest]


def wrong_with(site: OpenedSite, text: str) -> str:
    """Why it is no policy of this site, and where; empty if it is one."""
    try:
        policy_file.check(text, site.settings)
    except Refused as refusal:
        return str(refusal)
    return ""


def tried(site: OpenedSite, text: str, now: float, most: int = 200) -> list[Tried]:
    """What the text would have said of the newest jobs that this site took part in; refuses one that is no policy."""
    ground = site.ground
    other = ground._replace(settings=replace(site.settings, policy=policy_file.check(text, site.settings)))
    with site.reading() as db:
        plans = pending.past(db, site.charter, most)
    return [Tried(plan.run, plan, _why(ground, plan, now), _why(other, plan, now)) for plan in plans]


def _why(ground: Ground, plan: Plan, now: float) -> str:
    """The first no; that the plan has expired by now is none."""
    found: list[Opinion] = [one for one in pending.opinions(ground, plan, now) if one.why and one.rule != "expires"]
    return found[0].why if found else ""
