"""Chunks on disk, and through a real mailbox server under the rules that a site and the hub get."""

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import redis

from hansa.crypto.merkle import leaf
from hansa.crypto.prg import CHUNK_BYTES
from hansa.mail import rules
from hansa.mail.blobs import LIFE_SECONDS, WRITERS, AtHub, AtSite, Carrier, Chunks, Folder
from hansa.mail.bucket import Bucket
from hansa.mail.flight import WINDOW
from hansa.mail.post import BROKER_ERRORS
from hansa.mail.tls import Address
from hansa.mail.valkey import EmbeddedValkey
from tests.s3_server import S3Server

RUN, OTHER = "0" * 31 + "a", "0" * 31 + "b"
FULL = os.urandom(CHUNK_BYTES)
PASSWORDS = {user: f"a password of {user}" for user in ("site-north", "hub", "admin")}
MAILBOX = rules.mailbox_rules("north", *(rules.password_digest(password) for password in PASSWORDS.values()))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "blobs")


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.processes)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Chunks:
    """Each of the two places where a hub's chunks may lie."""
    if request.param == "folder":
        return Folder(tmp_path / "blobs")
    store: S3Server = request.getfixturevalue("s3")
    return store.bucket()


def overwrite(place: Chunks, run: str, digest: bytes, content: bytes) -> None:
    """As a disk's error, or somebody with a key of the store, would."""
    if isinstance(place, Bucket):
        place._obstore.put(place._store, f"{run}/{digest.hex()}", content)
    else:
        assert isinstance(place, Folder)
        (place._path / run / digest.hex()).write_bytes(content)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


# On disk


def test_a_chunk_is_kept_under_its_digest_for_its_owner_alone(folder: Folder, tmp_path: Path) -> None:
    digest = folder.put(RUN, FULL)
    assert digest == leaf(FULL)
    assert folder.get(RUN, digest) == FULL
    path = tmp_path / "blobs" / RUN / digest.hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(place.stat().st_mode) for place in (path.parent, path.parent.parent)} == {0o700}
    assert Folder(tmp_path / "blobs").get(RUN, digest) == FULL


def test_a_chunk_put_twice_is_written_once(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "blobs" / RUN / folder.put(RUN, b"chunk").hex()
    before = path.stat()
    folder.put(RUN, memoryview(b"chunk"))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert files(tmp_path) == {path.name}


def test_a_vector_is_cut_into_chunks_and_comes_back_whole(place: Chunks) -> None:
    vector = np.arange(CHUNK_BYTES // 8 * 2 + 3, dtype=np.uint64)
    digests = place.put_all(RUN, vector.data)
    chunks = [place.get(RUN, digest) for digest in digests]
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 24]
    assert b"".join(chunks) == vector.tobytes()
    assert place.put_all(RUN, vector.data) == digests


def test_a_chunk_that_stands_twice_in_a_vector_is_missing_once(place: Chunks) -> None:
    zeros = place.put_all(RUN, memoryview(bytes(2 * CHUNK_BYTES + 1)))
    assert zeros[0] == zeros[1] != zeros[2]
    assert place.missing(OTHER, zeros) == [zeros[0], zeros[2]]


def test_what_is_missing_is_named_in_order_and_by_run(place: Chunks) -> None:
    digests = [leaf(bytes([number])) for number in range(5)]
    assert place.missing(RUN, digests) == digests
    place.put(RUN, b"\x01")
    place.put(RUN, b"\x03")
    place.put(OTHER, b"\x00")
    assert place.missing(RUN, digests) == [digests[0], digests[2], digests[4]]
    with pytest.raises(LookupError):
        place.get(RUN, digests[0])


def test_an_erased_run_is_gone_and_the_others_stay(place: Chunks) -> None:
    digest = place.put(RUN, b"chunk")
    place.put(OTHER, b"chunk")
    assert place.runs() == [RUN, OTHER]
    place.erase(RUN)
    place.erase(RUN)
    assert place.runs() == [OTHER]
    assert place.missing(RUN, [digest]) == [digest]
    assert place.get(OTHER, digest) == b"chunk"


@pytest.mark.parametrize("run", ["", "..", ".", "a" * 31, "A" * 32, "a" * 33, "a" * 32 + "\n", "../" + "a" * 29, "*"])
def test_a_name_that_is_not_a_runs_name_opens_no_path(folder: Folder, tmp_path: Path, run: str) -> None:
    (tmp_path / "beside").write_text("stays")
    with pytest.raises(ValueError, match="32 hexadecimal"):
        folder.put(run, b"chunk")
    with pytest.raises(ValueError, match="32 hexadecimal"):
        folder.get(run, leaf(b"chunk"))
    with pytest.raises(ValueError, match="32 hexadecimal"):
        folder.missing(run, [])
    with pytest.raises(ValueError, match="32 hexadecimal"):
        folder.erase(run)
    assert files(tmp_path) == {"beside"}


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_a_digest_of_another_length_names_no_chunk(place: Chunks, digest: bytes) -> None:
    place.put(RUN, b"chunk")
    with pytest.raises(ValueError, match="32 bytes"):
        place.get(RUN, digest)
    with pytest.raises(ValueError, match="32 bytes"):
        place.missing(RUN, [digest])


def test_a_chunk_is_neither_empty_nor_too_large(place: Chunks) -> None:
    large = np.zeros(CHUNK_BYTES // 8 + 1, dtype=np.uint64)
    for chunk in (b"", FULL + b"x", large.data):
        with pytest.raises(ValueError, match="a chunk has 1 to"):
            place.put(RUN, chunk)
    with pytest.raises(ValueError, match="empty"):
        place.put_all(RUN, large[:0].data)
    assert place.runs() == []


def test_a_chunk_put_again_is_not_sent_again(place: Chunks) -> None:
    digest = place.put(RUN, b"chunk")
    overwrite(place, RUN, digest, b"chunj")
    assert place.put(RUN, b"chunk") == digest
    with pytest.raises(LookupError):  # what lay there stayed; reading finds it
        place.get(RUN, digest)


def test_several_vectors_may_be_put_and_read_at_once(place: Chunks) -> None:
    vectors = [np.full(CHUNK_BYTES // 8 + number * 8, number, dtype=np.uint64) for number in range(1, 4)]
    with ThreadPoolExecutor(3) as pool:
        digests = list(pool.map(lambda vector: place.put_all(RUN, vector.data), vectors))
        whole = list(pool.map(lambda names: b"".join(place.get(RUN, name) for name in names), digests))
    assert whole == [vector.tobytes() for vector in vectors]


@pytest.mark.parametrize("damage", [b"", b"chunj", b"chunk and more", b"chun", FULL + b"x"], ids=len)
def test_a_chunk_damaged_where_it_lies_is_found_and_can_be_kept_again(place: Chunks, damage: bytes) -> None:
    digest = place.put(RUN, b"chunk")
    overwrite(place, RUN, digest, damage)
    for _ in range(2):
        with pytest.raises(LookupError):
            place.get(RUN, digest)
        assert place.missing(RUN, [digest]) == [digest]
    place.put(RUN, b"chunk")
    assert place.get(RUN, digest) == b"chunk" and place.size(RUN, digest) == 5


def test_a_full_disk_leaves_nothing_under_a_final_name(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            folder.put(RUN, FULL)
    assert files(tmp_path) == set()
    assert folder.missing(RUN, [leaf(FULL)]) == [leaf(FULL)]


def test_a_chunk_has_its_name_only_once_it_is_on_the_disk(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    acts: list[tuple[str, int]] = []
    replace = Path.replace

    def settled(handle: int) -> None:
        found = os.fstat(handle)
        acts.append(("folder" if stat.S_ISDIR(found.st_mode) else "chunk", found.st_ino))

    def named(path: Path, target: Path) -> Path:
        acts.append(("name", path.stat().st_ino))
        return replace(path, target)

    monkeypatch.setattr("os.fsync", settled)
    monkeypatch.setattr("pathlib.Path.replace", named)
    folder.put_all(RUN, memoryview(FULL + b"rest"))
    named_at = {file: at for at, (what, file) in enumerate(acts) if what == "name"}
    assert len(named_at) == 2
    assert all(acts.index(("chunk", file)) < at for file, at in named_at.items())
    assert [what for what, _ in acts[4:]] == ["folder", "folder"]
    acts.clear()
    folder.put(RUN, FULL)  # its first writer may not have come to the folder
    assert [what for what, _ in acts] == ["folder", "folder"]


def test_the_next_chunk_is_made_while_earlier_ones_are_written_and_few_are_in_memory(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, written = list[int](), threading.Event(), list[int]()
    fsync = os.fsync

    def slow(handle: int) -> None:
        gate.wait(10)
        fsync(handle)
        written.append(handle)

    def chunks() -> Iterator[tuple[bytes, bytes]]:
        for number in range(10):
            begun.append(number)
            if len(begun) == WRITERS + 1:
                assert not written
                gate.set()
            yield leaf(bytes([number])), bytes([number])
            assert len(begun) - len(written) <= WRITERS + 1

    monkeypatch.setattr("os.fsync", slow)
    assert folder.put_each(RUN, chunks()) == [leaf(bytes([number])) for number in range(10)]
    assert folder.missing(RUN, [leaf(bytes([number])) for number in range(10)]) == []


def test_what_a_crash_left_counts_for_nothing_and_goes_with_its_run(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*paths: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", killed)
        patch.setattr("pathlib.Path.unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.put(RUN, b"chunk")
    assert len(files(tmp_path)) == 1
    assert folder.missing(RUN, [leaf(b"chunk")]) == [leaf(b"chunk")]
    assert folder.get(RUN, folder.put(RUN, b"chunk")) == b"chunk"
    folder.erase(RUN)
    assert files(tmp_path) == set()
    assert folder.runs() == []


# Through the mailbox

processes = pytest.mark.processes


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One that takes values as large as a server with stock settings does."""
    with EmbeddedValkey(tmp_path_factory.mktemp("mailbox"), MAILBOX, "hub", PASSWORDS["hub"]) as broker:
        with redis.Redis.from_url(login(broker, "admin")) as client:
            client.config_set("proto-max-bulk-len", 512 << 20)
        yield broker


def lay(end: AtSite | AtHub, boxes: Iterable[bytes]) -> None:
    """Under names that are as good as any other: a box's own digest."""
    for box in boxes:
        end.offer(leaf(box), box)


def login(broker: EmbeddedValkey, user: str) -> str:
    return broker.client_url(user, PASSWORDS[user])


@pytest.fixture
def site(mailbox: EmbeddedValkey) -> AtSite:
    return AtSite(Address(login(mailbox, "site-north")), "north")


@pytest.fixture
def hub(mailbox: EmbeddedValkey) -> AtHub:
    return AtHub(Address(login(mailbox, "hub")), "north")


@pytest.fixture
def admin(mailbox: EmbeddedValkey) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(login(mailbox, "admin")) as client:
        client.flushall()
        client.acl_log_reset()
        yield client


@processes
def test_a_window_of_full_chunks_goes_up_and_comes_down(site: AtSite, hub: AtHub, admin: "redis.Redis") -> None:
    chunks = [bytes([number]) + FULL[1:] for number in range(WINDOW)]
    digests = [leaf(chunk) for chunk in chunks]
    lay(site, chunks)
    assert [hub.take(digest) for digest in digests] == chunks
    assert admin.dbsize() == 0
    lay(hub, iter(chunks))
    for _ in range(2):  # a site whose disk failed takes it again
        assert [site.take(digest) for digest in digests] == chunks
    hub.forget(digests)
    hub.forget([])
    assert admin.dbsize() == 0
    assert admin.acl_log() == []


@processes
def test_a_chunk_nobody_takes_does_not_stay(site: AtSite, hub: AtHub, admin: "redis.Redis") -> None:
    lay(site, [b"up"])
    lay(hub, [b"down"])
    names = {f"s:north:up:{leaf(b'up').hex()}".encode(), f"s:north:dn:{leaf(b'down').hex()}".encode()}
    assert set(admin.keys()) == names
    assert all(0 < admin.ttl(name) <= LIFE_SECONDS for name in names)


@processes
def test_a_chunk_goes_one_way_only(site: AtSite, hub: AtHub, admin: "redis.Redis") -> None:
    lay(site, [b"up"])
    lay(hub, [b"down"])
    assert site.take(leaf(b"up")) is None
    assert hub.take(leaf(b"down")) is None
    assert hub.take(leaf(b"up")) == b"up"
    assert hub.take(leaf(b"up")) is None


@processes
def test_a_site_reads_nothing_that_it_sent_and_nothing_of_another(
    mailbox: EmbeddedValkey, admin: "redis.Redis"
) -> None:
    lay(AtSite(Address(login(mailbox, "site-north")), "north"), [b"chunk"])
    admin.set(f"s:south:dn:{leaf(b'chunk').hex()}", b"chunk")
    with redis.Redis.from_url(login(mailbox, "site-north")) as raw, pytest.raises(redis.exceptions.NoPermissionError):
        raw.get(f"s:north:up:{leaf(b'chunk').hex()}")
    stranger = AtSite(Address(login(mailbox, "site-north")), "south")
    with pytest.raises(redis.exceptions.NoPermissionError):
        stranger.take(leaf(b"chunk"))
    with pytest.raises(redis.exceptions.NoPermissionError):
        lay(stranger, [b"chunk"])


ALTERED = {"another": b"another", "empty": b"", "longer": b"chunk and more", "too large": FULL + bytes(17)}


@processes
@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_value_is_taken_away_and_hurts_nobody(
    mailbox: EmbeddedValkey, site: AtSite, hub: AtHub, admin: "redis.Redis", how: str
) -> None:
    """Whether it opens is for the carriage to see."""
    name, value = leaf(b"chunk"), ALTERED[how]
    seen = None if how in ("empty", "too large") else value
    with redis.Redis.from_url(login(mailbox, "site-north")) as raw:
        raw.set(f"s:north:up:{name.hex()}", value)
    assert hub.take(name) == seen
    admin.set(f"s:north:dn:{name.hex()}", value)
    assert site.take(name) == seen
    lay(site, [b"chunk"])
    lay(hub, [b"chunk"])
    assert hub.take(name) == site.take(name) == b"chunk"
    assert not admin.exists(f"s:north:up:{name.hex()}")


@processes
def test_a_value_too_large_for_a_chunk_is_not_taken(site: AtSite, hub: AtHub, admin: "redis.Redis") -> None:
    for large in (b"", FULL + bytes(17)):
        admin.set(f"s:north:up:{leaf(large).hex()}", large)
        admin.set(f"s:north:dn:{leaf(large).hex()}", large)
        assert hub.take(leaf(large)) is None
        assert site.take(leaf(large)) is None


@processes
def test_the_hub_loads_no_more_than_a_chunk_of_a_huge_value(hub: AtHub, admin: "redis.Redis") -> None:
    name = f"s:north:up:{leaf(b'chunk').hex()}"
    admin.setrange(name, 100 << 20, b"x")
    before = int(admin.info("stats")["total_net_output_bytes"])
    assert hub.take(leaf(b"chunk")) is None
    assert int(admin.info("stats")["total_net_output_bytes"]) - before < CHUNK_BYTES + 100_000
    assert not admin.exists(name)


@processes
def test_a_digest_of_another_length_names_no_key(site: AtSite, hub: AtHub) -> None:
    for end in (site, hub):
        with pytest.raises(ValueError, match="32 bytes"):
            end.take(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        hub.forget([b"short"])


@processes
def test_what_a_wiped_broker_held_is_absent_and_can_be_offered_again(
    site: AtSite, hub: AtHub, admin: "redis.Redis"
) -> None:
    lay(site, [b"up"])
    lay(hub, [b"down"])
    admin.flushall()
    assert hub.take(leaf(b"up")) is None
    assert site.take(leaf(b"down")) is None
    hub.forget([leaf(b"down")])
    lay(site, [b"up"])
    assert hub.take(leaf(b"up")) == b"up"


@processes
def test_a_full_mailbox_is_a_broker_error_and_the_connection_lives_on(
    site: AtSite, hub: AtHub, admin: "redis.Redis"
) -> None:
    admin.setrange("h:full", 200 << 20, b"x")
    with pytest.raises(BROKER_ERRORS):
        lay(site, (bytes([number]) + FULL[1:] for number in range(32)))
    admin.flushall()
    lay(site, [b"up"])
    assert hub.take(leaf(b"up")) == b"up"


@processes
def test_a_broker_that_went_away_is_found_again_after_a_reset(tmp_path: Path) -> None:
    broker = EmbeddedValkey(tmp_path, MAILBOX, "hub", PASSWORDS["hub"])
    with broker:
        ends: tuple[Carrier, ...] = (
            site := AtSite(Address(login(broker, "site-north")), "north"),
            hub := AtHub(Address(login(broker, "hub")), "north"),
        )
        lay(site, [b"up"])
        broker.stop()
        with pytest.raises(BROKER_ERRORS):
            lay(site, [b"up"])
        with pytest.raises(BROKER_ERRORS):
            hub.take(leaf(b"up"))
        broker.start()
        for end in ends:
            end.reset()
        assert hub.take(leaf(b"up")) is None
        lay(site, [b"up"])
        assert hub.take(leaf(b"up")) == b"up"
        assert not any(password in repr(end) for end in ends for password in PASSWORDS.values())


@processes
def test_a_vector_goes_from_folder_to_folder_a_window_at_a_time(
    site: AtSite, hub: AtHub, admin: "redis.Redis", folder: Folder, tmp_path: Path
) -> None:
    there = Folder(tmp_path / "there")
    vector = memoryview(np.random.default_rng(1).bytes(12 * CHUNK_BYTES))
    digests = folder.put_all(RUN, vector)
    while wanted := there.missing(RUN, digests)[:WINDOW]:
        lay(site, (folder.get(RUN, digest) for digest in wanted))
        for digest in wanted:
            chunk = hub.take(digest)
            assert chunk is not None
            there.put(RUN, chunk)
        assert admin.dbsize() == 0
    assert b"".join(there.get(RUN, digest) for digest in digests) == vector
