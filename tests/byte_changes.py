"""Random changes of a file that somebody signed, none of which leaves it as it was."""

import random
from collections.abc import Sequence

ADDED = (b"\n", b" ", b"0", b"=", b"\n\n", b"\r", b"\xa0", "— ".encode())


def changed(data: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """`data` with one or two changes, and equal neither to it nor to any of `others`, from which pieces are taken."""
    result = data
    while result == data or result in others:
        result = data
        for _ in range(draw.choice((1, 1, 1, 2))):
            result = _change(result, draw, others)
    return result


def _change(data: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    at = draw.randrange(len(data) + 1)
    to = min(len(data), at + draw.choice((1, 1, 2, 8, 64)))
    match draw.randrange(9):
        case 0 | 1 if at < len(data):  # a bit
            return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        case 2 | 3 if at < len(data):  # another character that occurs in the file
            return data[:at] + bytes([draw.choice(data)]) + data[at + 1 :]
        case 4:
            return data[:at] + data[to:]
        case 5:
            return data[:to] + data[at:]
        case 6:
            return (
                data[:at] + draw.choice((b"\n", b" ", b"0", b"=", b"\n\n", b"\r", b"\xa0", "— ".encode())) + data[at:]
            )
        case 7:  # the same lines in another order
            lines = data.splitlines(keepends=True)
            one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            return b"".join(lines)
        case _:  # a line of another file
            lines = data.splitlines(keepends=True)
            theirs = draw.choice(others).splitlines(keepends=True)
            lines[draw.randrange(len(lines))] = draw.choice(theirs)
            return b"".join(lines)
