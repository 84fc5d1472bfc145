"""Who learns what from an answer, and what stands between it and a person: the same words before a job and after it, at
the hub and at a site."""

from hansa.plan import Disclosure, Noise
from hansa_dashboard.words import listed, plain, some

EXACT = (
    "The totals are exact up to rounding, and no noise is added: a number that few rows stand behind, or the "
    "difference of two answers, may tell something about a person. Masking protects what each site sends, not what the "
    "answer says."
)


def protects(rules: Disclosure | None, noise: Noise | None) -> str:
    """What stands between the answer and a person in it."""
    if noise is None:
        return f"{EXACT} {left_out(rules)}"
    epsilon, delta = noise.written
    return plain(
        f"Every total carries noise that the sites drew, so the hub sees none without it. For {noise.hides}: ε "
        f"{epsilon}, δ {delta}. Counts may be below zero, and nothing is left out. More answers over the same rows add "
        "up; each site's budget keeps count."
    )


def left_out(rules: Disclosure | None) -> str:
    """What the plan's rules of disclosure keep out of the answer, and from whom they don't."""
    if rules is None:
        return "The plan is of Hansa 0.1 and has no rules of disclosure: small counts are shown."
    counts = f"Counts from 1 to {rules.minimum_cell - 1} and totals that hold them are left out of the answer"
    if rules.minimum_cell == 1:
        counts = "Every count is shown, however small"
    rounded = f", and counts are rounded to multiples of {rules.round_to}" if rules.round_to > 1 else ""
    return (
        f"{counts}{rounded}; "
        f"a model with more than {rules.parameters_percent} parameters per hundred records is not released. The hub "
        "and the sites that take part see the totals before that."
    )


def receives(recipients: tuple[str, ...]) -> str:
    """Who sees the answer; the page itself holds others off."""
    if not recipients:
        return "Everybody who can sign in at this hub sees the answer: the plan names no recipients."
    return (
        f"The answer is shown to people of {plain(listed(recipients))}, and to nobody else at this hub. The hub "
        "itself, and every site that takes part, can compute it from the totals."
    )


def hub_learns(corrupt: int) -> str:
    """The same sentence before a job and after it."""
    if corrupt == 0:
        unless = "any site colludes"
    else:
        unless = f"more than {some(corrupt, 'site')} {'colludes' if corrupt == 1 else 'collude'}"
    return (
        "- The hub, and every site that takes part, learns each step's total over those who are in it. "
        f"The hub learns no site's numbers, unless {unless} with it. Of a site that leaves between two steps, or that "
        "the hub makes leave, it can estimate the part of the totals."
    )
