"""What the institution agrees to. The one place where a site says yes.

The policy is the site's own file; nothing that arrives from outside changes it. Every rule is an opinion on a plan, so
that a person can read all of them before a decision; the first that says no is the refusal.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

import hansa.jobs
from hansa import installed
from hansa.errors import Refused
from hansa.jobs.base import Schema
from hansa.messages import SiteId
from hansa.plan import Plan
from hansa.privacy import accounting, disclosure
from hansa_site import policy as policies
from hansa_site.policy import Policy


class Opinion(Struct, frozen=True):
    """What one rule of the policy says of a plan; `why` is empty where it says yes."""

    rule: str
    why: str = ""


def may_propose(policy: Policy, plan: Plan, site: SiteId) -> None:
    """Whether this member puts its name to a question that its own people asked."""
    if plan.proposer != site:
        raise Refused("this site signs no proposal in another member's name")
    if not policy.sign_proposals:
        raise Refused("the policy lets nobody propose in this member's name")


def may_take_part(policy: Policy, plan: Plan, site: SiteId, schema: Schema, now: float) -> None:
    """Whether this site contributes to the plan; refuses with the first rule that says no."""
    for opinion in opinions(policy, plan, site, schema, now):
        if opinion.why:
            raise Refused(opinion.why)


def opinions(policy: Policy, plan: Plan, site: SiteId, schema: Schema, now: float) -> Iterator[Opinion]:
    """What each rule says, in the order in which they are asked."""
    yield Opinion("participants", "" if site in plan.sites else "the plan does not name this site")
    yield _kinds(policy, plan)
    yield _listed("tables", policy.tables, [plan.table], "the policy does not open the table {}")
    yield _listed("proposers", policy.proposers, [plan.proposer], "the policy does not answer questions of {}")
    yield _first_version(policy, plan)
    yield _listed("recipients", policy.recipients, plan.recipients, "the policy gives no answer to {}")
    yield _listed("purposes", policy.purposes, [plan.purpose], "the policy does not allow the purpose {}")
    yield _listed("protections", policy.protections, [plan.protection], "the policy does not allow the protection {}")
    yield Opinion("minimum_sites", _too_few(policy, plan))
    absent = [member for member in policy.must_take_part if member not in plan.sites]
    yield Opinion("must_take_part", f"the policy wants '{absent[0]}' to take part" if absent else "")
    open_now = policies.open_now(policy, now)
    yield Opinion("hours", "" if open_now else f"the policy answers in its hours only: {', '.join(policy.hours)} UTC")
    yield Opinion("expires", "" if now < plan.expires else "the plan has expired")
    yield Opinion("noise", _noise(policy, plan))
    laxer = plan.disclosure.laxer(floors(policy)) if plan.disclosure is not None else ""
    yield Opinion("disclosure", f"the policy's rules of disclosure: {laxer}" if laxer else "")
    yield _question(policy, plan, schema)


def _noise(policy: Policy, plan: Plan) -> str:
    if plan.noise is None:
        return "the policy answers under noise only" if policy.noise == "required" else ""
    if policy.most_epsilon and plan.noise.micro_epsilon > accounting.parse_epsilon(policy.most_epsilon):
        return f"the policy answers with an ε of at most {policy.most_epsilon}"
    return ""


def floors(policy: Policy) -> disclosure.Rules:
    """The policy's rules of disclosure."""
    asked = policy.disclosure
    return disclosure.Rules(1, *(getattr(asked, name) for name in disclosure.Rules.__struct_fields__[1:]))


def _kinds(policy: Policy, plan: Plan) -> Opinion:
    if plan.kind not in policy.kinds:
        return Opinion("kinds", f"the policy does not allow the kind '{plan.kind}'")
    due, others = policy.kind_digests.get(plan.kind), installed.admitted(plan.kind)
    if due != (others or code_digest()) and (due or others):
        return Opinion("kinds", f"the policy allows '{plan.kind}' with other code than is installed here")
    return Opinion("kinds")


def _listed(rule: str, allowed: Sequence[str], asked: Sequence[str], sentence: str) -> Opinion:
    """An empty list allows everything."""
    wrong = [one for one in asked if allowed and one not in allowed]
    return Opinion(rule, sentence.format(f"'{wrong[0]}'") if wrong else "")


def _first_version(policy: Policy, plan: Plan) -> Opinion:
    if plan.version > 1 or policy.plans_of_0_1:
        return Opinion("plans_of_0_1")
    why = "the plan is of Hansa 0.1, which names no recipients, purpose or rules of disclosure; the policy takes none"
    return Opinion("plans_of_0_1", why)


def _too_few(policy: Policy, plan: Plan) -> str:
    if plan.minimum_sites >= policy.minimum_sites:
        return ""
    return f"the policy wants at least {policy.minimum_sites} sites, the plan {plan.minimum_sites}"


def _question(policy: Policy, plan: Plan, schema: Schema) -> Opinion:
    """Whether the table can answer it, out of the columns that the policy opens."""
    try:
        job = plan.job()
        job.check(schema)
        asked = job.columns()
    except Refused as refusal:
        return Opinion("columns", str(refusal))
    closed = [name for name in asked if plan.table in policy.columns and name not in policy.columns[plan.table]]
    return Opinion("columns", f"the policy does not open the column '{closed[0]}' of '{plan.table}'" if closed else "")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 of the code of the kinds as it is installed here: names and contents of its files, in their order."""
    root = Path(hansa.jobs.__file__).parent
    found = sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def survivors_allowed(policy: Policy, site: SiteId, survivors: Sequence[SiteId]) -> None:
    """Before a survivor set is locked: the members this institution insists on are still in it."""
    for member in policy.must_take_part:
        if member != site and member not in survivors:
            raise Refused(f"the policy wants '{member}' to take part, and it has left")
