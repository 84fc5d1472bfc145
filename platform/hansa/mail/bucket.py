"""Chunks in an S3 store instead of a folder: `<prefix>/<run>/<digest>`, for a hub whose disk is not to hold evidence.

A put is whole or nothing and returns once the store has acknowledged it; what that is worth is the store's to promise.
Listing must show what was put before it, as S3 has done since December 2020, and as MinIO, Ceph and R2 do; behind a
store that lists late, chunks would be fetched twice and nothing worse. As on disk, a chunk is hashed when it is read.

A store that is away, full or refuses raises OSError, as a broken disk would. What `obstore` says of it names
addresses and keys, so it is left out.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from hansa.errors import Refused
from hansa.mail.blobs import RUN, Chunks, check_size, each, fits, is_chunk, name_of, run_of
from hansa.messages import RunId

WAIT: Final = timedelta(seconds=30)
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}")
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Access(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator sets of a store. What is left empty comes from the environment (`AWS_…`) or the instance."""

    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""

    def __repr__(self) -> str:
        return "Access(hidden)"


class Bucket(Chunks):
    """`url` is `s3://bucket/prefix`. Threads and processes may share a run, as in a folder."""

    def __init__(self, url: str, access: Access) -> None:
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError as error:
            raise Refused("chunks in an S3 store need one more package: pip install 'hansa[s3]'") from error
        place = _checked(url, access)
        given = {
            "endpoint": access.endpoint,
            "region": access.region,
            "access_key_id": access.access_key_id,
            "secret_access_key": access.secret_access_key,
        }
        self._name, self._obstore, self._errors = url, obstore, exceptions
        try:
            self._store = S3Store(
                place.netloc,
                prefix=place.path.strip("/") or None,
                config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]
                client_options={"allow_http": access.endpoint.startswith("http://"), "timeout": WAIT},
                retry_config={"max_retries": 3, "retry_timeout": WAIT},
            )
        except exceptions.BaseError:
            raise Refused(f"{url} can't be opened: look at its region and endpoint") from None

    def __repr__(self) -> str:
        return f"Bucket({self._name!r})"

    def check(self) -> None:
        """Refuses, in a sentence, a store that does not answer, or not to us."""
        try:
            self.runs()
        except OSError as error:
            raise Refused(f"{self._name} does not answer as a store of chunks should: {error}") from None

    def put_each(self, run: RunId, chunks: Iterable[tuple[bytes, bytes | memoryview]]) -> list[bytes]:
        folder = run_of(run)

        def keep(digest: bytes, chunk: bytes | memoryview) -> None:
            path = f"{folder}/{name_of(digest)}"
            check_size(chunk)
            if self._size(path) is None:
                with self._speaking():
                    self._obstore.put(self._store, path, chunk, use_multipart=False)

        return each(keep, chunks)

    def get(self, run: RunId, digest: bytes) -> bytes:
        path = f"{run_of(run)}/{name_of(digest)}"
        size = self._size(path)
        if size is None:
            raise LookupError("a chunk is not in the store")
        if fits(size):  # never load what is larger, whoever put it there
            try:
                with self._speaking():
                    data = bytes(self._obstore.get(self._store, path).bytes())
            except FileNotFoundError:
                raise LookupError("a chunk is not in the store") from None
            if is_chunk(data, digest):
                return data
        self._put_aside(path)
        raise LookupError("a chunk in the store was damaged")

    def missing(self, run: RunId, digests: Iterable[bytes]) -> list[bytes]:
        folder, names = run_of(run), {digest: name_of(digest) for digest in digests}
        present = set(self._names(f"{folder}/")) if names else set()
        return [digest for digest, name in names.items() if f"{folder}/{name}" not in present]

    def size(self, run: RunId, digest: bytes) -> int:
        return self._size(f"{run_of(run)}/{name_of(digest)}") or 0

    def erase(self, run: RunId) -> None:
        paths = list(self._names(f"{run_of(run)}/"))
        with self._speaking(), suppress(FileNotFoundError):
            self._obstore.delete(self._store, paths)

    def runs(self) -> list[RunId]:
        with self._speaking():
            found = self._obstore.list_with_delimiter(self._store)["common_prefixes"]
        return sorted(name for name in found if RUN.fullmatch(name))

    def _names(self, prefix: str) -> Iterator[str]:
        with self._speaking():
            for page in self._obstore.list(self._store, prefix=prefix):
                for entry in page:
                    yield entry["path"]

    def _size(self, path: str) -> int | None:
        try:
            with self._speaking():
                return int(self._obstore.head(self._store, path)["size"])
        except FileNotFoundError:
            return None

    def _put_aside(self, path: str) -> None:
        """A damaged chunk: out of the way, so that it is missing and can be fetched again."""
        with self._speaking(), suppress(FileNotFoundError):
            self._obstore.rename(self._store, path, f"{path}.damaged")

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """The store's errors as those of a disk, without their text."""
        try:
            yield
        except self._errors.NotFoundError:
            raise FileNotFoundError("the store has no such object, or no such bucket") from None
        except self._errors.BaseError as error:
            raise OSError(f"the store says {type(error).__name__}") from None


def _checked(url: str, access: Access) -> SplitResult:
    try:
        place, end = urlsplit(url), urlsplit(access.endpoint)
    except ValueError:
        raise Refused("chunks: an address is malformed") from None
    if place.scheme != "s3" or not BUCKET.fullmatch(place.netloc) or place.query or place.fragment:
        raise Refused("chunks: where they lie is written s3://bucket/prefix")  # not shown: it may hold a password
    if access.endpoint and end.scheme != "https" and not (end.scheme == "http" and end.hostname in LOOPBACK):
        raise Refused("chunks: the endpoint of a store is an https:// address")
    if bool(access.access_key_id) != bool(access.secret_access_key):
        raise Refused("chunks: a store needs both access_key_id and secret_access_key, or neither")
    return place
