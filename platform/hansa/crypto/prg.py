"""A secret stretched into a stream of bytes, and that stream added to a vector as a mask.

The stream of (secret, info) is cut into chunks of 4 MiB: 2^19 elements of Z_2^64, 2^20 of Z_2^32. Chunk `k` is
the AES-256-CTR keystream (NIST SP 800-38A, section 6.5) from counter block zero under
HKDF-SHA256(secret, info ‖ u64be(k)) (RFC 5869, no salt). A vector takes it as little-endian integers of its own
width. It is the PRG of Bonawitz et al. (CCS 2017), section 3.

Whoever calls owns the separation: `info` starts with a label of its own for each use and names role, sum,
sender and receiver. The same (secret, info) twice is the same mask twice, and the difference of two vectors
is then in clear.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Ring = npt.NDArray[np.uint64 | np.uint32]

CHUNK_BYTES: Final = 1 << 22
KEY_BYTES: Final = 32

BLOCK_BYTES: Final = 1 << 18  # keystream and vector both stay in a core's second-level cache
ZEROS: Final = memoryview(bytes(BLOCK_BYTES))

WIDTHS: Final = (np.dtype(np.uint64), np.dtype(np.uint32))

# Counter zero is safe because a key serves one keystream only: it is derived for that and never reused.
COUNTER_ZERO: Final = modes.CTR(bytes(16))


def add_masks(part: Ring, masks: Sequence[tuple[bytes, bool]]) -> None:
    """Adds the keystream of each (key, subtract) to `part`, one chunk or less, in place, mod 2^64 or 2^32.

    `part` is one-dimensional, uint64 or uint32; a key is 32 bytes and serves once, since its counter starts at
    zero every time. All masks are added to a block of 256 KiB before the next block, so memory is passed over
    once and extra memory is one block and a cipher's state a mask. Cipher and addition release the GIL: whoever
    has several chunks takes a thread a chunk.
    """
    if part.nbytes > CHUNK_BYTES:
        raise ValueError("masks are added to one chunk at a time")
    _add(part, masks)


def add_mask(vector: Ring, key: bytes, *, subtract: bool) -> None:
    """As `add_masks`, for one key and a vector of any length."""
    _add(vector, [(key, subtract)])


def add_stream(vector: Ring, secret: bytes, info: bytes, *, subtract: bool) -> None:
    """Adds the stream of (`secret`, `info`) to `vector` in place; `subtract` undoes it."""
    elements = CHUNK_BYTES // vector.itemsize
    for chunk in range(-(-vector.size // elements)):
        part = vector[chunk * elements : (chunk + 1) * elements]
        add_mask(part, chunk_key(secret, info, chunk), subtract=subtract)


def stream(secret: bytes, info: bytes, size: int) -> bytes:
    """The first `size` bytes of the stream of (`secret`, `info`), for chance that is not a mask."""
    chunks = range(-(-size // CHUNK_BYTES))
    sizes = (min(CHUNK_BYTES, size - chunk * CHUNK_BYTES) for chunk in chunks)
    keystreams = (_keystream(chunk_key(secret, info, chunk)) for chunk in chunks)
    return b"".join(keystream.update(bytes(part)) for keystream, part in zip(keystreams, sizes, strict=True))


def chunk_key(secret: bytes, info: bytes, chunk: int) -> bytes:
    """The key of chunk `chunk`: whoever replays evidence makes the mask of one chunk with it and `add_masks`.

    The chunk number ends `info`, so two infos meet in one key only if one is the other with eight bytes more;
    labelled infos of one shape never are.
    """
    if len(secret) < KEY_BYTES:
        raise ValueError("a secret to stretch has at least 32 bytes")
    expansion = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info + chunk.to_bytes(8, "big"))
    return expansion.derive(secret)


def _add(vector: Ring, masks: Sequence[tuple[bytes, bool]]) -> None:
    if vector.ndim != 1 or vector.dtype not in WIDTHS:
        raise ValueError("a mask is added to a vector of uint64 or uint32 with one dimension")
    keystreams = [(_keystream(key), np.subtract if subtract else np.add) for key, subtract in masks]
    buffer = memoryview(bytearray(min(BLOCK_BYTES, vector.nbytes)))
    keystream_block = np.frombuffer(buffer, dtype=vector.dtype.newbyteorder("<"))
    elements = BLOCK_BYTES // vector.itemsize
    for start in range(0, vector.size, elements):
        block = vector[start : start + elements]
        zeros, taken, mask = ZEROS[: block.nbytes], buffer[: block.nbytes], keystream_block[: block.size]
        for keystream, combine in keystreams:
            keystream.update_into(zeros, taken)
            combine(block, mask, out=block)


def _keystream(key: bytes) -> CipherContext:
    if len(key) != KEY_BYTES:
        raise ValueError("the key of a mask has 32 bytes")
    return Cipher(algorithms.AES256(key), COUNTER_ZERO).encryptor()
