"""Which logs and witnesses are believed, and how many of them it takes (c2sp.org/tlog-policy).

    log <vkey>
    witness <name> <vkey>
    group <name> all|any|<k> <name> …
    quorum <name>

Written and read in one form only: these lines in this order, single spaces, no comments, no URLs, and a quorum (`none`
is refused: it would ask nobody). The file names one key a witness. A member with two keys is two witnesses and a group
that asks for `all` of them: so it counts once, and only where every key that the policy names for it has signed.
"""

from collections.abc import Mapping, Sequence, Set

from msgspec import Struct

from hansa.audit.checkpoint import Checkpoint, cosigned, is_log_key, is_witness_key, parse_number, parse_text
from hansa.audit.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, Note, VerifierKey, is_name, parse_vkey, signed_by
from hansa.errors import ProtocolViolation

_NEVER_A_NAME = "none"
_ALGORITHMS = {COSIGNATURE_ED25519: "ed25519", COSIGNATURE_MLDSA44: "ml-dsa-44"}


class Witness(Struct, frozen=True):
    """One key that cosigns, under a name of this policy."""

    name: str
    key: VerifierKey


class Group(Struct, frozen=True):
    """Seen by at least `rule` of its members: "all", "any" or a number."""

    name: str
    rule: str
    members: tuple[str, ...]

    @property
    def least(self) -> int:
        if self.rule == "any":
            return 1
        return len(self.members) if self.rule == "all" else parse_number(self.rule)


class Policy(Struct, frozen=True):
    """Whoever makes one calls `check`, as `for_members` and `parse` do."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __str__(self) -> str:
        """The file."""
        lines = [f"log {log}" for log in self.logs]
        lines += [f"witness {witness.name} {witness.key}" for witness in self.witnesses]
        lines += [" ".join(("group", group.name, group.rule, *group.members)) for group in self.groups]
        return "\n".join([*lines, f"quorum {self.quorum}", ""])


class Seen(Struct, frozen=True):
    """A checkpoint that its log signed, and when each of the policy's witnesses cosigned it, in seconds since 1970."""

    checkpoint: Checkpoint
    times: dict[str, int]


def for_members(log: VerifierKey, members: Mapping[str, Sequence[VerifierKey]], least: int) -> Policy:
    """Cosignatures of `least` members, each with all of its keys: one Ed25519, one ML-DSA-44 or both. Names of members
    are ids of sites, so no name with a slash is one of them."""
    witnesses: list[Witness] = []
    groups: list[Group] = []
    for member, keys in members.items():
        names = [f"{member}/{_ALGORITHMS.get(key.type, '')}" for key in keys]
        witnesses += [Witness(name, key) for name, key in zip(names, keys, strict=True)]
        groups.append(Group(member, "all", tuple(names)))
    rule = "all" if least == len(members) else str(least)
    groups.append(Group("members/quorum", rule, tuple(members)))
    policy = Policy((log,), tuple(witnesses), tuple(groups), "members/quorum")
    try:
        check(policy)
    except ProtocolViolation as violation:
        raise ValueError(f"no policy follows from these members: {violation}") from violation
    return policy


def check(policy: Policy) -> None:
    """ProtocolViolation unless every name and key is there once, and each name before it is used."""
    if not policy.logs or not all(map(is_log_key, policy.logs)):
        raise ProtocolViolation("a policy names logs, each by an Ed25519 key")
    if not all(is_witness_key(witness.key) for witness in policy.witnesses):
        raise ProtocolViolation("a witness in a policy has a key that cosigns nothing")
    keys = [*policy.logs, *(witness.key for witness in policy.witnesses)]
    if len({key.public for key in keys}) != len(keys):
        raise ProtocolViolation("a policy names one key twice")
    defined: set[str] = set()
    grouped: set[str] = set()
    for witness in policy.witnesses:
        _define(witness.name, defined)
    for group in policy.groups:
        members = set(group.members)
        if len(members) != len(group.members) or not members <= defined or members & grouped:
            raise ProtocolViolation(f"group '{group.name}' names what is not defined before it, or in a group already")
        if not 1 <= group.least <= len(members):
            raise ProtocolViolation(f"group '{group.name}' asks for none of its members, or for more than it has")
        grouped |= members
        _define(group.name, defined)
    if policy.quorum not in defined:
        raise ProtocolViolation("the quorum of a policy is not one of its witnesses or groups")


def _define(name: str, defined: set[str]) -> None:
    if name in defined or name == _NEVER_A_NAME or not is_name(name):
        raise ProtocolViolation("a policy defines a name twice, or one that is none")
    defined.add(name)


def parse(data: bytes) -> Policy:
    """The policy in a file that `str` of a Policy could have written; else ProtocolViolation."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolViolation("a policy is not UTF-8") from error
    logs: list[VerifierKey] = []
    witnesses: list[Witness] = []
    groups: list[Group] = []
    quorum = ""
    for line in text.split("\n"):
        match line.split(" "):
            case ["log", vkey]:
                logs.append(parse_vkey(vkey))
            case ["witness", name, vkey]:
                witnesses.append(Witness(name, parse_vkey(vkey)))
            case ["group", name, rule, *members]:
                groups.append(Group(name, rule, tuple(members)))
            case ["quorum", name]:
                quorum = name
    policy = Policy(tuple(logs), tuple(witnesses), tuple(groups), quorum)
    if str(policy) != text:
        raise ProtocolViolation("a policy is not written as we write it")
    check(policy)
    return policy


def reaches(policy: Policy, names: Set[str]) -> bool:
    """Whether these witnesses are enough."""
    seen = set(names)
    for group in policy.groups:
        if len(seen & set(group.members)) >= group.least:
            seen.add(group.name)
    return policy.quorum in seen


def seen(policy: Policy, note: Note) -> Seen:
    """What the log of a note signed, and who of the witnesses cosigned it, enough of them or not.

    ProtocolViolation where none of the policy's logs signed it, or any known signature fails.
    """
    checkpoint = parse_text(note.text)
    signed_by(note, [log for log in policy.logs if log.name == checkpoint.origin])
    return Seen(checkpoint, cosigned(note, {witness.name: (witness.key,) for witness in policy.witnesses}))


def satisfied(policy: Policy, note: Note) -> bool:
    """Whether the witnesses that cosigned are enough; ProtocolViolation as from `seen`."""
    return reaches(policy, seen(policy, note).times.keys())


def accepted(policy: Policy, note: Note) -> Seen:
    """The checkpoint in a note that satisfies the policy; else ProtocolViolation."""
    found = seen(policy, note)
    if not reaches(policy, found.times.keys()):
        raise ProtocolViolation("too few witnesses cosigned a checkpoint")
    return found
