"""An export as one ZIP archive: packed for a download, and opened as somebody uploads it.

Nothing in an upload is believed. How much it may hold is settled before anything is unpacked, a file at a time and in
memory only: no name in it ever becomes a path on this machine.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from stat import S_IFMT, S_ISREG
from typing import TYPE_CHECKING

from hansa.errors import ProtocolViolation, Refused

if TYPE_CHECKING:
    from hansa.verify.tiles import Source

MOST_PACKED, MOST_UNPACKED, MOST_FILES = 2**23, 2**26, 20_000  # of an upload: bytes, bytes, files
BEGINS = b"PK\x03\x04"
_IN_DIRECTORY = b"PK\x01\x02"  # before each file that an archive lists
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same files give the same archive
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def pack(folder: Path, most: int) -> bytes:
    """Refused for a folder that holds more than `most` bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if sum(path.stat().st_size for path in paths) > most:
        raise Refused(f"it is larger than {most // 2**20} MiB")
    return pack_files({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})


def pack_files(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return made.getvalue()


def source_of(name: str, data: bytes) -> "Source":
    """The export in the archive `data`, at its root or in its one folder. `name` is what the owner calls it."""
    from hansa.verify.tiles import Source

    if len(data) > MOST_PACKED:
        raise ProtocolViolation(f"{name} is larger than {MOST_PACKED // 2**20} MiB")
    if data.count(_IN_DIRECTORY) > MOST_FILES:
        raise ProtocolViolation(f"{name} holds more than {MOST_FILES} files")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        files = _files(name, archive)
    except _BROKEN as error:
        raise ProtocolViolation(f"{name} is no ZIP archive that can be read") from error
    root = _root(name, files)

    def read(path: str) -> bytes | None:
        found = files.get(root + path)
        return None if found is None else _unpacked(name, archive, found)

    def names(folder: str) -> list[str]:
        start = f"{root}{folder}/"
        inside = (path.removeprefix(start) for path in files if path.startswith(start))
        return sorted(path for path in inside if "/" not in path)

    return Source(read, names)


def _files(name: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    listed = [one for one in archive.infolist() if not one.is_dir()]
    files = {one.filename: one for one in listed}
    if len(files) != len(listed):
        raise ProtocolViolation(f"{name} holds two files of one name")
    if sum(one.file_size for one in listed) > MOST_UNPACKED:
        raise ProtocolViolation(f"{name} would be larger than {MOST_UNPACKED // 2**20} MiB once unpacked")
    for one in listed:
        if not _is_plain(one.filename):
            raise ProtocolViolation(f"{name} holds a file that would lie outside of it")
        if not S_ISREG(kind := one.external_attr >> 16) and S_IFMT(kind):
            raise ProtocolViolation(f"{name} holds something else than files")
        if one.flag_bits & 1 or one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProtocolViolation(f"{name} is encrypted, or compressed in a way that is not read here")
    return files


def _is_plain(path: str) -> bool:
    """Whether a name stays below the folder that it would be unpacked in, on any system."""
    inside = all(part not in ("", ".", "..") for part in path.split("/"))
    return inside and path.isprintable() and not set(path) & set("\\:")


def _root(name: str, files: Mapping[str, zipfile.ZipInfo]) -> str:
    if "checkpoint" in files:
        return ""
    found = [path for path in files if path.count("/") == 1 and path.endswith("/checkpoint")]
    if len(found) != 1:
        raise ProtocolViolation(f"{name} holds no export: there is no file 'checkpoint' in it")
    return found[0].removesuffix("checkpoint")


def _unpacked(name: str, archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> bytes:
    """What an archive says of a file's size is all that is read of it."""
    try:
        with archive.open(file) as opened:
            data = opened.read(file.file_size + 1)
    except _BROKEN as error:
        raise ProtocolViolation(f"{name} is damaged") from error
    if len(data) != file.file_size:
        raise ProtocolViolation(f"{name} is damaged")
    return data
