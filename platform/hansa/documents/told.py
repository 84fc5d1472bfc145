"""What a log tells, gathered for documents. Call `hansa.verify.verdict.verify` first: here nothing is checked again."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import KINDS, parse
from hansa.verify import charters, entries
from hansa.verify.charters import Charter
from hansa.verify.entries import Entry, names
from hansa.verify.findings import Findings
from hansa.verify.payloads import Plan, content_of, read_plan
from hansa.verify.tiles import Source, read_tree
from hansa.verify.verdict import Verdict


class Step(Struct, frozen=True):
    survivors: tuple[str, ...]
    entry: int


class Told(Struct):
    """A job as the log tells it, filled entry after entry. `plan` is None where it was erased. Times are milliseconds
    since 1970 by the author's clock; `entries` are the places of its acts in the log."""

    run: str
    charter: Charter
    kind: str = ""
    table: str = ""
    person: str = ""
    member: str = ""
    plan_digest: str = ""
    plan: Plan | None = None
    asked: int = 0
    ended: int = 0
    status: str = "open"
    answer: str = ""
    sites: tuple[str, ...] = ()
    consents: dict[str, int] = {}
    refusals: dict[str, int] = {}
    steps: list[Step] = []
    seen: dict[str, int] = {}
    readers: dict[str, int] = {}
    entries: list[int] = []

    @property
    def parameters(self) -> dict[str, Any]:
        if self.plan is None:
            return {}
        try:
            return msgspec.json.decode(self.plan.parameters, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolViolation("the parameters of a plan are not JSON") from error

    @property
    def columns(self) -> tuple[str, ...]:
        """Which columns of the table were used; none where the plan was erased, or is of a kind that isn't known."""
        if self.plan is None or self.kind not in KINDS:
            return ()
        try:
            return parse(self.kind, self.parameters).columns()
        except Refused:
            return ()


class Log(Struct, frozen=True):
    verdict: Verdict
    charters: Sequence[Charter]
    jobs: Mapping[str, Told]
    tables: Mapping[str, Sequence[str]]  # of each member, those that are not withdrawn
    first: int  # milliseconds of the first entry, and of the last
    last: int

    @property
    def charter(self) -> Charter:
        return next(one for one in self.charters if one.version == self.verdict.charter)

    def job(self, run: str) -> Told:
        found = [told for name, told in self.jobs.items() if name.startswith(run)] if run else []
        if len(found) != 1:
            raise Refused(f"the log tells of {len(found) or 'no'} jobs '{run}'")
        return found[0]


def read(source: Source, verdict: Verdict) -> Log:
    """Refused for a log that does not hold: documents are made of nothing that is false."""
    if verdict.outcome == "false":
        raise Refused("this export does not hold; `hansa audit verify` says where")
    found = read_tree(source, verdict.size, Findings())
    if found is None:
        raise Refused("this export lacks entries")
    chain = charters.chain([source.read(f"charters/{number}") or b"" for number in range(1, verdict.charter + 1)])
    jobs, tables, times = dict[str, Told](), dict[str, list[str]](), list[int]()
    in_force = chain[0]
    for place, data in enumerate(found[0]):
        entry = entries.read(data, place).entry
        times.append(entry.milliseconds)
        if entry.act == "charter adopted":
            in_force = chain[int(entry.details["version"]) - 1]
        _tables(tables, entry)
        if entry.run:
            told = jobs.setdefault(entry.run, Told(entry.run, in_force))
            told.entries.append(place)
            _take(told, entry, place, source)
    return Log(verdict, chain, jobs, tables, min(times, default=0), max(times, default=0))


def _tables(tables: dict[str, list[str]], entry: Entry) -> None:
    held = tables.setdefault(entry.by, []) if entry.act in ("table added", "table withdrawn") else []
    if entry.act == "table added" and entry.details["table"] not in held:
        held.append(entry.details["table"])
    elif entry.act == "table withdrawn" and entry.details["table"] in held:
        held.remove(entry.details["table"])


def _take(told: Told, entry: Entry, place: int, source: Source) -> None:
    details, now = entry.details, entry.milliseconds
    if entry.act == "heard":  # of a site that signs no entries of its own
        entry = msgspec.structs.replace(entry, by=details["site"], act=details["what"])
    match entry.act:
        case "proposal asked":
            told.kind, told.table, told.person = details["kind"], details["table"], details["person"]
            told.member, told.plan_digest, told.asked = details["member"], details["plan"], now
            content = content_of(source, entry.payload) if entry.payload else None
            told.plan = None if content is None else read_plan(content)
        case "consent given":
            told.consents[entry.by] = now
        case "refused":
            told.refusals[entry.by] = now
        case "setup complete":
            told.steps.clear()
        case "survivors locked":
            told.steps.append(Step(names(details["sites"]), place))
        case "released":
            told.answer, told.sites = details["answer"], names(details["sites"])
        case "release seen":
            told.seen[entry.by] = now
        case "answer read":
            told.readers[details["person"]] = told.readers.get(details["person"], 0) + 1
        case "ended":
            told.status, told.ended = details["status"], now
