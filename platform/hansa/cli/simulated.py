"""A consortium file's question in one process: `hansa local run --simulate`."""

import secrets
from pathlib import Path
from typing import Any

import msgspec

from hansa import jobs, simulator
from hansa.charter import Rules
from hansa.cli.consortium import Consortium
from hansa.errors import NotEnoughSites, Refused
from hansa.plan import Question
from hansa_site.tables import load, schema


def simulate_question(consortium: Consortium, question: Question, rules: Rules) -> dict[str, Any]:
    """What OUT holds, without seconds and audit: nothing is signed and nothing is logged."""
    job = jobs.parse(question.kind, question.parameters)
    sources = {
        entry.name: source for entry in consortium.site for source in entry.table if source.name == question.table
    }
    sites = question.sites or tuple(sorted(sources))
    tables = {}
    for site in sites:
        if site not in sources:
            raise Refused(f"'{site}' has no table '{question.table}'")
        try:
            job.check(schema(sources[site], Path()))
        except Refused as refusal:
            raise Refused(f"{site}: {refusal}") from refusal
        tables[site] = load(sources[site], Path(), job.columns())
    minimum = max(rules.minimum_sites, question.minimum_sites)
    outcome: dict[str, Any] = {"kind": question.kind, "answer": {}, "participants": [], "remarks": [], "reason": ""}
    try:
        found = simulator.simulate(job, tables, secrets.token_bytes, corrupt=rules.corrupt, minimum=minimum)
    except Refused as refusal:
        return outcome | {"status": "refused", "reason": str(refusal), "bytes_per_site": {}, "run": ""}
    except NotEnoughSites as few:
        return outcome | {"status": "not enough sites", "reason": str(few), "bytes_per_site": {}, "run": ""}
    answer = msgspec.to_builtins(found.answer)
    return outcome | {
        "status": "done",
        "answer": {name: value for name, value in answer.items() if name != "kind"},
        "participants": list(found.participants),
        "bytes_per_site": dict(found.bytes_per_site),
        "run": "",
    }
