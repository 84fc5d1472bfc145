"""Evidence as one file: a ZIP archive that holds nothing compressed.

    evidence            signatures, requests and openings (`replay.Evidence`, encoded), with all vectors that are small
    chunks/<digest>     each chunk of a large vector, under the hexadecimal SHA-256 that names it

Any chunk can be read without the others, so a sampled replay of a large job reads little. Nothing in the file is
believed: sizes are bounded before anything is read, and `replay` compares each chunk with its digest.
"""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hansa.crypto.prg import CHUNK_BYTES
from hansa.errors import ProtocolViolation, Refused

EVIDENCE_BYTES = 2**30
_EVIDENCE, _CHUNKS = "evidence", "chunks/"
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same evidence gives the same file


def write(path: Path, evidence: bytes, digests: Iterable[bytes], read: Callable[[bytes], bytes]) -> None:
    """Writes the file anew; one chunk in memory at a time."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_EVIDENCE, _WHEN), evidence)
        for digest in dict.fromkeys(digests):
            archive.writestr(zipfile.ZipInfo(_CHUNKS + digest.hex(), _WHEN), read(digest))


class EvidenceFile:
    """A file that somebody handed over."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise Refused(f"there is no file {path}") from error
        except IsADirectoryError as error:
            raise Refused(f"{path} is a folder") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ProtocolViolation(f"{path} is no evidence file") from error

    def evidence(self) -> bytes:
        try:
            return self._read(_EVIDENCE, EVIDENCE_BYTES)
        except LookupError as error:
            raise ProtocolViolation("the file holds no evidence") from error

    def chunk(self, digest: bytes) -> bytes:
        """LookupError where it is not there."""
        return self._read(_CHUNKS + digest.hex(), CHUNK_BYTES)

    def _read(self, name: str, most: int) -> bytes:
        found = self._archive.getinfo(name)
        if found.compress_type != zipfile.ZIP_STORED or found.file_size > most or found.flag_bits & 1:
            raise ProtocolViolation("an evidence file holds nothing compressed, encrypted or too large")
        try:
            return self._archive.read(found)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
            raise ProtocolViolation("the evidence file is damaged") from error
