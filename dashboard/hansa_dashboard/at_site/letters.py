"""What each letter that leaves a site means, in words: for who reads what left, and wonders whether it may."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Meaning(NamedTuple):
    name: str
    says: str


_UNKNOWN = Meaning("a letter of another version", "This version of the console can't say what stands in it.")
_MEANINGS: Final[Mapping[tuple[str, str], Meaning]] = {
    ("hello", ""): Meaning(
        "hello",
        "This site is up: its version, and its tables by their schemas: columns, types, categories. No rows.",
    ),
    ("plan-signed", ""): Meaning("signed proposal", "This member puts its name to a question of its own people."),
    ("consent", ""): Meaning("consent", "This member's signature under a question: it takes part."),
    ("refusal", ""): Meaning("refusal", "A no, with its reason in one sentence, which the other members read."),
    ("waits", ""): Meaning("waits", "A person decides here, and until when. Not who."),
    ("entries", ""): Meaning(
        "log entries",
        "What this site did: acts, digests and times. Reasons and notes of people go along for the hub to keep; the "
        "log itself shows a commitment to them only.",
    ),
    ("budgets", ""): Meaning("budgets", "How much of each table's privacy budget is spent, set aside and left."),
    ("reply", "offer"): Meaning("keys for the job", "Public keys drawn for this job alone. Nothing of the rows."),
    ("reply", "reveal"): Meaning("lot", "A random number that helps to draw who keeps shares. Nothing of the rows."),
    ("reply", "encapsulated"): Meaning(
        "secrets for other sites", "Each is locked for the site that it is for; the hub passes them on unread."
    ),
    ("reply", "ready"): Meaning("ready", "The keys are agreed. Nothing of the rows."),
    ("reply", "contributed"): Meaning(
        "masked contribution",
        "This site's numbers for one total, under masks: they look random to whoever lacks the other sites' masks, and "
        "cancel in the total over all of them. With it go shares of the masks, each locked for the site that keeps it.",
    ),
    ("reply", "locked"): Meaning("lock", "A signature under the list of who is in the total."),
    ("reply", "shares"): Meaning(
        "shares of masks",
        "What opens the masks of the total, and of sites that dropped out: never both sorts of one site, so no site's "
        "numbers can be opened alone.",
    ),
    ("reply", "agreed"): Meaning(
        "agreement to a release", "This member's signature under an answer with its rows in it."
    ),
    ("chunk", ""): Meaning(
        "piece of a masked contribution",
        "The numbers of a contribution that is too large for a letter, under the same masks, and locked on the way.",
    ),
    ("ack", ""): Meaning("receipt", "A letter has come."),
    ("acks", ""): Meaning("receipts", "Which letters have come."),
    ("cosigned", ""): Meaning(
        "cosignature", "This site's signature under a checkpoint of the log, or why it gives none. Nothing of the rows."
    ),
    ("wanted", ""): Meaning("wanted", "Which pieces of a total this site still lacks."),
    ("here", ""): Meaning("here", "Where pieces of a contribution lie, and the key that unlocks them for the hub."),
}


def meaning(kind: str, holds: str) -> Meaning:
    return _MEANINGS.get((kind, holds), _UNKNOWN)


def title(kind: str, holds: str) -> str:
    found = meaning(kind, holds)
    return found.name if found is not _UNKNOWN else f"{kind} {holds}".strip()
