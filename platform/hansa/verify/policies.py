"""The witness policy of an export (C2SP tlog-policy): it must ask for what the charter asks for.

log <vkey>                        the log's key
witness <name> <vkey>             one key of a witness
group <name> all|any|<k> <names>  witnesses or groups
quorum <name>|none
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.charters import Charter

MOST_BYTES = 2**22
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


class Policy(Struct):
    logs: list[str]
    witnesses: dict[str, str]
    groups: dict[str, tuple[str, tuple[str, ...]]]
    quorum: str


def check(data: bytes, charter: Charter) -> None:
    """ProtocolViolation unless the policy is final exactly when `charter.quorum` members cosigned."""
    policy = _read(data)
    if [line.split(" ")[0] for line in policy.logs] != [charter.log_key.verifier]:
        raise ProtocolViolation("the policy names another log key than the charter")
    owners = {key.verifier: site for site in charter.members for key in charter.witnesses(site)}
    stray = sorted(set(policy.witnesses.values()) - set(owners))
    if stray:
        raise ProtocolViolation(f"the policy trusts a witness that is not on the charter: {stray[0].split('+')[0]}")
    threshold, names = policy.groups.get(policy.quorum, ("", ()))
    asked = [_owner(name, policy, owners) for name in names]
    if sorted(asked) != sorted(charter.members):
        raise ProtocolViolation("the policy's quorum is not of each member of the charter, once")
    number = int(threshold) if _NUMBER.fullmatch(threshold) else 0
    due = {"all": len(asked), "any": 1}.get(threshold, number)
    if due != charter.quorum:
        raise ProtocolViolation(
            f"the policy's quorum is {threshold} of {len(asked)}; the charter's is {charter.quorum}"
        )


def _owner(name: str, policy: Policy, owners: Mapping[str, str]) -> str:
    """The member whose keys stand behind `name`: one of them, or a group of all."""
    if name in policy.witnesses:
        return owners[policy.witnesses[name]]
    threshold, names = policy.groups.get(name, ("", ()))
    found = {owners[policy.witnesses[one]] for one in names if one in policy.witnesses}
    if len(found) != 1 or any(one not in policy.witnesses for one in names):
        raise ProtocolViolation(f"the policy's '{name}' is not one member's keys")
    if threshold not in ("all", str(len(names))):
        raise ProtocolViolation(f"the policy's '{name}' is content with some of a member's keys")
    return found.pop()


def _read(data: bytes) -> Policy:
    policy = Policy([], {}, {}, "")
    try:
        text = data[: MOST_BYTES + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolViolation("the policy is not UTF-8") from error
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the policy is larger than 4 MiB")
    for line in text.split("\n"):
        words = line.split()
        if words and not words[0].startswith("#"):
            _take(policy, words)
    return policy


def _take(policy: Policy, words: Sequence[str]) -> None:
    if words[0] == "log" and len(words) >= 2:
        policy.logs.append(words[1])
    elif words[0] == "witness" and len(words) >= 3 and words[1] not in policy.witnesses | policy.groups:
        policy.witnesses[words[1]] = words[2]
    elif words[0] == "group" and len(words) >= 4 and words[1] not in policy.witnesses | policy.groups:
        policy.groups[words[1]] = words[2], tuple(words[3:])
    elif words[0] == "quorum" and len(words) == 2 and not policy.quorum:
        policy.quorum = words[1]
    else:
        raise ProtocolViolation(f"the policy has a line that is none: '{words[0][:40]}'")
