"""A secret stretched into a stream of bytes, and that stream added to a vector as a mask.

The stream of (secret, info) is cut into chunks of 2^20 elements, 8 MiB. Chunk `k` is the AES-256-CTR
keystream (NIST SP 800-38A, section 6.5) from counter block zero under HKDF-SHA256(secret, info ‖ u64be(k))
(RFC 5869, no salt). A vector takes it as little-endian 64-bit integers. It is the PRG of Bonawitz et al.
(CCS 2017), section 3.

Whoever calls owns the separation: `info` starts with a label of its own for each use and names role, sum,
sender and receiver. The same (secret, info) twice is the same mask twice, and the difference of two vectors
is then in clear.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Ring = npt.NDArray[np.uint64]

CHUNK_ELEMENTS: Final = 1 << 20
KEY_BYTES: Final = 32

ELEMENT_BYTES: Final = 8
CHUNK_BYTES: Final = CHUNK_ELEMENTS * ELEMENT_BYTES
BLOCK_ELEMENTS: Final = 1 << 15  # 256 KiB: keystream and vector both stay in a core's second-level cache
ZEROS: Final = bytes(BLOCK_ELEMENTS * ELEMENT_BYTES)


def add_mask(vector: Ring, key: bytes, *, subtract: bool) -> None:
    """Adds the keystream of `key` to `vector` (one dimension, any length) in place, mod 2^64.

    `key` is 32 bytes and serves once: the counter starts at zero every time. Extra memory is one block of
    256 KiB.
    """
    if vector.ndim != 1 or vector.dtype != np.uint64:
        raise ValueError("a mask is added to a vector of uint64 with one dimension")
    combine = np.subtract if subtract else np.add
    keystream = _keystream(key)
    buffer = bytearray(min(BLOCK_ELEMENTS, vector.size) * ELEMENT_BYTES)
    mask = np.frombuffer(buffer, dtype="<u8")
    for start in range(0, vector.size, BLOCK_ELEMENTS):
        block = vector[start : start + BLOCK_ELEMENTS]
        size = block.size * ELEMENT_BYTES
        keystream.update_into(memoryview(ZEROS)[:size], memoryview(buffer)[:size])
        combine(block, mask[: block.size], out=block)


def add_stream(vector: Ring, secret: bytes, info: bytes, *, subtract: bool) -> None:
    """Adds the stream of (`secret`, `info`) to `vector` in place, mod 2^64; `subtract` undoes it."""
    for chunk in range(-(-vector.size // CHUNK_ELEMENTS)):
        part = vector[chunk * CHUNK_ELEMENTS : (chunk + 1) * CHUNK_ELEMENTS]
        add_mask(part, chunk_key(secret, info, chunk), subtract=subtract)


def stream(secret: bytes, info: bytes, size: int) -> bytes:
    """The first `size` bytes of the stream of (`secret`, `info`), for chance that is not a mask."""
    chunks = range(-(-size // CHUNK_BYTES))
    sizes = (min(CHUNK_BYTES, size - chunk * CHUNK_BYTES) for chunk in chunks)
    keystreams = (_keystream(chunk_key(secret, info, chunk)) for chunk in chunks)
    return b"".join(keystream.update(bytes(part)) for keystream, part in zip(keystreams, sizes, strict=True))


def chunk_key(secret: bytes, info: bytes, chunk: int) -> bytes:
    """The key of chunk `chunk`: whoever replays evidence makes the mask of one chunk with it and `add_mask`.

    The chunk number ends `info`, so two infos meet in one key only if one is the other with eight bytes more;
    labelled infos of one shape never are.
    """
    if len(secret) < KEY_BYTES:
        raise ValueError("a secret to stretch has at least 32 bytes")
    expansion = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info + chunk.to_bytes(8, "big"))
    return expansion.derive(secret)


def _keystream(key: bytes) -> CipherContext:
    if len(key) != KEY_BYTES:
        raise ValueError("the key of a mask has 32 bytes")
    # Counter zero is safe because a key serves one keystream only: it is derived for that and never reused.
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
