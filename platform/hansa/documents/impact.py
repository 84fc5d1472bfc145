"""The data-protection impact pack of one job (GDPR, article 35(7)): what flows where, who learns what, what is left."""

import json
from typing import Any

from hansa.documents.measures import MEASURES, RISKS, bullets, plain, table, time, tolerated
from hansa.documents.told import Log, Told
from hansa.jobs import KINDS
from hansa.privacy.accounting import written
from hansa.verify.payloads import Noise, Plan, SecondPlan

FLOW: tuple[tuple[str, str, str], ...] = (
    (
        "each member → hub",
        "masked vectors, signatures, shares of masks that are opened",
        "random without the others' masks",
    ),
    ("member → member, through the hub", "shares of masks", "sealed to the receiver; the hub can't open them"),
    (
        "hub → each member",
        "the question of each step and the total of the one before",
        "totals, in clear to the members",
    ),
    ("hub → sites that computed", "the total and the answer", "to be computed anew and agreed to before its release"),
    ("hub → its recipients", "the answer", "as the plan's rules of disclosure or its noise leave it"),
)


def data(log: Log, told: Told) -> dict[str, Any]:
    charter, plan = told.charter, told.plan
    sites = plan.sites if plan is not None else tuple(sorted(told.consents))
    known = KINDS.get(told.kind)
    left = sorted({*told.steps[0].survivors} - {*told.steps[-1].survivors}) if told.steps else []
    return {
        "job": told.run,
        "kind": told.kind,
        "title": known.title if known is not None else told.kind,
        "table": told.table,
        "columns": list(told.columns),
        "parameters": told.parameters if plan is not None else "erased",
        "plan": told.plan_digest,
        "asked": {"by": told.member, "person": told.person, "at": time(told.asked)},
        "ended": {"status": told.status, "at": time(told.ended)},
        "protection": plan.protection if plan is not None else "erased",
        "answer as shown": _shown(plan),
        "members": list(sites),
        "consents": {site: time(at) for site, at in sorted(told.consents.items())},
        "refusals": {site: time(at) for site, at in sorted(told.refusals.items())},
        "floors": {
            "least members in a total": plan.minimum_sites if plan is not None else charter.rules.minimum_sites,
            "members that may collude with the hub": tolerated(charter, len(sites)),
            "cosignatures that make the log final": charter.quorum,
        },
        "steps": [{"survivors": list(step.survivors), "entry": step.entry} for step in told.steps],
        "left between steps": left,
        "answer": {"sha256": told.answer, "over": list(told.sites), "readers": len(told.readers)},
        "flow": [{"from and to": way, "what": what, "in what form": form} for way, what, form in FLOW],
        "learns": _learns(known.learns if known is not None else "what this kind reveals is not known here"),
        "measures": list(MEASURES),
        "remaining risks": list(RISKS),
        "log": {"origin": log.verdict.origin, "size": log.verdict.size, "root": log.verdict.root},
        "entries": told.entries,
    }


def _shown(plan: Plan | None) -> str:
    """What the plan keeps out of the answer."""
    if isinstance(plan, SecondPlan) and plan.noise is not None:
        epsilon, delta = (written(amount, places) for amount, places in _amounts(plan.noise))
        return f"noise for ε {epsilon} and δ {delta}, for each {plan.noise.unit}"
    if isinstance(plan, SecondPlan):
        return f"no noise; counts below {plan.disclosure.minimum_cell}, and totals that hold them, left out"
    return "erased" if plan is None else "no noise, nothing left out"


def _amounts(noise: Noise) -> tuple[tuple[int, int], tuple[int, int]]:
    return (noise.micro_epsilon, 6), (noise.pico_delta, 12)


def _learns(totals: str) -> dict[str, str]:
    return {
        "each member that takes part": f"its own rows; public state and total of each step: {totals}",
        "the hub": f"the same totals, the answer, plans and schemas: {totals}",
        "brokers": "sizes and times of sealed letters",
        "colluding members, up to the floor, with the hub": "the total minus their own parts",
        "its recipients": "the answer",
    }


def markdown(log: Log, told: Told) -> str:
    found = data(log, told)
    lines = [f"# Impact of a job: {plain(found['title'])} over {plain(told.table)}", ""]
    lines += [
        f"Run `{told.run}`, asked for '{plain(told.member)}' at {found['asked']['at']}; {plain(told.status)}.",
        "",
    ]
    lines += ["## What was asked", "", *_question(found), "## Who agreed", ""]
    agreed = [[site, "consented", at] for site, at in found["consents"].items()]
    lines += table(["member", "", "at"], agreed + [[site, "refused", at] for site, at in found["refusals"].items()])
    lines += ["## What flows where", ""]
    lines += table(["from and to", "what", "in what form"], [list(one) for one in FLOW])
    lines += ["## Who learns what", "", *table(["who", "what"], [list(one) for one in found["learns"].items()])]
    lines += ["## Floors", "", *bullets([f"{what}: {count}" for what, count in found["floors"].items()])]
    lines += ["## What happened", ""]
    steps = [[str(at), ", ".join(step["survivors"]), str(step["entry"])] for at, step in enumerate(found["steps"])]
    lines += table(["step", "members in the total", "entry of the log"], steps)
    if found["left between steps"]:
        who = ", ".join(found["left between steps"])
        lines += [f"**{who}** left between two steps: its part of the earlier totals can be estimated.", ""]
    if told.answer:
        lines += [f"Answer over {', '.join(told.sites)}, SHA-256 `{told.answer}`.", ""]
    lines += ["## Measures", "", *bullets(MEASURES), "## Remaining risks", "", *bullets(RISKS)]
    lines += ["## To be added by the controllers", ""]
    lines += bullets(
        ["why the job is necessary, and proportionate to its purpose", "the view of data subjects, where it was sought"]
    )
    return "\n".join(lines)


def _question(found: dict[str, Any]) -> list[str]:
    if found["parameters"] == "erased":
        return [f"The plan was erased; its digest is `{found['plan']}`.", ""]
    parameters = json.dumps(found["parameters"], indent=1, ensure_ascii=True).replace("```", "'''")
    asked = [f"plan `{found['plan']}`", f"columns: {plain(', '.join(found['columns']))}"]
    kept = f"protection: {plain(found['protection'])}: masked until they are added up; {found['answer as shown']}"
    return [*bullets([*asked, kept]), "```json", parameters, "```", ""]
