"""A consortium file's question in one process: `hansa local run --simulate`."""

import secrets
from pathlib import Path
from typing import Any

import msgspec

from hansa import simulator
from hansa.charter import Rules
from hansa.cli.consortium import Consortium
from hansa.errors import NotEnoughSites, Refused
from hansa.plan import Question, resolve
from hansa_site.tables import load, schema


def simulate_question(consortium: Consortium, question: Question, rules: Rules) -> dict[str, Any]:
    """What OUT holds, without seconds and audit: nothing is signed and nothing is logged."""
    sources = {
        entry.name: source for entry in consortium.site for source in entry.table if source.name == question.table
    }
    schemas = {site: schema(source, Path()) for site, source in sources.items()}
    asked = resolve(question, [entry.name for entry in consortium.site], schemas, rules.minimum_sites)
    job, minimum = asked.job, asked.minimum
    columns = (job if question.noise is None else job.under_noise(question.noise)).columns()
    tables = {site: load(sources[site], Path(), columns, job.lenient) for site in asked.sites}
    outcome: dict[str, Any] = {"kind": question.kind, "answer": {}, "participants": [], "remarks": [], "reason": ""}
    try:
        found = simulator.simulate(
            job, tables, secrets.token_bytes, corrupt=rules.corrupt, minimum=minimum, noise=question.noise
        )
        released = found.answer if question.noise is not None else found.answer.disclosed(question.disclosure)
    except Refused as refusal:
        return outcome | {"status": "refused", "reason": str(refusal), "bytes_per_site": {}, "run": ""}
    except NotEnoughSites as few:
        return outcome | {"status": "not enough sites", "reason": str(few), "bytes_per_site": {}, "run": ""}
    answer = msgspec.to_builtins(released)
    return outcome | {
        "status": "done",
        "answer": {name: value for name, value in answer.items() if name != "kind"},
        "participants": list(found.participants),
        "bytes_per_site": dict(found.bytes_per_site),
        "run": "",
    }
