"""The offline verifier over a generated log of 100 000 entries: the tree alone, and everything with all signatures.

The log is written by the tests' own writer and holds whole jobs of four members, so every check has something to do.
The floor of the signatures is OpenSSL's: as many bare verifications, split over the same cores.
"""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ed25519
from tests import exports

from hansa.cli.verifying import Signatures
from hansa.messages import HUB
from hansa.verify.findings import Findings
from hansa.verify.tiles import read_tree
from hansa.verify.verdict import verify

ENTRIES = 100_000


def lines() -> Iterable[str]:
    log = exports.new_log(names="abcd")
    while len(log.leaves) < ENTRIES - 100:
        exports.play(log, f"{len(log.leaves):032x}")
    while len(log.leaves) < ENTRIES:
        log.add(HUB, "signed in", person="p1", member="a")
    source = exports.source(exports.files(log, [1_000, 50_000]))
    seconds, found = _timed(lambda: read_tree(source, ENTRIES, Findings()))
    assert found is not None
    yield f"| tree of {ENTRIES} entries: bundles, tiles, root | {seconds:.2f} s |"
    with Signatures() as signatures:
        seconds, verdict = _timed(lambda: verify(source, log.signed[1], check=signatures.check))
    assert verdict.outcome == "holds", verdict.findings
    yield f"| everything, with all signatures, {os.cpu_count()} cores | {seconds:.1f} s |"
    seconds, _ = _timed(_floor)
    yield f"| floor: {ENTRIES} bare Ed25519 verifications, {os.cpu_count()} cores | {seconds:.1f} s |"


T = TypeVar("T")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    before = time.perf_counter()
    found = work()
    return time.perf_counter() - before, found


def _floor() -> None:
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_bare, [ENTRIES // cores] * cores))


def _bare(count: int) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    message, signature, public = bytes(300), key.sign(bytes(300)), key.public_key().public_bytes_raw()
    for _ in range(count):
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
