"""How `hansa site pending` and `hansa site policy check` show a plan and what a policy says of it."""

import time
from collections.abc import Iterable
from typing import Any

import msgspec
import typer


def as_text(one: Any) -> str:
    """A `hansa_site.pending.Pending` for a terminal."""
    plan, left = one.plan, max(one.until - time.time(), 0) / 3600
    lines = [
        f"{one.run}  {one.what}, {len(one.said)} of {one.needed} said yes, {left:.1f} hours left",
        f"  {plan.proposer} asks for {plan.kind} over {plan.table}: {_plain(one.parameters)}",
        f"  of {', '.join(plan.sites)}; at least {plan.minimum_sites} must stay",
        f"  the answer goes to {', '.join(plan.recipients) or 'everybody at the hub'}",
    ]
    if plan.purpose:
        lines.append(f"  purpose: {_safe(plan.purpose)}")
    if plan.disclosure is not None:
        lines.append(f"  counts below {plan.disclosure.minimum_cell} are not shown; protection {plan.protection}")
    if one.cost:
        lines.append(f"  of the privacy budget {one.cost}")
    if one.learns:
        lines.append(f"  beyond the answer, the hub and the sites learn {one.learns}")
    if one.answer:
        lines.append(f"  the answer: {_safe(one.answer.decode())}")
    lines += [f"  {line}" for line in opinions(one.opinions)]
    lines += [f"  similar: {run}  {status}" for run, status in one.similar]
    return "\n".join([*lines, f"  plan {plan.digest.hex()}"])


def opinions(found: Iterable[Any]) -> list[str]:
    """One line where the policy says yes, one a rule where it says no."""
    no = [one for one in found if one.why]
    return [f"policy, {one.rule}: no, {one.why}" for one in no] or ["policy: yes, by every rule"]


def print_json(found: Iterable[Any]) -> None:
    plain = [
        {
            "run": one.run,
            "what": one.what,
            "until": one.until,
            "plan": one.plan.digest.hex(),
            "proposer": one.plan.proposer,
            "kind": one.plan.kind,
            "table": one.plan.table,
            "sites": one.plan.sites,
            "recipients": one.plan.recipients,
            "purpose": one.plan.purpose,
            "parameters": one.parameters,
            "learns": one.learns,
            "said": one.said,
            "needed": one.needed,
            "no": {opinion.rule: opinion.why for opinion in one.opinions if opinion.why},
            "similar": [run for run, _status in one.similar],
            "answer": msgspec.Raw(one.answer or b"null"),
        }
        for one in found
    ]
    typer.echo(msgspec.json.encode(plain).decode())


def _plain(parameters: dict[str, Any]) -> str:
    return _safe(", ".join(f"{name} {value}" for name, value in parameters.items() if value not in (None, "", {}, [])))


def _safe(text: str) -> str:
    """What others typed must not steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
