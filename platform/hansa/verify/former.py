"""A log that went before, and ended because its hub had lost a part of it.

Where a version of the charter begins a new log, the hub's first entry there says what it holds of the one before, which
is the largest checkpoint of that that any member showed it, and which members it asked. Each member's first entry says
up to where *it* had cosigned. The two are held to each other, and to the entries that lie beside the export.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify import checkpoints
from hansa.verify.charters import Charter
from hansa.verify.entries import Read, about, names
from hansa.verify.findings import Findings
from hansa.verify.notes import Checkpoint
from hansa.verify.tiles import Source, read_tree
from hansa.verify.tree import Tree

FOLDER = "former"


class Before(Struct, frozen=True):
    """What a first entry says of the log before. `held`: what the hub still has of it. `witnessed`: the largest
    checkpoint that it knew, and `note` its text and signatures; none where nobody ever cosigned."""

    held: Checkpoint
    witnessed: Checkpoint | None
    note: bytes
    heard: tuple[str, ...]

    @property
    def size(self) -> int:
        return self.witnessed.size if self.witnessed is not None else 0


def read_before(details: Mapping[str, str]) -> Before | None:
    """From the details of "log opened"; None where no log of this kind went before."""
    if "former log" not in details:
        return None
    held = _head(details["former log"], details.get("former size", ""), details.get("former root", ""))
    note = details.get("witnessed", "").encode("utf-8", "replace")
    witnessed = checkpoints.read(note)[1] if note else None
    if witnessed is not None and witnessed.origin != held.origin:
        raise ProtocolViolation("the checkpoint of the log before is of another log")
    return Before(held, witnessed, note, names(details.get("heard", "")))


def _head(origin: str, size: str, root: str) -> Checkpoint:
    if not size.isdecimal() or len(size) > 16 or len(root) != 64 or not set(root) <= set("0123456789abcdef"):
        raise ProtocolViolation("the head of the log before is not a size and a root")
    return Checkpoint(origin, int(size), bytes.fromhex(root))


def source_of(source: Source, began: int) -> Source:
    """The log that version `began` opened, as it lies in the export of a later one."""

    def at(path: str) -> str:
        return path if path.startswith(f"{FOLDER}/") else f"{FOLDER}/{began}/{path}"

    return Source(lambda path: source.read(at(path)), lambda folder: source.names(at(folder)))


def logs(chain: Sequence[Charter], origin: str) -> tuple[int, ...]:
    """The logs that went before the one of this origin, each by the version that began it."""
    found = dict.fromkeys(charter.log_began for charter in chain if charter.log and charter.origin != origin)
    return tuple(began for began in found if began < max(charter.log_began for charter in chain))


class Former:
    """Takes the entries of a log as they come, and looks at what went before once all are known."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._opened: Mapping[str, str] = {}
        self._continued: dict[str, list[Read]] = {}

    @property
    def named(self) -> bool:
        """Whether the first entry names a log before this one."""
        return "former log" in self._opened

    def take(self, read: Read) -> None:
        entry = read.entry
        if read.place == 0:
            self._opened = entry.details
        if entry.act == "log continued":
            before = self._continued.setdefault(entry.by, [])
            if entry.sequence != len(before):
                sentence = f"'{entry.by}' says what it saw of a log before, and not as the first that it says"
                self._findings.failed(f"entry {read.place}", sentence)
            before.append(read)

    def check(self, source: Source, chain: Sequence[Charter], adopted: Sequence[tuple[int, Charter]]) -> None:
        """`chain` begins with version 1; `adopted`: the versions that the log adopted."""
        if not adopted:
            return  # said elsewhere
        first = adopted[0][1]
        began = first.log_began
        if not self.named:
            if began > 1:
                sentence = f"version {began} of the charter begins this log, which does not say what went before it"
                self._findings.failed("entry 0", sentence)
            return
        if began == 1:
            sentence = "it names a log that went before, and no version of the charter begins a new one"
            self._findings.failed("entry 0", sentence)
            return
        if first.version != began:
            sentence = (
                f"version {began} of the charter begins this log, and {first.version} is the first that it adopts"
            )
            self._findings.note(
                "entry 1", f"{sentence}: a database from before it was put back, or this is another log"
            )
        with self._findings.at("entry 0"):
            self._check_before(source, chain[: began - 1], chain[began - 1], adopted[-1][1])

    def _check_before(self, source: Source, chain: Sequence[Charter], began: Charter, newest: Charter) -> None:
        before = read_before(self._opened)
        if before is None or before.held.origin != chain[-1].origin:
            raise ProtocolViolation(f"the log before is not the one of version {chain[-1].version} of the charter")
        if before.note:
            check_note(before.note, before.held.origin, chain)
        asked = len(set(before.heard) & set(chain[-1].members))
        if asked < chain[-1].threshold:
            sentence = f"{asked} members were asked how far they had cosigned the log before"
            self._findings.failed("entry 0", f"{sentence}; {chain[-1].threshold} must")
        if before.size > before.held.size:
            lost = f"entries {before.held.size} to {before.size - 1} are lost"
            sentence = (
                f"of the log before, {lost}: members had cosigned {before.size}, the hub holds {before.held.size}"
            )
            self._findings.missing("entry 0", sentence)
        tree = self._tree(source, chain[-1], before)
        if tree is not None and 0 < before.size <= before.held.size and before.witnessed is not None:
            self._check_begins(tree, before.witnessed, "entry 0", "those of its own checkpoint")
        for site in began.members:
            if site in newest.members:
                self._check_member(site, before, tree)

    def _tree(self, source: Source, charter: Charter, before: Before) -> Tree | None:
        """Of the log before, as far as the hub holds it."""
        where, size, found = f"{FOLDER}/{charter.log_began}", before.held.size, Findings()
        if size and not source_of(source, charter.log_began).names("charters"):
            self._findings.missing(where, "the log before is not in the export")
            return None
        tree = Tree() if not size else (read_tree(source_of(source, charter.log_began), size, found) or ([], None))[1]
        for one in found.found:
            self._findings.add(one.severity, f"{where}/{one.where}", one.sentence)
        if tree is not None and tree.root(size) != before.held.root:
            self._findings.failed(where, "these are not the entries of the log before that this log's first commits to")
            return None
        return tree

    def _check_begins(self, tree: Tree, head: Checkpoint, where: str, whose: str) -> None:
        if tree.root(head.size) != head.root:
            sentence = f"the first {head.size} entries of the log before are not {whose}: history was rewritten"
            self._findings.failed(where, sentence)

    def _check_member(self, site: str, before: Before, tree: Tree | None) -> None:
        """What a member says that it had cosigned is not more than the first entry commits to, and not another log."""
        said = [one for one in self._continued.get(site, ()) if one.entry.details["log"] == before.held.origin]
        if not said:
            self._findings.missing("the log before", f"'{site}' has not said yet what it saw of it")
            return
        where, details = f"entry {said[-1].place}", said[-1].entry.details
        with self._findings.at(where):
            head = _head(details["log"], details["size"], details["root"])
            if head.size > before.size:
                sentence = (
                    f"'{site}' had cosigned {head.size} entries of the log before, and this log's first entry commits "
                    f"to {before.size}"
                )
                if site in before.heard:
                    self._findings.failed(where, sentence)
                else:
                    self._findings.note(where, f"{sentence}; it was not asked")
            elif before.witnessed is not None and head.size == before.size and head.root != before.witnessed.root:
                sentence = f"'{site}' had cosigned another log before of {head.size} entries: the hub told two stories"
                self._findings.failed(where, sentence)
            elif tree is not None and 0 < head.size <= before.held.size:
                self._check_begins(tree, head, where, f"those that '{about(site)}' had cosigned")


def check_note(note: bytes, origin: str, chain: Sequence[Charter]) -> None:
    """The key of this log signed it: that of any version under which the log was kept."""
    failure = ProtocolViolation("no key of the log before is known")
    for charter in reversed(chain):
        if charter.origin == origin and charter.log:
            try:
                checkpoints.open_note(note, charter)
            except ProtocolViolation as violation:
                failure = violation
            else:
                return
    raise failure
