"""Large vectors, in chunks beside the letters.

A masked contribution goes up, a total comes down, each cut into chunks of 4 MiB (the last may be shorter). A chunk's
name is its digest, a leaf of the Merkle tree, and a signed letter lists the digests, so a chunk needs no signature of
its own. In the mailbox it lies in a box that the broker can't open (`carriage.py`), under the box's own digest.

    Folder   chunks on disk, by run; what is under its final name is whole, whatever crashed
    AtSite   a site's end of its mailbox server: SET `s:<site>:up:<digest>`, GET `s:<site>:dn:<digest>`
    AtHub    the hub's end: GETRANGE and DEL of `up`, SET and DEL of `dn`

In the mailbox a chunk lives ten minutes and may vanish at any time: the letters `wanted` and `here` name at most
`WINDOW` chunks, and what did not arrive is wanted again. What does not have its digest did not arrive.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hansa.crypto.merkle import DIGEST_BYTES, leaf
from hansa.crypto.prg import CHUNK_BYTES
from hansa.mail.post import raw_client
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.messages import RunId

WINDOW: Final = 8  # chunks in flight at most, each way: 32 MiB of a mailbox server's 256
LIFE_SECONDS: Final = 600
BOX_BYTES: Final = CHUNK_BYTES + 16  # a chunk and the tag of AES-GCM
SLOW_SECONDS: Final = 25  # over the 5 of a letter: sending a whole chunk is one wait, and a slow line needs longer

RUN: Final = re.compile(r"[0-9a-f]{32}")


class Folder:
    """Chunks at `<path>/<run>/<digest>`. Threads and processes may share a run; whoever erases it sees to
    it that nobody keeps anything in it meanwhile.

    Where a run is not 32 hexadecimal digits, a digest not 32 bytes or a chunk empty or too large, ValueError: no
    name leaves the folder. A disk that is full or broken raises OSError, and nothing half lies under a final name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _settle(path.parent)

    def __repr__(self) -> str:
        return f"Folder({str(self._path)!r})"

    def put(self, run: RunId, chunk: bytes | memoryview, digest: bytes | None = None) -> bytes:
        """Keeps a chunk, durable when this returns; gives its digest. A chunk that is here already stays.

        Who has just computed the `digest` may give it, and spares a second pass over the chunk.
        """
        return self._keep(run, [memoryview(chunk).cast("B")], None if digest is None else [digest])[0]

    def put_all(self, run: RunId, buffer: memoryview, digests: Sequence[bytes] | None = None) -> tuple[bytes, ...]:
        """Cuts a buffer (contiguous, any element type) and keeps every chunk; gives the digests in its order."""
        if not buffer.nbytes:
            raise ValueError("an empty vector has no chunks")
        flat = buffer.cast("B")
        return self._keep(run, [flat[at : at + CHUNK_BYTES] for at in range(0, len(flat), CHUNK_BYTES)], digests)

    def get(self, run: RunId, digest: bytes) -> bytes:
        """A chunk, which has this digest: it is hashed again, because a disk's error must not become a wrong total.

        Raises LookupError where it is missing or damaged. A damaged one is put out of the way, so that `missing`
        names it and it can be fetched again.
        """
        path = self._folder(run) / _name(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise LookupError("a chunk is not in the folder") from None
        if not _is_chunk(data, digest):
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".damaged"))
            raise LookupError("a chunk in the folder was damaged")
        return data

    def missing(self, run: RunId, digests: Iterable[bytes]) -> list[bytes]:
        """Those that are not here, in order, each once: a vector may hold one chunk twice. Contents are not read."""
        folder = self._folder(run)
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return [digest for digest in dict.fromkeys(digests) if _name(digest) not in present]

    def size(self, run: RunId, digest: bytes) -> int:
        """Of a chunk in bytes; 0 if it is not here."""
        path = self._folder(run) / _name(digest)
        return path.stat().st_size if path.exists() else 0

    def erase(self, run: RunId) -> None:
        """Removes a run with everything that a crash left in it; fine if there is none, or only part of one."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder(run))
        _settle(self._path)

    def runs(self) -> list[RunId]:
        """The runs that something was kept of and that were not erased to the end."""
        return sorted(path.name for path in self._path.iterdir() if RUN.fullmatch(path.name))

    def _folder(self, run: RunId) -> Path:
        if not RUN.fullmatch(run):
            raise ValueError("a run is named by 32 hexadecimal digits")
        return self._path / run

    def _keep(self, run: RunId, chunks: list[memoryview], known: Sequence[bytes] | None = None) -> tuple[bytes, ...]:
        folder = self._folder(run)
        if not all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks):
            raise ValueError(f"a chunk has 1 to {CHUNK_BYTES} bytes")
        folder.mkdir(mode=0o700, exist_ok=True)
        digests = tuple(map(leaf, chunks)) if known is None else tuple(known)
        for digest, chunk in zip(digests, chunks, strict=True):
            final = folder / _name(digest)
            if not final.exists():
                _write(final, chunk)
        # Also when nothing was new: whoever wrote it may have been killed before it came here.
        _settle(folder)
        _settle(self._path)
        return digests


class Carrier:
    """One end of a site's mailbox server. Broker errors are the caller's (`post.BROKER_ERRORS`), who then resets."""

    def __init__(self, address: Address, site: str) -> None:
        self._redis = raw_client(address, SLOW_SECONDS)
        self._up, self._down = f"{site_prefix(site)}up:", f"{site_prefix(site)}dn:"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._up!r}, {self._down!r})"

    def reset(self) -> None:
        """Forgets broken connections; the next command opens another."""
        self._redis.connection_pool.disconnect()

    def _lay(self, way: str, boxes: Iterable[bytes]) -> None:
        for box in boxes:
            self._redis.set(way + _name(leaf(box)), box, ex=LIFE_SECONDS)


class AtSite(Carrier):
    def offer(self, boxes: Iterable[bytes]) -> None:
        """Sends boxes up, one in memory at a time; at most `WINDOW`, as the hub wanted them."""
        self._lay(self._up, boxes)

    def take(self, digest: bytes) -> bytes | None:
        """A box that the hub sent down; None where it is absent or has another digest. It stays there."""
        data: bytes | None = self._redis.get(self._down + _name(digest))  # type: ignore[assignment]
        return data if data is not None and _is_box(data, digest) else None

    def forget(self, digests: Iterable[bytes]) -> None:
        """Nothing: the hub deletes what it takes, and a site may delete nothing."""


class AtHub(Carrier):
    def offer(self, boxes: Iterable[bytes]) -> None:
        """Sends boxes down, one in memory at a time; at most `WINDOW`, as the site wanted them."""
        self._lay(self._down, boxes)

    def take(self, digest: bytes) -> bytes | None:
        """A box that the site sent up, deleted there; None where it is absent, too large or has another digest."""
        key = self._up + _name(digest)
        # Never GET: the site chose the value's size, up to 512 MB. One byte too many is enough to see it.
        data: bytes = self._redis.getrange(key, 0, BOX_BYTES)  # type: ignore[assignment]
        if not data:
            return None
        self._redis.delete(key)  # after it arrived whole, so that a connection that breaks loses nothing
        return data if _is_box(data, digest) else None

    def forget(self, digests: Iterable[bytes]) -> None:
        """Deletes boxes that were sent down, because the site has taken them."""
        if keys := [self._down + _name(digest) for digest in digests]:
            self._redis.delete(*keys)


def _name(digest: bytes) -> str:
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a chunk is named by a digest of {DIGEST_BYTES} bytes")
    return digest.hex()


def _is_chunk(data: bytes, digest: bytes) -> bool:
    return 0 < len(data) <= CHUNK_BYTES and leaf(data) == digest


def _is_box(data: bytes, digest: bytes) -> bool:
    return 0 < len(data) <= BOX_BYTES and leaf(data) == digest


def _write(final: Path, chunk: memoryview) -> None:
    """Under another name until it is whole and on the disk; the folder is the caller's to settle."""
    handle, partial = tempfile.mkstemp(dir=final.parent, suffix=".part")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(final)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _settle(folder: Path) -> None:
    """Makes names in `folder`, new and gone, survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
