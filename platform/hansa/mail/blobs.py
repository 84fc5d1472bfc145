"""Large vectors, in chunks beside the letters.

A masked contribution goes up, a total comes down, each cut into chunks of 4 MiB (the last may be shorter). A chunk's
name is its digest, a leaf of the Merkle tree, and a signed letter lists the digests, so a chunk needs no signature of
its own. In the mailbox it lies in a box that the broker can't open, under a name that tells nothing (`carriage.py`).

    Chunks   where a party keeps them; an S3 store is in `bucket.py`
    Folder   chunks on disk, by run; what is under its final name is whole, whatever crashed
    AtSite   a site's end of its mailbox server: SET `s:<site>:up:<name>`, GET `s:<site>:dn:<name>`
    AtHub    the hub's end: GETRANGE and DEL of `up`, SET and DEL of `dn`

In the mailbox a box lives ten minutes and may vanish or change at any time: what did not arrive is wanted again, and
what does not open, or does not have its digest, did not arrive.
"""

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from hansa.crypto.merkle import DIGEST_BYTES, leaf
from hansa.crypto.prg import CHUNK_BYTES
from hansa.mail.post import raw_client
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.messages import RunId

LIFE_SECONDS: Final = 600
BOX_BYTES: Final = CHUNK_BYTES + 16  # a chunk and the tag of AES-GCM
SLOW_SECONDS: Final = 25  # over the 5 of a letter: sending a whole chunk is one wait, and a slow line needs longer
WRITERS: Final = 3  # chunks being written at a time, while the next is made: a disk waits longer than it works

RUN: Final = re.compile(r"[0-9a-f]{32}")


class Chunks(ABC):
    """Where one party keeps chunks, by run. Threads and processes may share a run; whoever erases it sees to it that
    nobody keeps anything in it meanwhile.

    Where a run is not 32 hexadecimal digits, a digest not 32 bytes or a chunk empty or too large, ValueError: no
    name leaves its place. What is full, broken or away raises OSError, and nothing half lies under a final name.
    """

    def put(self, run: RunId, chunk: bytes | memoryview, digest: bytes | None = None) -> bytes:
        """Keeps a chunk, durable when this returns; gives its digest. A chunk that is here already stays.

        Who has just computed the `digest` may give it, and spares a second pass over the chunk.
        """
        flat = memoryview(chunk).cast("B")
        return self.put_each(run, [(leaf(flat) if digest is None else digest, flat)])[0]

    def put_all(self, run: RunId, buffer: memoryview, digests: Sequence[bytes] | None = None) -> tuple[bytes, ...]:
        """Cuts a buffer (contiguous, any element type) and keeps every chunk; gives the digests in its order."""
        chunks = cut(buffer)
        known = map(leaf, chunks) if digests is None else digests
        return tuple(self.put_each(run, zip(known, chunks, strict=True)))

    @abstractmethod
    def put_each(self, run: RunId, chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> list[bytes]:
        """Keeps chunks under the digests that come with them, all durable when this returns; gives the digests. Asks
        for the next while earlier ones are written. At an error those before it may have been kept."""

    @abstractmethod
    def get(self, run: RunId, digest: bytes) -> bytes:
        """A chunk, which has this digest: it is hashed again, because a disk's error must not become a wrong total.

        Raises LookupError where it is missing or damaged. A damaged one is put out of the way, so that `missing`
        names it and it can be fetched again.
        """

    @abstractmethod
    def missing(self, run: RunId, digests: Iterable[bytes]) -> list[bytes]:
        """Those that are not here, in order, each once: a vector may hold one chunk twice. Contents are not read."""

    @abstractmethod
    def size(self, run: RunId, digest: bytes) -> int:
        """Of a chunk in bytes; 0 if it is not here."""

    @abstractmethod
    def erase(self, run: RunId) -> None:
        """Removes a run with everything that a crash left in it; fine if there is none, or only part of one."""

    @abstractmethod
    def runs(self) -> list[RunId]:
        """The runs that something was kept of and that were not erased to the end."""


class Folder(Chunks):
    """Chunks at `<path>/<run>/<digest>`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _settle(path.parent)

    def __repr__(self) -> str:
        return f"Folder({str(self._path)!r})"

    def put_each(self, run: RunId, chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> list[bytes]:
        folder = self._folder(run)

        def keep(digest: bytes, chunk: bytes | memoryview) -> None:
            final = folder / name_of(digest)
            check_size(chunk)
            folder.mkdir(mode=0o700, exist_ok=True)
            if not final.exists():
                _write(final, chunk)

        digests = each(keep, chunks)
        if digests:
            # Also when nothing was new: whoever wrote it may have been killed before it came here.
            _settle(folder)
            _settle(self._path)
        return digests

    def get(self, run: RunId, digest: bytes) -> bytes:
        path = self._folder(run) / name_of(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise LookupError("a chunk is not in the folder") from None
        if not is_chunk(data, digest):
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".damaged"))
            raise LookupError("a chunk in the folder was damaged")
        return data

    def missing(self, run: RunId, digests: Iterable[bytes]) -> list[bytes]:
        folder = self._folder(run)
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return [digest for digest in dict.fromkeys(digests) if name_of(digest) not in present]

    def size(self, run: RunId, digest: bytes) -> int:
        path = self._folder(run) / name_of(digest)
        return path.stat().st_size if path.exists() else 0

    def erase(self, run: RunId) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder(run))
        _settle(self._path)

    def runs(self) -> list[RunId]:
        return sorted(path.name for path in self._path.iterdir() if RUN.fullmatch(path.name))

    def _folder(self, run: RunId) -> Path:
        return self._path / run_of(run)


def run_of(name: str) -> str:
    if not RUN.fullmatch(name):
        raise ValueError("a run is named by 32 hexadecimal digits")
    return name


def cut(buffer: memoryview) -> list[memoryview]:
    """The chunks of a vector, where they lie."""
    if not buffer.nbytes:
        raise ValueError("an empty vector has no chunks")
    flat = buffer.cast("B")
    return [flat[at : at + CHUNK_BYTES] for at in range(0, len(flat), CHUNK_BYTES)]


def each(
    keep: Callable[[bytes, bytes | memoryview], None], chunks: Iterable[tuple[bytes, bytes | memoryview]]
) -> list[bytes]:
    """Keeps every chunk, `WRITERS` at a time, and gives their digests once all are kept."""
    digests, under_way = list[bytes](), deque[Future[None]]()
    with ThreadPoolExecutor(WRITERS, "chunks") as pool:
        for digest, chunk in chunks:
            while len(under_way) >= WRITERS:
                under_way.popleft().result()
            under_way.append(pool.submit(keep, digest, chunk))
            digests.append(digest)
            del chunk  # the next is made before this one would be let go
        for written in under_way:
            written.result()
    return digests


def fits(size: int) -> bool:
    return 0 < size <= CHUNK_BYTES


def check_size(chunk: bytes | memoryview) -> None:
    if not fits(len(chunk)):
        raise ValueError(f"a chunk has 1 to {CHUNK_BYTES} bytes")


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

    def _lay(self, way: str, name: bytes, box: bytes) -> None:
        self._redis.set(way + name_of(name), box, ex=LIFE_SECONDS)


class AtSite(Carrier):
    def offer(self, name: bytes, box: bytes) -> None:
        """Sends a box up."""
        self._lay(self._up, name, box)

    def take(self, name: bytes) -> bytes | None:
        """A box that the hub sent down; None where it is absent or too large. It stays there."""
        data: bytes | None = self._redis.get(self._down + name_of(name))  # type: ignore[assignment]
        return data if data and len(data) <= BOX_BYTES else None

    def forget(self, names: Iterable[bytes]) -> None:
        """Nothing: the hub deletes what it takes, and a site may delete nothing."""


class AtHub(Carrier):
    def offer(self, name: bytes, box: bytes) -> None:
        """Sends a box down."""
        self._lay(self._down, name, box)

    def take(self, name: bytes) -> bytes | None:
        """A box that the site sent up, deleted there; None where it is absent or too large."""
        key = self._up + name_of(name)
        # Never GET: the site chose the value's size, up to 512 MB. One byte too many is enough to see it.
        data: bytes = self._redis.getrange(key, 0, BOX_BYTES)  # type: ignore[assignment]
        if not data:
            return None
        self._redis.delete(key)  # after it arrived whole, so that a connection that breaks loses nothing
        return data if len(data) <= BOX_BYTES else None

    def forget(self, names: Iterable[bytes]) -> None:
        """Deletes boxes that were sent down, because the site has taken them."""
        if keys := [self._down + name_of(name) for name in names]:
            self._redis.delete(*keys)


def name_of(digest: bytes) -> str:
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a chunk is named by a digest of {DIGEST_BYTES} bytes")
    return digest.hex()


def is_chunk(data: bytes, digest: bytes) -> bool:
    return fits(len(data)) and leaf(data) == digest


def _write(final: Path, chunk: bytes | memoryview) -> None:
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
