"""What protects, what does not, and how times and tables are written: the words that the documents share.

True to `SECURITY.md` and to protection 'masked'. A promise that is not kept there must not stand here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from hansa.verify.charters import Charter

MEASURES: tuple[str, ...] = (
    "Rows stay at the member that holds them. What leaves it is a vector of totals, masked so that only the sum over "
    "all surviving members can be opened (secure sum, double masking, Shamir shares).",
    "Every letter is sealed to its receiver (X25519 and ML-KEM-768, AES-256-GCM) and signed by its sender (Ed25519); "
    "brokers between machines are reached by TLS 1.3 with certificates of both ends.",
    "No job runs without the signed consent of each member that takes part, over the exact plan.",
    "A total is opened only over a set of survivors that the members signed, and never below the floors.",
    "Every act is an entry of an append-only log, signed by who did it; members cosign its heads, so a rewritten or "
    "forked history is found offline.",
    "Totals and answers can be recomputed from evidence without trusting the hub.",
    "The log holds commitments, not content: plans, reasons and notes can be erased; people stand under pseudonyms.",
)

RISKS: tuple[str, ...] = (
    "A secure sum is not anonymity. Without noise, small counts are left out of the answer, and not of the totals that "
    "the hub and the members see; a count or a total over few people says much about each of them.",
    "Questions that differ in little may be asked one after the other, and their answers subtracted.",
    "When a member leaves between two steps of a job, whoever sees all totals can estimate that member's part of the "
    "earlier ones (its counts and sums, not its rows).",
    "More members than the rules tolerate, colluding with the hub, can open what the others contributed.",
    "A member may lie about its own rows; its signature pins what it said, and nothing shows that it is true.",
    "The hub learns each total, schemas, plans, and who asked what and when; it can end a job, or never answer.",
)


def tolerated(charter: Charter, sites: int) -> int:
    """How many of `sites` may collude with the hub and learn nothing more than the total."""
    corrupt = charter.rules.corrupt
    return (sites - 1) // 3 if corrupt < 0 else min(corrupt, sites - 1)


def time(milliseconds: int) -> str:
    """ISO 8601, in UTC; empty for what did not happen, or for no time of this calendar."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else ""
    except (ValueError, OverflowError, OSError):
        return ""


def plain(text: str) -> str:
    """What somebody typed, as it may stand in a line or a cell of Markdown."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in shown)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return [*lines, *(f"| {' | '.join(plain(cell) or '–' for cell in row)} |" for row in rows), ""]


def bullets(items: Sequence[str]) -> list[str]:
    return [*(f"* {item}" for item in items), ""]
