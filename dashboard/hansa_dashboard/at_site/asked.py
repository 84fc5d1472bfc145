"""A question in words, for whoever must say yes or no to it: Markdown, with what others typed made plain."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hansa.jobs import KINDS, form
from hansa.plan import Disclosure, Plan
from hansa_dashboard.words import clock, listed, plain, some, subject, title
from hansa_site.showing import Opinion, Pending

YES: Final = {"proposal": "sign proposal", "consent": "consent", "release": "release"}  # the act, by what waits
HEADS: Final = {
    "proposal": "A question of your own people waits to be signed",
    "consent": "A question waits for your consent",
    "release": "An answer with your rows in it waits to be released",
}
_FOLLOWS: Final = {
    "proposal": (
        "**Yes** means: the other members are asked, in the name of this institution. Each of them decides by itself, "
        "and so does this site, once more. **No** means: nobody is asked."
    ),
    "consent": (
        "**Yes** means: this site adds its numbers, masked, to the totals of this question. The job can be stopped "
        "later, and what is in a total by then stays in it. **No** means: this site takes no part, and the other "
        "members read your reason."
    ),
    "release": (
        "**Yes** means: once every site whose rows are in it has agreed, the recipients have this answer, and nobody "
        "can take it back. **No** means: the job ends without an answer, and the other members read your reason."
    ),
}


def headline(plan: Plan, parameters: Mapping[str, Any]) -> str:
    """Who asks for what, over which table: one line."""
    about = subject(plan.kind, parameters)
    what = f"{title(plan.kind)}: {about}" if about else title(plan.kind)
    return f"**{plain(plan.proposer)}** asks for **{plain(what)}**, over the table **{plain(plan.table)}**."


def purpose(plan: Plan) -> str:
    return f"What for: **{plain(plan.purpose)}**." if plan.purpose else "What for: the plan states no purpose."


def whose(plan: Plan, stay: int) -> str:
    """Whose rows are asked for, and how many sites there must be."""
    return (
        f"Whose rows: {plain(listed(plan.sites))}. At least {some(max(stay, plan.minimum_sites), 'site')} must stay to "
        "the end, or there is no answer."
    )


def follows(what: str) -> str:
    return _FOLLOWS[what]


def standing(one: Pending) -> str:
    """Who has said yes, and how many more must."""
    missing = max(one.needed - len(one.said), 0)
    said = f"{plain(listed(one.said))} {'has' if len(one.said) == 1 else 'have'} said yes; " if one.said else ""
    return f"{said}{some(missing, 'person', 'persons')}{' more' if said else ''} must say yes."


def deadline(one: Pending, now: float) -> str:
    return f"Until {clock(one.until)}, {left(one.until - now)}; then it is a no."


def left(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} from now"
    return "within two minutes" if seconds > 0 else "which is over"


def against(opinions: Sequence[Opinion]) -> list[str]:
    """What the policy says no to, a line a rule."""
    return [f"**{plain(one.rule.replace('_', ' '))}**: {plain(one.why)}" for one in opinions if one.why]


def parameters(kind: str, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(title, value) of what was filled in, in the order of the form; what the form does not know comes last."""
    titles = {field.name: field.title for field in form(kind)} if kind in KINDS else {}
    names = [*titles, *(name for name in given if name not in titles)]
    return [
        (titles.get(name, name), _value(given[name])) for name in names if given.get(name) not in (None, "", [], {})
    ]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_value(inner)}" for name, inner in value.items())
    return "yes" if value is True else "no" if value is False else str(value)


def rules(disclosure: Disclosure | None) -> list[str]:
    """The plan's rules of disclosure, each as a sentence."""
    if disclosure is None:
        return ["The plan is of Hansa 0.1 and has no rules of disclosure: small counts are shown."]
    found = [
        f"Counts from 1 to {disclosure.minimum_cell - 1} are left out, with what they could be computed from."
        if disclosure.minimum_cell > 1
        else "Every count is shown, however small.",
        f"Counts are rounded to multiples of {disclosure.round_to}."
        if disclosure.round_to > 1
        else "Counts are not rounded.",
        f"A model has at most {disclosure.parameters_percent} parameters per hundred records, or is not released.",
        f"A site with fewer than {some(disclosure.minimum_rows, 'row')} takes no part.",
    ]
    if disclosure.dominance_percent < 100:
        found.append(f"No row may make up more than {disclosure.dominance_percent} % of a column's sum at a site.")
    return found
