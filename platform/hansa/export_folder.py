"""An export as a folder on this machine, for whoever holds it to itself. Nothing in it is believed."""

from pathlib import Path
from typing import TYPE_CHECKING

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused

if TYPE_CHECKING:
    from hansa.verify.jobs import Recomputed
    from hansa.verify.tiles import Source

MOST_BYTES = 2**26  # of one file; a bundle of 256 entries has 16 MiB at most


def source_of(export: Path) -> "Source":
    from hansa.verify.tiles import Source

    if not export.is_dir():
        raise Refused(f"there is no folder {export}: an export is a folder, as `hansa audit export` writes it")

    def names(folder: str) -> list[str]:
        where = export / folder
        return sorted(one.name for one in where.iterdir() if one.is_file()) if where.is_dir() else []

    return Source(lambda path: read_file(export / path), names)


def read_file(path: Path) -> bytes | None:
    """None where there is none."""
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_BYTES:
        raise ProtocolViolation(f"{path.name} is larger than {MOST_BYTES // 2**20} MiB")
    return path.read_bytes()


def replay_of(export: Path, run: str) -> "Recomputed":
    """The job's evidence, replayed; ProtocolViolation for whatever does not hold in it."""
    from hansa import charter as charters
    from hansa import replay as replays
    from hansa.crypto.keys import digest
    from hansa.evidence_file import EvidenceFile
    from hansa.protocols.survivors import Receipt, headers_digest
    from hansa.verify.jobs import Recomputed

    try:
        file = EvidenceFile(export / "evidence" / run)
        kept = replays.read(file.evidence())
        charter = charters.load(kept.charter)
        replayed = replays.replay(kept, charter, file.chunk)
    except (Refused, NotEnoughSites) as error:
        raise ProtocolViolation(str(error)) from error
    if replayed.plan.run != run:
        raise ProtocolViolation("the evidence is of another job than its name says")
    totals = []
    for step in kept.sums:
        headers, chunks = step.contributions.headers, step.opening.chunks
        survivors = tuple(header.site for header in headers)
        sid = headers[0].sid  # `replay` held each to its sum
        locked = Receipt(sid, survivors, headers_digest(headers), {}, chunks).locked()
        totals.append((survivors, digest("sum/total", *chunks).hex(), locked.hex()))
    plan = replayed.plan.digest.hex()
    return Recomputed(charter.digest.hex(), plan, tuple(totals), kept.answer_digest.hex())


def beside(export: Path, run: str, version: int, recomputed: bool) -> dict[str, bytes]:
    """What an export holds of a job, up to this version of the charter. The answer is taken from its evidence, where
    that was replayed."""
    from hansa import replay as replays
    from hansa.evidence_file import EvidenceFile

    found: dict[str, bytes] = {}
    if recomputed:
        found["evidence"] = (export / "evidence" / run).read_bytes()
        found["answer.json"] = replays.read(EvidenceFile(export / "evidence" / run).evidence()).answer
    for name in ("checkpoint", "policy", *(f"charters/{number}" for number in range(1, version + 1))):
        content = read_file(export / name)
        if content is not None:
            found[name] = content
    return found
