"""A charter for people: its text, and what changes against the version before it."""

from collections.abc import Iterator

from msgspec.structs import asdict

from hansa.charter import FIRST, Charter, threshold
from hansa.files import to_toml
from hansa.mail.founding import fingerprint
from hansa.words import words


def text(charter: Charter) -> str:
    """The human-readable twin. Keys stand in it as their fingerprints, which cover every key of a party."""
    plain = {
        "consortium": charter.consortium,
        "version": charter.version,
        "fingerprint": words(charter.digest),
        "follows": "" if charter.previous == FIRST else words(charter.previous),
        "log": charter.origin,
        "signatures_of_the_next": threshold(charter),
        "rules": asdict(charter.rules),
        "hub": {"fingerprint": fingerprint(charter.hub)},
        "member": [
            {"id": member.id, "name": member.name, "fingerprint": fingerprint(member)} for member in charter.members
        ],
    }
    return to_toml(plain)


def changes(charter: Charter, before: Charter) -> list[str]:
    """One line each; everything that differs between the two is in one of them."""
    return [*_parties(charter, before), *_rules(charter, before)]


def _parties(charter: Charter, before: Charter) -> Iterator[str]:
    old, new = ({member.id: member for member in one.members} for one in (before, charter))
    for name in sorted(new.keys() - old.keys()):
        yield f"joins: {name} ({new[name].name}), fingerprint {fingerprint(new[name])}"
    for name in sorted(old.keys() - new.keys()):
        yield f"leaves: {name} ({old[name].name})"
    for name in sorted(new.keys() & old.keys()):
        if new[name] != old[name]:
            yield f"new keys: {name} ({new[name].name}), fingerprint now {fingerprint(new[name])}"
    if charter.hub != before.hub:
        yield f"new keys: the hub, fingerprint now {fingerprint(charter.hub)}"
    if charter.origin != before.origin:
        lost = "what the hub has lost of it stays lost"
        yield f"a new log begins: {charter.origin}; nothing more is written to {before.origin}, and {lost}"


def _rules(charter: Charter, before: Charter) -> Iterator[str]:
    for name, value in asdict(charter.rules).items():
        was = getattr(before.rules, name)
        if value != was:
            yield f"rule {name}: {value}, before {was}"
    if threshold(charter) != threshold(before):
        yield f"the next version will need {threshold(charter)} signatures, before {threshold(before)}"
