"""A Five Safes RO-Crate (profile 0.4, https://w3id.org/5s-crate/0.4, on RO-Crate 1.2) of one job.

People, project, setting, data and outputs as the log tells them: each consent is a sign-off by its member under the
charter. No disclosure check is made under protection 'masked', and the crate says so. `workflow/` is a crate of its own
(Workflow RO-Crate 1.0) that holds the plan.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

import hansa
from hansa.documents import impact
from hansa.documents.measures import time
from hansa.documents.told import Log, Told
from hansa.errors import Refused
from hansa.jobs import KINDS
from hansa.verify.payloads import Plan

PROFILE, CRATE, WORKFLOW_CRATE = (
    "https://w3id.org/5s-crate/0.4",
    "https://w3id.org/ro/crate/1.2",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
WORKFLOW = "workflow/"
_SHP = "https://w3id.org/shp#"
_DONE, _FAILED, _TO_DO = (f"http://schema.org/{name}ActionStatus" for name in ("Completed", "Failed", "Potential"))
Entity = dict[str, Any]
Files = dict[str, bytes]


def files(log: Log, told: Told, beside: Mapping[str, bytes]) -> Files:
    """Everything in the crate, by path. `beside`: what the export holds of this job, as `answer.json`, `evidence`,
    `checkpoint`, `policy` and `charters/<version>`. Refused for a job whose plan was erased."""
    if told.plan is None:
        raise Refused("the plan of this job was erased: a crate without it would say nothing")
    found: Files = dict(beside)
    found["impact.md"] = impact.markdown(log, told).encode()
    found["impact.json"] = _json(impact.data(log, told))
    found[WORKFLOW + "plan"] = msgspec.msgpack.encode(told.plan, order="deterministic")
    found[WORKFLOW + "plan.json"] = _json(_plan(told, told.plan))
    found[WORKFLOW + "ro-crate-metadata.json"] = _json(_workflow(told))
    found["ro-crate-metadata.json"] = _json(_metadata(log, told, found))
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def _plan(told: Told, plan: Plan) -> dict[str, Any]:
    fields = msgspec.structs.asdict(plan)
    for name in fields.keys() & {"disclosure", "noise"}:
        fields[name] = None if fields[name] is None else msgspec.structs.asdict(fields[name])
    return {**fields, "charter": told.charter.digest.hex(), "parameters": told.parameters, "digest": told.plan_digest}


def _to(*names: str) -> Any:
    """A reference to one entity, or to several."""
    found = [{"@id": name} for name in names]
    return found[0] if len(found) == 1 else found


def _graph(about: str, version: str, entities: Sequence[Entity]) -> dict[str, Any]:
    head = {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": _to(about), "conformsTo": _to(version)}
    return {"@context": f"{CRATE}/context", "@graph": [head, *entities]}


def _workflow(told: Told) -> dict[str, Any]:
    """The plan as a workflow: what the members signed, and what the hub's and the sites' software did by it."""
    title = KINDS[told.kind].title if told.kind in KINDS else told.kind
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{title} over {told.table}",
        "description": f"The plan that the members of '{told.charter.consortium}' signed",
        "datePublished": time(told.asked),
        "license": _to("#terms"),
        "conformsTo": _to(WORKFLOW_CRATE),
        "mainEntity": _to("plan.json"),
        "hasPart": _to("plan.json", "plan"),
    }
    main: Entity = {
        "@id": "plan.json",
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": f"Plan {told.plan_digest}",
        "encodingFormat": "application/json",
        "programmingLanguage": _to("#plan"),
    }
    signed: Entity = {"@id": "plan", "@type": "File", "name": "The plan's bytes, whose digest was signed"}
    language: Entity = {"@id": "#plan", "@type": "ComputerLanguage", "name": f"Hansa plan, kind {told.kind}"}
    return _graph("./", CRATE, [root, main, signed, language, _terms()])


def _terms() -> Entity:
    name = "Terms of the consortium: its members decide on any further use"
    return {"@id": "#terms", "@type": "CreativeWork", "name": name}


def _metadata(log: Log, told: Told, found: Files) -> dict[str, Any]:
    actions = [_run(told, found), *_sign_offs(told), _verified(log), _disclosure(told)]
    parts = [name for name in found if not name.startswith(WORKFLOW)]
    title = KINDS[told.kind].title if told.kind in KINDS else told.kind
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{title} over {told.table}, job {told.run}",
        "description": "A computation over tables that stayed with the members, and its answer",
        "datePublished": time(told.ended or told.asked),
        "license": _to("#terms"),
        "conformsTo": _to(PROFILE),
        "hasPart": [{"@id": name} for name in (WORKFLOW, *parts)],
        "mainEntity": _to(WORKFLOW),
        "mentions": [{"@id": action["@id"]} for action in actions],
        "sourceOrganization": _to("#project"),
        "publisher": _to("#project"),
    }
    profile: Entity = {"@id": PROFILE, "@type": "Profile", "name": "Five Safes RO-Crate profile"}
    workflow: Entity = {
        "@id": WORKFLOW,
        "@type": "Dataset",
        "name": f"Plan {told.plan_digest}",
        "conformsTo": _to(WORKFLOW_CRATE),
    }
    about = [*_people(told), *_parameters(told), *(_file(name, found[name]) for name in parts), _software(), _terms()]
    return _graph("./", CRATE, [root, profile, workflow, *actions, *about])


def _file(name: str, content: bytes) -> Entity:
    told = {
        "answer.json": ("The answer that was released", "application/json"),
        "evidence": (
            "Evidence: who has the charter recomputes the answer with `hansa audit replay`",
            "application/zip",
        ),
        "checkpoint": ("Head of the log, signed by the hub and cosigned by the members", "text/plain"),
        "policy": ("Whose cosignatures make a head of the log final", "text/plain"),
        "impact.md": ("Data-protection impact pack", "text/markdown"),
        "impact.json": ("Data-protection impact pack, as data", "application/json"),
    }
    charter = (f"Charter, version {name.removeprefix('charters/')}, as signed", "application/octet-stream")
    title, encoding = told.get(name, charter)
    return {
        "@id": name,
        "@type": "File",
        "name": title,
        "encodingFormat": encoding,
        "contentSize": str(len(content)),
        "sha256": sha256(content).hexdigest(),
    }


def _people(told: Told) -> list[Entity]:
    """Who asked, under the pseudonym of the log; the members; the consortium as the responsible project."""
    charter = told.charter
    people: list[Entity] = [
        {
            "@id": "#person",
            "@type": "Person",
            "name": f"{told.person} (a pseudonym of the log)",
            "affiliation": _to(f"#member-{told.member}"),
            "memberOf": _to("#project"),
        },
        {
            "@id": "#project",
            "@type": "Project",
            "name": charter.consortium,
            "identifier": _to("#origin"),
            "member": [{"@id": f"#member-{site}"} for site in charter.members],
        },
        {"@id": "#origin", "@type": "PropertyValue", "name": "origin of the log", "value": charter.origin},
        {
            "@id": "#charter",
            "@type": "CreativeWork",
            "name": f"Charter of {charter.consortium}, version {charter.version}",
            "identifier": charter.digest.hex(),
        },
    ]
    for member in charter.members.values():
        people.append({"@id": f"#member-{member.id}", "@type": "Organization", "name": member.name})
    return people


def _parameters(told: Told) -> list[Entity]:
    values = {"table": told.table, **told.parameters}
    return [
        {"@id": f"#parameter-{at}", "@type": "PropertyValue", "name": name, "value": _text(value)}
        for at, (name, value) in enumerate(values.items())
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _software() -> Entity:
    return {"@id": "#hansa", "@type": "SoftwareApplication", "name": "Hansa", "softwareVersion": hansa.__version__}


def _run(told: Told, found: Files) -> Entity:
    action: Entity = {
        "@id": f"#run-{told.run}",
        "@type": "CreateAction",
        "name": f"Job {told.run}",
        "startTime": time(told.asked),
        "actionStatus": _DONE if told.answer else _FAILED,
        "agent": _to("#person"),
        "instrument": _to(WORKFLOW),
        "object": [{"@id": entity["@id"]} for entity in _parameters(told)],
    }
    if told.ended:
        action["endTime"] = time(told.ended)
    if "answer.json" in found:
        action["result"] = _to("answer.json")
    if not told.answer:
        action["error"] = f"the job ended as '{told.status}'"
    return action


def _sign_offs(told: Told) -> list[Entity]:
    """Each member's consent, and each refusal."""
    said = [(site, at, _DONE, "consented") for site, at in told.consents.items()]
    said += [(site, at, _FAILED, "refused") for site, at in told.refusals.items() if site not in told.consents]
    return [
        {
            "@id": f"#signoff-{site}",
            "@type": "AssessAction",
            "additionalType": _to(f"{_SHP}SignOff"),
            "name": f"Sign-off by {site}: {what}, signed in the log",
            "endTime": time(at),
            "object": _to("./", WORKFLOW, "#project"),
            "instrument": _to("#charter"),
            "agent": _to(f"#member-{site}"),
            "actionStatus": status,
        }
        for site, at, status, what in said
        if site in told.charter.members
    ]


def _verified(log: Log) -> Entity:
    verdict = log.verdict
    cosigned = f"cosigned by {len(verdict.cosigned)} of {verdict.quorum}"
    return {
        "@id": "#log",
        "@type": "AssessAction",
        "additionalType": _to(f"{_SHP}CheckValue"),
        "name": f"Verification of the log, {verdict.size} entries, {cosigned}: {verdict.outcome}",
        "object": _to("./"),
        "endTime": time(log.last),
        "instrument": _to("#hansa"),
        "agent": _to("#hansa"),
        "actionStatus": _DONE,
    }


def _disclosure(told: Told) -> Entity:
    return {
        "@id": "#disclosure",
        "@type": "AssessAction",
        "additionalType": _to(f"{_SHP}DisclosureCheck"),
        "name": "Disclosure check of the answer by a person: none was made",
        "object": _to("./"),
        "agent": _to(f"#member-{told.member}"),
        "actionStatus": _TO_DO,
    }
