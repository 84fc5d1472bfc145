"""Bytes made bad: by a bit, by a splice, and by what parsers have choked on before."""

import random
from collections.abc import Sequence

DEEP = 20_000
NASTY: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\xff" * 64,
    b"\xc1",  # a byte that MessagePack never uses
    b"\x91" * DEEP,  # lists in lists
    b"\x81\x01" * DEEP,
    b"\xdd\xff\xff\xff\xff",  # a list of 2^32 - 1
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",  # as many bytes
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x00",
    b"\xdc\xff\xff" + b"\xc0" * 65_000,
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # NaN
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"[" * DEEP,
    b"{" * DEEP,
    b'{"a":' * DEEP,
    b"a = " + b"[" * DEEP,
    b"a = " + b"{a=" * DEEP,
    b".".join([b"a"] * DEEP) + b" = 1",
    b"[" + b".".join([b"a"] * DEEP) + b"]",
    b"minimum_sites = " + b"9" * 5000,
    b"kind = " + b"9" * 5000,
    b"9" * 5000,
    b"a = nan",
    b"a = inf",
    b"NaN",
    b"Infinity",
    b"1e999",
    b'a = "\\ud800"',
    b'kind = "glm"\ntable = "t"\n[parameters]\nformula = "' + b"(" * 400 + b'"',
    b"y ~ " + b"(" * 200 + b"a" + b")" * 200,
    b"y ~ " + b"*".join([b"a", b"b", b"c", b"d", b"e"] * 30),
    b"y ~ " + b"-" * 490,
    b"y ~ (a+b)^3^3^3^3",
    b"x,y\n" + b"1,2\n" * 16_000,
    b"x\n" + b"9" * 60_000,
    b"x," * 30_000,
    b'"' * 60_000,
    b"x\n\xff\xfe",
    b"PAR1" + b"\xff" * 60 + b"PAR1",
    b"PK\x05\x06" + b"\xff" * 18,
    b"=" * 60_000,
    b"A" * 65_536,
)
TOKENS: tuple[bytes, ...] = (
    *(one for one in NASTY if 0 < len(one) < 12),
    b"\xdc\xff\xff",
    b"\xc4\x00",
    b"\xcd\x00\x01",  # a number that has a shorter spelling
    b"\x00" * 8,
    b"\xff" * 8,
    b"nan",
    b"-inf",
    b"99999999999999999999",
    b"[[",
    b"'''",
    b'"""',
    b"\\u0000",
    b"\n",
    b"~",
    b"^",
    b":",
)


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed in one to four ways."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _change(chance, data, seeds)
    return bytes(data[: 2**16]) if len(data) > 2**16 and chance.random() < 0.5 else bytes(data)


def _change(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at, way = chance.randrange(len(data) + 1), chance.randrange(8)
    end = min(len(data), at + chance.choice((1, 2, 4, 16, 64)))
    if way == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif way == 1 and at < len(data):
        data[at] = chance.randrange(256)
    elif way == 2:
        del data[at:]
    elif way == 3:
        data += chance.randbytes(chance.choice((1, 4, 100)))
    elif way == 4:
        data[at:at] = chance.choice(TOKENS)
    elif way == 5:
        data[at:end] = chance.choice(TOKENS)
    elif way == 6:
        other = chance.choice(seeds)
        data[at:] = other[min(at, len(other)) :] if chance.random() < 0.5 else other[chance.randrange(len(other) + 1) :]
    else:
        data[at:at] = data[at:end]
