"""Bytes as words to read over the telephone: 2 048 English words, eleven bits each, no two alike in their first four
letters (the list of BIP-39; its licence lies beside it)."""

from functools import cache
from importlib.resources import files

WORDS = 12
BITS = 11 * WORDS  # 132: who looks for a second text with the same words tries 2^132


@cache
def _list() -> tuple[str, ...]:
    return tuple((files(__name__) / "english.txt").read_text(encoding="ascii").split())


def words(digest: bytes) -> str:
    """The first 132 bits of a digest of 32 bytes."""
    number = int.from_bytes(digest, "big") >> (8 * len(digest) - BITS)
    return " ".join(_list()[number >> 11 * place & 2047] for place in reversed(range(WORDS)))
