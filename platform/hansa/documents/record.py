"""The record of processing activities (GDPR, article 30) of a consortium, from its log."""

from collections import Counter
from typing import Any

from hansa.documents.measures import MEASURES, bullets, plain, table, time
from hansa.documents.told import Log, Told
from hansa.jobs import KINDS

TO_ADD = {
    "contacts": "contact details of each controller, its representative and its data protection officer",
    "purpose": "the purpose in the controllers' own words, and its legal basis",
    "data subjects": "the categories of data subjects in each table",
    "transfers": "whether a member or the hub lies outside the EEA, and the safeguards for that",
}


def data(log: Log) -> dict[str, Any]:
    """The record as values of JSON. What the log can't know is named under `to be added by the controllers`."""
    charter, verdict = log.charter, log.verdict
    processing: dict[tuple[str, str], list[Told]] = {}
    for told in log.jobs.values():
        processing.setdefault((told.kind, told.table), []).append(told)
    return {
        "record": "GDPR article 30(1)",
        "consortium": charter.consortium,
        "from": time(log.first),
        "until": time(log.last),
        "joint controllers": [
            {"member": member.id, "name": member.name, "tables": sorted(log.tables.get(member.id, ()))}
            for member in charter.members.values()
        ],
        "processing": [_processing(kind, name, jobs) for (kind, name), jobs in sorted(processing.items())],
        "recipients": [
            "the members that took part: public state and total of each step, and the answer",
            "the operator of the hub: totals, answers, plans, schemas",
            "the people who asked, under pseudonyms in the log: the answer",
        ],
        "retention": f"{charter.rules.retention_years} years for what may be erased; log entries stay, without content",
        "measures": list(MEASURES),
        "log": {
            "origin": verdict.origin,
            "size": verdict.size,
            "root": verdict.root,
            "cosigned": sorted(verdict.cosigned),
            "final": verdict.final,
            "charter": {"version": verdict.charter, "digest": verdict.charter_digest},
        },
        "to be added by the controllers": TO_ADD,
    }


def _processing(kind: str, name: str, jobs: list[Told]) -> dict[str, Any]:
    known = KINDS.get(kind)
    return {
        "purpose": known.title if known is not None else kind,
        "kind": kind,
        "table": name,
        "categories of data": sorted({column for told in jobs for column in told.columns}),
        "plans erased": sum(told.plan is None for told in jobs),
        "members": sorted({site for told in jobs for site in told.consents}),
        "asked by": dict(sorted(Counter(told.member for told in jobs).items())),
        "jobs": len(jobs),
        "answers released": sum(bool(told.answer) for told in jobs),
        "first": time(min(told.asked for told in jobs)),
        "last": time(max(told.asked for told in jobs)),
    }


def markdown(log: Log) -> str:
    found = data(log)
    lines = [f"# Record of processing: {plain(log.charter.consortium)}", ""]
    lines += [f"GDPR, article 30(1). From the log {log.verdict.origin}, {found['from']} to {found['until']}.", ""]
    lines += ["## Joint controllers", ""]
    rows = [[one["name"], one["member"], ", ".join(one["tables"])] for one in found["joint controllers"]]
    lines += table(["institution", "member", "tables"], rows)
    lines += ["## Processing", ""]
    lines += table(
        ["purpose", "table", "categories of data", "members", "asked by", "jobs", "answers", "from", "until"],
        [_row(one) for one in found["processing"]],
    )
    for heading, key in (("Recipients", "recipients"), ("Measures", "measures")):
        lines += [f"## {heading}", "", *bullets(found[key])]
    lines += ["## Retention", "", found["retention"] + ".", ""]
    lines += ["## To be added by the controllers", "", "The log does not know:", "", *bullets(list(TO_ADD.values()))]
    head = found["log"]
    final = "final" if head["final"] else "not final"
    lines += ["## Where this comes from", ""]
    lines += [
        f"{head['size']} entries with the root `{head['root']}`, cosigned by {', '.join(head['cosigned']) or 'nobody'} "
        f"({final}), under version {head['charter']['version']} of the charter, `{head['charter']['digest']}`.",
        "",
    ]
    return "\n".join(lines)


def _row(one: dict[str, Any]) -> list[str]:
    erased = f" ({one['plans erased']} plans erased)" if one["plans erased"] else ""
    asked = ", ".join(f"{member} {count}" for member, count in one["asked by"].items())
    columns, members = ", ".join(one["categories of data"]) + erased, ", ".join(one["members"])
    jobs, answers = str(one["jobs"]), str(one["answers released"])
    return [one["purpose"], one["table"], columns, members, asked, jobs, answers, one["first"], one["last"]]
