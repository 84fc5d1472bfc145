"""A secret in shares of which any `threshold` give it back and fewer say nothing (Shamir, CACM 22(11), 1979).

The field is the integers mod 2^255 − 19. Share `i` is the polynomial at x = i, for i from 1; the secret is
its value at 0. Chance is an argument: the caller draws each coefficient uniformly, zero included. A
polynomial whose top coefficient "may not be zero" would tell a little about the secret.

Python's integers are not constant-time, and this module does not try to be. Accepted because a secret here is
drawn for one sum, is split once and combined once, by a program whose peers are elsewhere and see only when
a letter leaves, after the disk and the broker. A neighbour on the same machine is outside the threat model.

`combine` can't tell a false share from a true one: whoever combines checks the outcome against what the
secret was bound to (a tag, a commitment, a public key).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from hansa.errors import ProtocolViolation

PRIME: Final = 2**255 - 19
ELEMENT_BYTES: Final = 32
UNIFORM_BYTES: Final = 48
INDEX_LIMIT: Final = 1 << 16


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


@lru_cache(maxsize=64)
def weights(indices: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at zero for distinct `indices`, which are public: a secret is Σ weight · share.

    Raises ProtocolViolation for no index, an index twice and one outside 1 … 2^16 − 1. Index 0 is the secret
    itself: a "share" there would let its sender choose the outcome.
    """
    if not indices or not all(0 < index < INDEX_LIMIT for index in indices):
        raise ProtocolViolation("the index of a share is not between 1 and 65535")
    if len(set(indices)) != len(indices):
        raise ProtocolViolation("the index of a share appears twice")
    return _weights(indices, PRIME)


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
