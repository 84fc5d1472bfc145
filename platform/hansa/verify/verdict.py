"""The whole verification of an export, in one verdict."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify import charters, checkpoints, entries, policies
from hansa.verify.authors import BATCH, Due, InForce, Rotations, Sequences, check_signatures
from hansa.verify.charters import HUB, Charter
from hansa.verify.checkpoints import Cosigned, Times, Witnessed
from hansa.verify.entries import Read, about
from hansa.verify.findings import Finding, Findings, Severity
from hansa.verify.former import Former, logs
from hansa.verify.jobs import Act, Recomputed, Story
from hansa.verify.payloads import Payloads
from hansa.verify.tiles import Source, read_tree
from hansa.verify.tree import Tree

Replay = Callable[[str], Recomputed]  # the evidence of a run, by its file's name; one of our errors if it fails
Check = Callable[[Iterable[list[Due]]], Iterable[list[int]]]  # `check_signatures` of each batch, in order
MOST_VERSIONS = 10_000


class Verdict(Struct, frozen=True):
    """`holds`: nothing is false and nothing missing. `open`: nothing is false, but something is missing, not final yet,
    or worth a look. `false`: something is. `own_charter`: the reader's own is one of the chain. `former`: the logs that
    went before, by the version that began each; they are verified one by one (`former.source_of`)."""

    outcome: Literal["holds", "open", "false"]
    origin: str
    consortium: str
    size: int
    root: str
    charter: int
    charter_digest: str
    own_charter: bool
    cosigned: Mapping[str, int]
    quorum: int
    final: bool
    acts: Mapping[str, int]
    jobs: int
    releases: int
    payloads_opened: int
    payloads_erased: int
    replayed: tuple[str, ...]
    counts: Mapping[Severity, int]
    findings: tuple[Finding, ...]
    former: tuple[int, ...] = ()

    @property
    def first_failure(self) -> Finding | None:
        return next((finding for finding in self.findings if finding.severity == "failed"), None)


def check_here(batches: Iterable[list[Due]]) -> Iterable[list[int]]:
    """Signatures in this process."""
    return map(check_signatures, batches)


def verify(
    source: Source, own: bytes | None = None, replay: Replay | None = None, check: Check = check_here
) -> Verdict:
    """Everything that an export can be held to. `own`: the reader's signed charter. Without charters, or without a
    checkpoint of their log, there is nothing to judge: ProtocolViolation."""
    run = _Verification(source, replay)
    run.read_charters(own)
    run.read_log()
    run.check_entries(check)
    run.check_jobs()
    return run.verdict()


class _Verification:
    """What is known so far; the methods run in the order in which `verify` calls them."""

    def __init__(self, source: Source, replay: Replay | None) -> None:
        self.source, self.replay, self.findings = source, replay, Findings()
        self.acts: Counter[str] = Counter()
        self.jobs: dict[str, list[Act]] = {}
        self.replayed: list[str] = []
        self.tree, self.data = Tree(), list[bytes]()
        self.former, self.own_charter, self.linked = Former(self.findings), False, False

    # ---- charters and checkpoints ----

    def read_charters(self, own: bytes | None) -> None:
        names = self.source.names("charters")
        found = sorted((int(name) for name in names if name.isdecimal() and len(name) < 11), key=int)
        if not found or len(found) > MOST_VERSIONS:
            raise ProtocolViolation("the export holds no charter")
        self.chain: list[Charter] = []
        for due, version in enumerate(found, 1):
            with self.findings.at(f"charters/{version}"):
                if version != due:
                    raise ProtocolViolation(f"version {due} of the charter is not in the export")
                self.chain += self._charter(version)
            if len(self.chain) < due:
                break  # what follows can't be held to anything
        if not self.chain:
            raise ProtocolViolation(f"no charter of the export holds: {self.findings.found[0].sentence}")
        self.newest = self.chain[-1]
        if own is not None:
            mine = charters.load(own)
            self.own_charter = any(mine.digest == charter.digest for charter in self.chain)
            if not self.own_charter:
                sentence = (
                    f"your own charter, version {mine.version} of '{about(mine.consortium)}', is not in this chain"
                )
                self.findings.failed("charters", sentence)

    def _charter(self, version: int) -> list[Charter]:
        data = self.source.read(f"charters/{version}") or b""
        charter = charters.load(data, self.chain[-1] if self.chain else None)
        if charter.version != version:
            raise ProtocolViolation(f"the file holds version {charter.version} of the charter")
        return [charter]

    def read_log(self) -> None:
        data = self.source.read("checkpoint")
        if data is None:
            raise ProtocolViolation("the export has no checkpoint")
        _, self.head = checkpoints.read(data)
        found = read_tree(self.source, self.head.size, self.findings)
        if found is not None:
            self.data, self.tree = found
            if self.tree.root(self.head.size) != self.head.root:
                self.findings.failed("checkpoint", "the entries do not give the root that the log signed")
        self.in_force = InForce(self.chain, self.findings)
        for place, entry in enumerate(self.data):
            if b"charter adopted" in entry:
                self._adopt(place, entry)
        self.cosigned = self._open("checkpoint", data) or Cosigned(self.head, {}, self.newest.quorum)
        if self.head.origin != self.newest.origin:
            self.findings.failed("checkpoint", "the log is not the one that the newest charter names")
        if not self.cosigned.final:
            what = f"{len(self.cosigned.seconds)} of {self.cosigned.quorum} members cosigned: not final"
            self.findings.missing("checkpoint", what)
        self._read_policy()
        self._read_earlier()

    def _adopt(self, place: int, data: bytes) -> None:
        try:
            entry = entries.read(data, place).entry
        except ProtocolViolation:
            return  # said where every entry is read
        if entry.act == "charter adopted" and entry.by == HUB:
            self.in_force.adopt(place, entry)

    def _open(self, where: str, data: bytes) -> Cosigned | None:
        """A checkpoint under the charter in force at its end."""
        try:
            size = checkpoints.read(data)[1].size
            charter = self.in_force.at(size - 1) or self.newest
            before = self.chain[charter.version - 2] if charter.version > 1 else None
            if not charter.log:
                self.findings.missing(where, "the charter gives the log no key: nobody signs what it holds")
            return checkpoints.open_note(data, charter, before)
        except ProtocolViolation as violation:
            self.findings.failed(where, str(violation))
            return None

    def _read_policy(self) -> None:
        policy = self.source.read("policy")
        if policy is None:
            self.findings.missing("policy", "the export has no witness policy")
        elif self.newest.log:
            with self.findings.at("policy"):
                in_force = self.in_force.at(self.head.size - 1) or self.newest
                try:
                    policies.check(policy, in_force)
                except ProtocolViolation:  # a version may be newer than the last head that is final
                    if in_force is self.newest:
                        raise
                    policies.check(policy, self.newest)

    def _read_earlier(self) -> None:
        witnessed = Witnessed(self.findings)
        for name in self.source.names("checkpoints"):
            where, data = f"checkpoints/{about(name)}", self.source.read(f"checkpoints/{name}")
            cosigned = self._open(where, data or b"")
            if cosigned is None:
                continue
            if str(cosigned.checkpoint.size) != name:
                self.findings.failed(where, f"the file holds the checkpoint of size {cosigned.checkpoint.size}")
            if not cosigned.final:
                what = f"{len(cosigned.seconds)} of {cosigned.quorum} members cosigned: it was not final"
                self.findings.missing(where, what)
            if self.data:
                witnessed.take(cosigned, self.tree, where)
        witnessed.check_clocks()
        if self.data and self.tree.root(self.head.size) == self.head.root:
            witnessed.all.append(self.cosigned)
        self.times = Times(witnessed.all, self.findings)

    # ---- entries ----

    def check_entries(self, check: Check) -> None:
        self.sequences, self.payloads = Sequences(self.findings), Payloads(self.source, self.findings)
        if self.head.size < 2 or (self.data and not self.in_force.adopted):
            self.findings.failed("entry 1", "a log begins with its opening and a charter, and this one adopts none")
        rotations, sent = Rotations(self.findings), list[list[Due]]()
        for holding in check(self._batches(sent)):
            rotations.take(sent.pop(0), holding)
        self.payloads.note_stray()
        self.former.check(self.source, self.chain, self.in_force.adopted)
        stray = self.chain[self.in_force.adopted[-1][1].version :] if self.in_force.adopted else []
        for charter in stray:
            self.findings.note(f"charters/{charter.version}", "this version is not adopted in the log yet")

    def _batches(self, sent: list[list[Due]]) -> Iterator[list[Due]]:
        batch: list[Due] = []
        for place, data in enumerate(self.data):
            with self.findings.at(f"entry {place}"):
                read = entries.read(data, place)
                self._take(read)
                keys = self.in_force.keys(read.entry.by, place)
                batch.append(Due(place, read.entry.by, keys, read.signed, read.signature))
            if len(batch) == BATCH or (batch and place == len(self.data) - 1):
                sent.append(batch)
                yield batch
                batch = []

    def _take(self, read: Read) -> None:
        entry, place = read.entry, read.place
        self.acts[entry.act] += 1
        if entry.log != self.head.origin:
            self.findings.failed(f"entry {place}", f"it is of the log '{about(entry.log)}'")
        if (entry.act == "log opened") != (place == 0):
            self.findings.failed(f"entry {place}", "a log is opened by its first entry, and by no other")
        if place == 0:
            self.linked = "former head" in entry.details or "former log" in entry.details
        if place == 1 and entry.act != "charter adopted":
            self.findings.failed(f"entry {place}", "the second entry of a log is a charter's")
        charter = self.in_force.at(place)
        if entry.act == "heard" and charter is not None and charter.format > 1:
            self.findings.failed(
                f"entry {place}", f"the hub speaks for '{about(entry.details['site'])}', which signs itself"
            )
        self.sequences.take(read)
        self.former.take(read)
        self.times.check(place, entry)
        self.payloads.take(read, charter)
        if entry.run:
            self.jobs.setdefault(entry.run, []).append(_act(read, charter))

    # ---- jobs ----

    def check_jobs(self) -> None:
        for run, acts in self.jobs.items():
            self._story(run, acts).told()
        for name in self.source.names("evidence"):
            where = f"evidence/{about(name)}"
            if name not in self.jobs:
                self.findings.failed(where, "the log knows no job of this name")
            elif self.replay is not None:
                with self.findings.at(where):
                    self._story(name, self.jobs[name]).compare(self.replay(name), where)
                    self.replayed.append(name)

    def _story(self, run: str, acts: Sequence[Act]) -> Story:
        charter = self.in_force.at(acts[0].place) or self.newest
        clocks = self.sequences.clocks
        return Story(run, acts, charter, self.payloads.plans.get(run), clocks, self.linked, self.findings)

    def verdict(self) -> Verdict:
        counts = self.findings.counts
        outcome: Literal["holds", "open", "false"] = "false" if counts["failed"] else "open"
        charter = self.in_force.at(self.head.size - 1) or self.newest
        return Verdict(
            outcome if any(counts.values()) else "holds",
            self.head.origin,
            charter.consortium,
            self.head.size,
            self.head.root.hex(),
            charter.version,
            charter.digest.hex(),
            self.own_charter,
            dict(self.cosigned.seconds),
            self.cosigned.quorum,
            self.cosigned.final,
            dict(self.acts),
            self.acts["proposal asked"],
            self.acts["released"],
            self.payloads.opened,
            self.payloads.erased,
            tuple(self.replayed),
            dict(counts),
            tuple(self.findings.found),
            logs(self.chain, self.head.origin),
        )


def _act(read: Read, charter: Charter | None) -> Act:
    """What a site without keys of its own did is the hub's word, under a charter of format 1 only."""
    entry = read.entry
    if entry.act == "heard" and charter is not None and charter.format == 1:
        site, act = entry.details["site"], entry.details["what"]
        return Act(read.place, site, entry.sequence, entry.milliseconds, act, entry.details)
    return Act(read.place, entry.by, entry.sequence, entry.milliseconds, entry.act, entry.details)
