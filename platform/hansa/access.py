"""Who may do what: the one question that every door asks, at the hub and at a site.

A person belongs to a member and has roles there; the hub's operator belongs to none and has no role over data.

| role          | may                                                                                     |
|---------------|-----------------------------------------------------------------------------------------|
| analyst       | put questions in the member's name, and end them; read answers that the member receives  |
| approver      | consent to a question or to a release, or refuse it, at the member's own site            |
| steward       | see exact figures before a release, and agree to it; refuse, stop a job, withdraw a table |
|               | set the site's policy                                                                    |
| auditor       | read evidence of jobs that concern the member; sign off the log                          |
| administrator | add and remove the member's people; set the site's policy                                |
| operator      | run the hub: workers, queues, erasure; nothing of a question but that it is there        |

What binds a member (a proposal, a consent, a release, a withdrawal) is done at its own site and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from hansa.errors import Refused

Role = Literal["analyst", "steward", "approver", "auditor", "administrator", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
OPERATOR = ""  # the member of the hub's operator: none

Action = Literal[
    "propose",
    "cancel",
    "see job",
    "see answer",
    "see evidence",
    "see log",
    "operate",
    "sign proposal",
    "consent",
    "release",
    "see figures",
    "refuse",
    "stop",
    "withdraw",
    "review",
    "set policy",
    "manage people",
]


class Person(Struct, frozen=True):
    name: str
    member: str
    roles: tuple[Role, ...]


class Thing(Struct, frozen=True):
    """What an action is about. `member`: whose it is (a table, a policy, people, a signature); the others of a job."""

    member: str = ""
    proposer: str = ""
    sites: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()


NOTHING = Thing()


def _own(person: Person, thing: Thing) -> bool:
    return person.member == thing.member


def _asked(person: Person, thing: Thing) -> bool:
    return person.member == thing.proposer


def _concerned(person: Person, thing: Thing) -> bool:
    return person.member in (thing.proposer, *thing.sites, *thing.recipients)


def _receives(person: Person, thing: Thing) -> bool:
    return person.member in thing.recipients


def _any(_person: Person, _thing: Thing) -> bool:
    return True


class _Rule(NamedTuple):
    roles: tuple[Role, ...]
    fits: Callable[[Person, Thing], bool]
    otherwise: str  # why not, where the role is right and the thing is not


_DATA: tuple[Role, ...] = ("analyst", "steward", "approver", "auditor", "administrator")
_READING: tuple[Role, ...] = ("analyst", "steward", "approver", "auditor")
_OTHERS = "it is another member's"
_RULES: Mapping[Action, _Rule] = {
    "propose": _Rule(("analyst",), _own, "a person asks in the own member's name"),
    "cancel": _Rule(("analyst", "administrator"), _asked, "only the member that proposed a job may cancel it"),
    "see job": _Rule(_DATA, _concerned, "the job does not concern this person's member"),
    "see answer": _Rule(_READING, _receives, "the plan does not name this person's member among the recipients"),
    "see evidence": _Rule(("auditor",), _concerned, "the job does not concern this person's member"),
    "see log": _Rule(ROLES, _any, ""),
    "operate": _Rule(("operator",), _any, ""),
    "sign proposal": _Rule(("analyst", "approver"), _own, _OTHERS),
    "consent": _Rule(("approver",), _own, _OTHERS),
    "release": _Rule(("approver", "steward"), _own, _OTHERS),
    "see figures": _Rule(("steward",), _own, _OTHERS),
    "refuse": _Rule(("approver", "steward"), _own, _OTHERS),
    "stop": _Rule(("approver", "steward"), _own, _OTHERS),
    "withdraw": _Rule(("steward",), _own, _OTHERS),
    "review": _Rule(("auditor",), _own, _OTHERS),
    "set policy": _Rule(("steward", "administrator"), _own, _OTHERS),
    "manage people": _Rule(("administrator",), _own, _OTHERS),
}


def authorise(person: Person, action: Action, thing: Thing = NOTHING) -> None:
    """Refuses, in one sentence, what this person may not do to this thing."""
    rule = _RULES[action]
    if not set(person.roles) & set(rule.roles):
        raise Refused(f"'{person.name}' may not {action}: that takes the role {' or '.join(rule.roles)}")
    if not rule.fits(person, thing):
        raise Refused(f"'{person.name}' may not {action}: {rule.otherwise}")


def may(person: Person, action: Action, thing: Thing = NOTHING) -> bool:
    """Whether `authorise` lets it pass: for what is shown, not for what is done."""
    try:
        authorise(person, action, thing)
    except Refused:
        return False
    return True


def roles_of(names: str) -> tuple[Role, ...]:
    """Roles as they stand in a list, in the order of `ROLES`; refuses what is none, and none at all."""
    said = {name.strip() for name in names.split(",") if name.strip()}
    for name in sorted(said):
        if name not in ROLES:
            raise Refused(f"'{name}' is no role; there are {', '.join(ROLES)}")
    if not said:
        raise Refused(f"a person has at least one role of {', '.join(ROLES)}")
    if "operator" in said and len(said) > 1:
        raise Refused("who operates the hub has no role over data")
    return tuple(role for role in ROLES if role in said)
