"""Who signs and who cosigns a consortium's log, as its charter says it."""

from collections.abc import Sequence

from hansa.audit.checkpoint import Ed25519Cosigner, MLDSA44Cosigner
from hansa.audit.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Signer, VerifierKey
from hansa.audit.policy import Policy, for_members
from hansa.charter import Charter, Member
from hansa.crypto.bundles import HubKeys, MemberKeys


def log_key(charter: Charter) -> VerifierKey:
    """The hub's, for checkpoints; its name is the log's origin."""
    return VerifierKey(charter.origin, ED25519, charter.hub.log)


def log_signer(charter: Charter, keys: HubKeys) -> Signer:
    return Signer(charter.origin, keys.log)


def witness_name(charter: Charter, site: str) -> str:
    return f"{charter.origin}/{site}"


def witness_keys(charter: Charter, member: Member) -> tuple[VerifierKey, VerifierKey]:
    """A member that cosigns does it with both."""
    name = witness_name(charter, member.id)
    return (
        VerifierKey(name, COSIGNATURE_ED25519, member.witness),
        VerifierKey(name, COSIGNATURE_MLDSA44, member.witness_lattice),
    )


def cosigners(charter: Charter, site: str, keys: MemberKeys) -> Sequence[Ed25519Cosigner | MLDSA44Cosigner]:
    name, (ed25519, lattice) = witness_name(charter, site), keys.witness
    return Ed25519Cosigner(name, ed25519), MLDSA44Cosigner(name, lattice)


def policy(charter: Charter) -> Policy:
    """What a receipt or an export is held to: the log's key, and a quorum of the members."""
    members = {member.id: witness_keys(charter, member) for member in charter.members}
    return for_members(log_key(charter), members, charter.quorum)
