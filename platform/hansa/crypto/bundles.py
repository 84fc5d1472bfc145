"""All the keys of one party, from one string of seeds. Each is for one thing:

    signing     Ed25519                letters, and what a protocol signs
    sealing     ML-KEM-768 and X25519  what only this party opens
    consent     Ed25519                a member's word: proposals, consents, its entries in the log, charters
    lasting     ML-DSA-65              charters, a second time
    witness     Ed25519 and ML-DSA-44  cosignatures under the hub's checkpoints
    log         Ed25519                the hub's checkpoints

Members of a consortium that was founded with Hansa 0.1 hold the first two only, and sign their consents with the first.
"""

from cryptography.hazmat.primitives.asymmetric import mldsa

from hansa.crypto.keys import HYBRID_SEED_BYTES, SEED_BYTES, HybridKey, LastingKey, SigningKey

FIRST_BYTES = SEED_BYTES + HYBRID_SEED_BYTES
MEMBER_BYTES = FIRST_BYTES + 4 * SEED_BYTES
HUB_BYTES = FIRST_BYTES + SEED_BYTES


class Keys:
    """What every party holds."""

    def __init__(self, seeds: bytes) -> None:
        self.signing = SigningKey(seeds[:SEED_BYTES])
        self.sealing = HybridKey(seeds[SEED_BYTES:FIRST_BYTES])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


class MemberKeys(Keys):
    """`lasting` is None, and `witness` empty, for a member that was founded with Hansa 0.1."""

    def __init__(self, seeds: bytes) -> None:
        if len(seeds) not in (FIRST_BYTES, MEMBER_BYTES):
            raise ValueError("a member's keys are made from 128 or 256 bytes")
        super().__init__(seeds)
        self.consent = self.signing
        self.lasting: LastingKey | None = None
        self.witness: tuple[bytes, ...] = ()
        if len(seeds) == MEMBER_BYTES:
            rest = [seeds[at : at + SEED_BYTES] for at in range(FIRST_BYTES, MEMBER_BYTES, SEED_BYTES)]
            self.consent, self.lasting, self.witness = SigningKey(rest[0]), LastingKey(rest[1]), (rest[2], rest[3])


class HubKeys(Keys):
    """`log` is the seed of the key that signs checkpoints; empty for a hub that was founded with Hansa 0.1."""

    def __init__(self, seeds: bytes) -> None:
        if len(seeds) not in (FIRST_BYTES, HUB_BYTES):
            raise ValueError("a hub's keys are made from 128 or 160 bytes")
        super().__init__(seeds)
        self.consent, self.log = self.signing, seeds[FIRST_BYTES:]


def witness_publics(seeds: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """Of a witness: its Ed25519 key, and its ML-DSA-44 key."""
    ed25519, lattice = seeds
    return SigningKey(ed25519).public, mldsa.MLDSA44PrivateKey.from_seed_bytes(lattice).public_key().public_bytes_raw()


def log_public(seed: bytes) -> bytes:
    return SigningKey(seed).public
