"""Signed notes, checkpoints and cosignatures, as C2SP writes them down.

note          text, an empty line, then lines "— <name> <base64(key id of 4 bytes ‖ signature)>"
key id        SHA-256(name ‖ "\n" ‖ type ‖ public key)[:4]
checkpoint    origin, size in decimal, base64 of the root: a line each, and nothing else
cosignature   u64be seconds ‖ Ed25519("cosignature/v1\ntime <seconds>\n" ‖ text)                          type 0x04
              u64be seconds ‖ ML-DSA-44("subtree/v1\n\0" ‖ u8 length, name ‖ u64 seconds ‖
                                        u8 length, origin ‖ u64 0 ‖ u64 size ‖ root)                      type 0x06
"""

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.encoding import ed25519_holds, lattice_holds

LOG, WITNESS, LATTICE_WITNESS = 0x01, 0x04, 0x06
MOST_BYTES = 2**22
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class Key(Struct, frozen=True):
    """Of a log or a witness. `kind`: its type byte."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def verifier(self) -> str:
        """The `vkey` of a policy file."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


class Line(Struct, frozen=True):
    name: str
    id: bytes
    signature: bytes


class Note(Struct, frozen=True):
    text: bytes
    lines: tuple[Line, ...]


class Checkpoint(Struct, frozen=True):
    origin: str
    size: int
    root: bytes


def unbase64(text: str, what: str) -> bytes:
    """Standard, padded, and the only way to write these bytes."""
    try:
        found = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolViolation(f"{what} is not in base64") from error
    if base64.b64encode(found).decode() != text:
        raise ProtocolViolation(f"{what} is not in the one base64 of its bytes")
    return found


def read_note(data: bytes) -> Note:
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolViolation("the note is not UTF-8") from error
    text, gap, rest = whole.rpartition("\n\n")
    if len(data) > MOST_BYTES or _CONTROL.search(whole) or not gap or not rest.endswith("\n"):
        raise ProtocolViolation("the note is not a text, an empty line, and lines of signatures")
    return Note((text + "\n").encode(), tuple(_line(line) for line in rest[:-1].split("\n")))


def _line(line: str) -> Line:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—" or not parts[1] or "+" in parts[1]:
        raise ProtocolViolation("a line under the note is no signature")
    content = unbase64(parts[2], "a signature under the note")
    if len(content) < 5:
        raise ProtocolViolation("a signature under the note is too short")
    return Line(parts[1], content[:4], content[4:])


def read_checkpoint(note: Note) -> Checkpoint:
    lines = note.text.decode().split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise ProtocolViolation("the note is no checkpoint: an origin, a size and a root, a line each")
    root = unbase64(lines[2], "the root")
    if len(root) != 32:
        raise ProtocolViolation("the root of the checkpoint is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def signed_by(note: Note, keys: Iterable[Key]) -> dict[Key, int]:
    """Which of `keys` signed, with the second that a witness says (0 for a log). Unknown keys are passed over; a known
    one whose signature is false spoils the note."""
    known = {(key.name, key.id): key for key in keys}
    found: dict[Key, int] = {}
    for line in note.lines:
        key = known.get((line.name, line.id))
        if key is None:
            continue
        seconds = 0 if key.kind == LOG else int.from_bytes(line.signature[:8], "big")
        if not _holds(note, key, line.signature, seconds):
            raise ProtocolViolation(f"the signature of '{key.name}' under the note does not hold")
        found[key] = max(found.get(key, 0), seconds)
    return found


def _holds(note: Note, key: Key, signature: bytes, seconds: int) -> bool:
    if key.kind == LOG:
        return ed25519_holds(key.public, note.text, signature)
    if key.kind == WITNESS:
        return ed25519_holds(key.public, b"cosignature/v1\ntime %d\n" % seconds + note.text, signature[8:])
    checkpoint = read_checkpoint(note)
    name, origin = key.name.encode(), checkpoint.origin.encode()
    if len(name) > 255 or len(origin) > 255:
        return False
    message = b"subtree/v1\n\0" + bytes([len(name)]) + name + seconds.to_bytes(8, "big")
    message += bytes([len(origin)]) + origin + bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root
    return lattice_holds(44, key.public, message, signature[8:])
