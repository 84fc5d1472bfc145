"""A secret in shares of which any `threshold` give it back and fewer say nothing (Shamir, CACM 22(11), 1979).

The field is the integers mod 2^255 − 19. Share `i` is the polynomial at x = i, for i from 1; the secret is
its value at 0. Chance is an argument: the caller draws each coefficient uniformly, zero included. A
polynomial whose top coefficient "may not be zero" would tell a little about the secret.

Python's integers are not constant-time, and this module does not try to be. Accepted because a secret here is
drawn for one sum, is split once and combined once, by a program whose peers are elsewhere and see only when
a letter leaves, after the disk and the broker. A neighbour on the same machine is outside the threat model.

`split_many` and `open_many` do the same for the bytes of many secrets at once, with arrays in place of Python's
integers. An element is 15 limbs of 17 bits: 15 · 17 = 255, so what leaves the top limb returns to the lowest
times 19. `_carry` brings limbs from below 2^56 to below 2^17 + 2^10, and everything stays below 2^56:

* Shares come from Horner's rule in int64. Indices have few bits, so limbs are carried only after each run of
  multiplications with x^run < 2^36: a limb is then below 2^18 · (1 + x + … + x^run) < 2^55.
* A secret is Σ weight · share as one matrix product of float64, 15 · members on the inside: a weight is the 15 by
  15 matrix of "times this element", its entries below 19 · 2^17. It is exact in whatever order BLAS adds, since
  every partial sum is an integer below 1024 members · 15 · 19 · 2^17 · 2^17 < 2^53; more members are more products.

`combine` and `open_many` can't tell a false share from a true one: whoever combines checks the outcome against
what the secret was bound to (a tag, a commitment, a public key).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from hansa.errors import ProtocolViolation

PRIME: Final = 2**255 - 19
ELEMENT_BYTES: Final = 32
UNIFORM_BYTES: Final = 48
INDEX_LIMIT: Final = 1 << 16

LIMB_BITS: Final = 17
LIMBS: Final = 15
UNIFORM_LIMBS: Final = 23  # of 384 bits: the eight above 255 bits are folded
MEMBERS: Final = 1024
SLICE_BYTES: Final = 1 << 22  # of limbs at a time; the temporaries are a few times that

Bytes = npt.NDArray[np.uint8]
Limbs = npt.NDArray[np.int64]  # (rows, limbs, secrets): element [r, :, s] is Σ limb k · 2^(17 k)


def split(secret: int, threshold: int, count: int, coefficients: Sequence[int]) -> list[int]:
    """`count` shares of `secret`, the one of index i at position i − 1.

    `coefficients` are `threshold − 1` uniform field elements, fresh for this secret. Anything else is our own
    mistake: ValueError.
    """
    if not 1 <= threshold <= count < INDEX_LIMIT:
        raise ValueError("a threshold lies between 1 and the number of shares, which is below 2^16")
    if len(coefficients) != threshold - 1:
        raise ValueError("a polynomial has one coefficient fewer than the threshold besides the secret")
    if not all(0 <= element < PRIME for element in (secret, *coefficients)):
        raise ValueError("the secret and the coefficients are field elements")
    polynomial = (secret, *coefficients)
    return [_evaluate(polynomial, x, PRIME) for x in range(1, count + 1)]


def combine(shares: Mapping[int, int]) -> int:
    """The secret from at least `threshold` shares by index; fewer give a number that means nothing.

    Raises ProtocolViolation for an index outside 1 … 2^16 − 1 and for what is not a field element.
    """
    return combine_many(tuple(shares), [tuple(shares.values())])[0]


def combine_many(indices: Sequence[int], rows: Sequence[Sequence[int]]) -> list[int]:
    """One secret a row; a row holds its shares in the order of `indices`. Errors as `combine`.

    The Lagrange weights depend on the indices only, so whoever opens thousands of secrets pays for them once
    and for `len(indices)` multiplications a secret.
    """
    factors = weights(tuple(indices))
    if any(len(row) != len(factors) for row in rows):
        raise ValueError("a row has as many shares as there are indices")
    if not all(0 <= share < PRIME for row in rows for share in row):
        raise ProtocolViolation("a share is not a canonical field element")
    return [_weighted(factors, row, PRIME) for row in rows]


def split_many(secrets: bytes, threshold: int, count: int, chance: bytes) -> list[bytes]:
    """The shares of s secrets for each index 1 … `count`: s encoded elements one after another a member.

    `secrets` are s encoded elements; `chance` is 48 · (threshold − 1) · s uniform bytes, fresh for these secrets:
    first the coefficients of degree 1 … threshold − 1 of secret 0, then those of secret 1, each reduced as
    `from_uniform` does. The same shares as `split` makes. What does not fit is our own mistake: ValueError.
    """
    if not 1 <= threshold <= count < INDEX_LIMIT:
        raise ValueError("a threshold lies between 1 and the number of shares, which is below 2^16")
    if len(secrets) % ELEMENT_BYTES:
        raise ValueError("secrets are encoded in 32 bytes each")
    constants = np.frombuffer(secrets, np.uint8).reshape(1, -1, ELEMENT_BYTES)
    size = constants.shape[1]
    if len(chance) != UNIFORM_BYTES * (threshold - 1) * size:
        raise ValueError("a secret takes 48 bytes of chance for each coefficient")
    if not _all_canonical(constants):
        raise ValueError("the secret and the coefficients are field elements")
    uniform = np.frombuffer(chance, np.uint8).reshape(size, threshold - 1, UNIFORM_BYTES).transpose(1, 0, 2)
    shares = np.empty((count, size, ELEMENT_BYTES), np.uint8)
    for part in _slices(size, count + threshold):
        polynomials = np.concatenate([_limbs(constants[:, part], LIMBS), _reduced(uniform[:, part])])
        shares[:, part] = _packed(_evaluate_many(polynomials, count))
    return [column.tobytes() for column in shares]


def open_many(indices: Sequence[int], columns: Sequence[bytes], threshold: int) -> bytes:
    """The secrets behind `columns`, encoded one after another, from the first `threshold` members.

    Column m is the shares of the member with index `indices[m]`, encoded one after another in one order for all.
    Every column is checked, also those that are not needed: ProtocolViolation for an index as in `weights`, for
    columns that differ in length or are no multiple of 32 bytes, and for a share that is not canonical.
    ValueError for fewer members than the threshold.
    """
    if len(indices) != len(columns) or not 1 <= threshold <= len(columns):
        raise ValueError("there is a column of shares for each index, and at least the threshold of them")
    check_indices(indices)
    length = len(columns[0])
    if length % ELEMENT_BYTES or any(len(column) != length for column in columns):
        raise ProtocolViolation("members sent shares of different numbers of secrets, or a part of one")
    size = length // ELEMENT_BYTES
    operator = _times(weights(tuple(indices[:threshold])))
    secrets = np.empty((1, size, ELEMENT_BYTES), np.uint8)
    for part in _slices(size, len(columns)):
        taken = slice(part.start * ELEMENT_BYTES, part.stop * ELEMENT_BYTES)
        joined = b"".join(memoryview(column)[taken] for column in columns)
        shares = np.frombuffer(joined, np.uint8).reshape(len(columns), -1, ELEMENT_BYTES)
        if not _all_canonical(shares):
            raise ProtocolViolation("a share is not a canonical field element")
        secrets[:, part] = _packed(_weighted_many(operator, _limbs(shares[:threshold], LIMBS)))
    return secrets.tobytes()


@lru_cache(maxsize=64)
def weights(indices: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at zero for distinct `indices`, which are public: a secret is Σ weight · share.

    Errors as `check_indices`.
    """
    check_indices(indices)
    return _weights(indices, PRIME)


def check_indices(indices: Sequence[int]) -> None:
    """Raises ProtocolViolation for no index, an index twice and one outside 1 … 2^16 − 1.

    Index 0 is the secret itself: a "share" there would let its sender choose the outcome.
    """
    if not indices or not all(0 < index < INDEX_LIMIT for index in indices):
        raise ProtocolViolation("the index of a share is not between 1 and 65535")
    if len(set(indices)) != len(indices):
        raise ProtocolViolation("the index of a share appears twice")


def encode(element: int) -> bytes:
    """32 bytes, little-endian, as RFC 7748 writes elements of this field."""
    if not 0 <= element < PRIME:
        raise ValueError("what is encoded is a field element")
    return element.to_bytes(ELEMENT_BYTES, "little")


def decode(encoded: bytes) -> int:
    """The element that a peer encoded; ProtocolViolation for another size and for 2^255 − 19 or above."""
    if len(encoded) != ELEMENT_BYTES:
        raise ProtocolViolation("an encoded field element does not have 32 bytes")
    element = int.from_bytes(encoded, "little")
    if element >= PRIME:
        raise ProtocolViolation("an encoded field element is not canonical")
    return element


def from_uniform(chance: bytes) -> int:
    """A field element from 48 uniform bytes, little-endian, reduced: less than 2^-128 away from uniform."""
    if len(chance) != UNIFORM_BYTES:
        raise ValueError("a field element is drawn from 48 bytes")
    return int.from_bytes(chance, "little") % PRIME


def _evaluate(coefficients: Sequence[int], x: int, p: int) -> int:
    """The polynomial at `x` by Horner's rule; the constant term comes first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % p
    return value


def _interpolate(points: Mapping[int, int], p: int) -> int:
    """The value at zero of the polynomial through `points`, x to y."""
    return _weighted(_weights(tuple(points), p), tuple(points.values()), p)


def _weighted(factors: Sequence[int], values: Sequence[int], p: int) -> int:
    return sum(factor * value for factor, value in zip(factors, values, strict=True)) % p


def _weights(indices: Sequence[int], p: int) -> tuple[int, ...]:
    """Π x_j / (x_j − x_i) over j ≠ i, for each i."""
    factors = []
    for i in indices:
        numerator = denominator = 1
        for j in indices:
            if j != i:
                numerator = numerator * j % p
                denominator = denominator * (j - i) % p
        factors.append(numerator * pow(denominator, -1, p) % p)
    return tuple(factors)


def _evaluate_many(polynomials: Limbs, count: int) -> Limbs:
    """(count, 15, s): the polynomials, (threshold, 15, s) with the constant terms first, at 1 … count."""
    values = np.zeros((count, *polynomials.shape[1:]), np.int64)
    x = np.arange(1, count + 1)[:, np.newaxis, np.newaxis]
    run = 36 // count.bit_length()
    for degree in reversed(range(len(polynomials))):
        values *= x
        values += polynomials[degree]
        if degree % run == 0:
            _carry(values)
    return values


def _weighted_many(operator: npt.NDArray[np.float64], shares: Limbs) -> Limbs:
    """(1, 15, s): Σ weight · share over the members, `shares` being (members, 15, s) and `operator` as `_times`."""
    total = np.zeros((1, LIMBS, shares.shape[2]), np.int64)
    for start in range(0, len(shares), MEMBERS):
        some = shares[start : start + MEMBERS].astype(np.float64)
        matrix = operator[:, start * LIMBS : (start + len(some)) * LIMBS]
        total[0] += (matrix @ some.reshape(len(some) * LIMBS, -1)).astype(np.int64)
        _carry(total)
    return total


def _times(factors: Sequence[int]) -> npt.NDArray[np.float64]:
    """(15, members · 15): for each factor the matrix that multiplies the 15 limbs of an element by it.

    Limb j times limb i of the factor falls on limb i + j, or on i + j − 15 with 19 times the value.
    """
    encoded = np.frombuffer(b"".join(map(encode, factors)), np.uint8).reshape(1, -1, ELEMENT_BYTES)
    limbs = _limbs(encoded, LIMBS)[0]
    onto, of = np.indices((LIMBS, LIMBS))
    matrices: Limbs = limbs[(onto - of) % LIMBS] * np.where(onto < of, 19, 1)[:, :, np.newaxis]
    return matrices.transpose(0, 2, 1).reshape(LIMBS, -1).astype(np.float64)


def _slices(size: int, rows: int) -> list[slice]:
    """The secrets cut so that the limbs of `rows` elements for each stay near SLICE_BYTES."""
    step = max(1, SLICE_BYTES // (rows * LIMBS * 8))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _all_canonical(encoded: Bytes) -> bool:
    """Whether each element, 32 bytes on the last axis, is below 2^255 − 19."""
    words = encoded.view("<u8")
    low, middle, high = words[..., 0], words[..., 1] & words[..., 2], words[..., 3]
    below_top = (high < 2**63 - 1) | (high == 2**63 - 1) & ((middle != 2**64 - 1) | (low < 2**64 - 19))
    return bool(np.all(below_top))


def _limbs(encoded: Bytes, count: int) -> Limbs:
    """(rows, count, s): the first `count` limbs of what is little-endian on the last axis of (rows, s, bytes)."""
    rows, size, width = encoded.shape
    limbs = np.empty((rows, count, size), np.int64)
    for place in range(count):
        start = min(place * LIMB_BITS // 8, width - 4)  # 4 bytes hold the limb wherever it starts in the first
        word = encoded[:, :, start : start + 4].view("<u4")[:, :, 0]
        limbs[:, place] = word >> (place * LIMB_BITS - 8 * start) & (2**LIMB_BITS - 1)
    return limbs


def _reduced(uniform: Bytes) -> Limbs:
    """(rows, 15, s): elements from 48 uniform bytes each, on the last axis of (rows, s, 48), as `from_uniform`."""
    limbs = _limbs(uniform, UNIFORM_LIMBS)
    elements = limbs[:, :LIMBS]
    elements[:, : UNIFORM_LIMBS - LIMBS] += 19 * limbs[:, LIMBS:]
    _carry(elements)
    return elements


def _carry(limbs: Limbs) -> None:
    """Brings limbs below 2^56, none negative, below 2^17 + 2^10, without a change mod p; in place.

    The largest carry is 2^39, then 19 · 2^22, then 2^10: each pass adds at most 19 times its carries to 17 bits.
    """
    carries = np.empty_like(limbs)
    for _ in range(3):
        np.right_shift(limbs, LIMB_BITS, out=carries)
        limbs &= 2**LIMB_BITS - 1
        limbs[:, 1:] += carries[:, :-1]
        limbs[:, 0] += 19 * carries[:, -1]


def _packed(limbs: Limbs) -> Bytes:
    """(rows, s, 32): the canonical encoding of elements as `_carry` leaves them, which are below 2p; alters `limbs`."""
    rows, _, size = limbs.shape
    over = np.full((rows, size), 19)
    for place in range(LIMBS):  # whether element + 19 reaches 2^255, that is element >= p
        over = (limbs[:, place] + over) >> LIMB_BITS
    carry = 19 * over
    words = np.zeros((rows, size, ELEMENT_BYTES // 8), "<u8")
    for place in range(LIMBS):
        limb = limbs[:, place] + carry
        carry = limb >> LIMB_BITS
        bits = (limb & (2**LIMB_BITS - 1)).astype(np.uint64)
        word, shift = divmod(place * LIMB_BITS, 64)
        words[:, :, word] |= bits << shift
        if shift + LIMB_BITS > 64:
            words[:, :, word + 1] |= bits >> (64 - shift)
    return words.view(np.uint8)
