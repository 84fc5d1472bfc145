"""What the institution agrees to. The one place where a site says yes.

The policy is the site's own file; nothing that arrives from outside changes it. A question that the policy does not
cover is refused with the rule that says so.
"""

from hansa.errors import Refused
from hansa.jobs.base import Schema
from hansa.messages import SiteId
from hansa.plan import Plan
from hansa_site.settings import Policy


def may_propose(policy: Policy, plan: Plan, site: SiteId) -> None:
    """Whether this member puts its name to a question that its own people asked."""
    if plan.proposer != site:
        raise Refused("this site signs no proposal in another member's name")
    if not policy.sign_proposals:
        raise Refused("the policy lets nobody propose in this member's name")


def may_take_part(policy: Policy, plan: Plan, site: SiteId, schema: Schema) -> None:
    """Whether this site contributes to the plan; refuses with the first rule that says no."""
    if site not in plan.sites:
        raise Refused("the plan does not name this site")
    if plan.kind not in policy.kinds:
        raise Refused(f"the policy does not allow the kind '{plan.kind}'")
    if policy.tables and plan.table not in policy.tables:
        raise Refused(f"the policy does not open the table '{plan.table}'")
    if policy.proposers and plan.proposer not in policy.proposers:
        raise Refused(f"the policy does not answer questions of '{plan.proposer}'")
    if plan.minimum_sites < policy.minimum_sites:
        raise Refused(f"the policy wants at least {policy.minimum_sites} sites, the plan {plan.minimum_sites}")
    for member in policy.must_take_part:
        if member not in plan.sites:
            raise Refused(f"the policy wants '{member}' to take part")
    plan.job().check(schema)


def survivors_allowed(policy: Policy, site: SiteId, survivors: list[SiteId]) -> None:
    """Before a survivor set is locked: the members this institution insists on are still in it."""
    for member in policy.must_take_part:
        if member != site and member not in survivors:
            raise Refused(f"the policy wants '{member}' to take part, and it has left")
