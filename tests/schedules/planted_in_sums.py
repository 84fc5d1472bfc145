"""Planted bugs: what names a sum, receipts, cohorts, masks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from hansa.crypto import prg
from hansa.crypto.keys import derive, digest
from hansa.messages import encode
from hansa.protocols import masks, secure_sum
from hansa.protocols import survivors as checks
from hansa.protocols.key_setup import Paired
from hansa.protocols.secure_sum import Contribute, Waiting
from hansa.protocols.survivors import Receipt
from tests.schedules.planting import Patch, answers_with, believed, let_pass, planted

# ---- what names a sum ----


def _sid(patch: Patch, parts: Callable[[Contribute], tuple[bytes, ...]]) -> None:
    patch.setattr(Contribute, "sid", lambda self, session: digest("sum/sid", session.id, *parts(self)))


def _place(request: Contribute) -> bytes:
    return request.step.to_bytes(8, "big") + request.attempt.to_bytes(8, "big")


@planted("the sid leaves out the cohort")
def sid_without_cohort(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), asked.public, encode(asked.receipt)))


@planted("the sid leaves out the public state")
def sid_without_public_state(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), encode(asked.cohort), encode(asked.receipt)))


@planted("the sid leaves out the receipt", lie="other total")
def sid_without_receipt(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), asked.public, encode(asked.cohort)))


# ---- receipts and cohorts ----


@planted("a step may go back", lie="lower step")
def step_goes_back(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "a step goes back")


@planted("a step may be left out", lie="higher step")
def step_left_out(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "a step goes back")


@planted("receipts are not checked", lie="other receipt")
def receipts_not_checked(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "the receipt is not of")


@planted("a receipt may be of another set than was locked", lie="receipt with other survivors")
def locked_set_not_compared(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "the survivor set that this site locked")


@planted("a receipt's signatures are not checked off the committee", lie="receipt with other signatures")
def receipt_not_verified(patch: Patch) -> None:
    _checks_receipts_with(patch, lambda inner: inner.setattr(secure_sum, "check_locks", believed))


@planted("a receipt's survivors are not checked off the committee", lie="receipt with other survivors")
def receipt_of_any_survivors(patch: Patch) -> None:
    def change(inner: Patch) -> None:
        inner.setattr(secure_sum, "check_survivors", believed)
        inner.setattr(secure_sum, "check_locks", believed)

    _checks_receipts_with(patch, change)


@planted("a signature off the committee counts in a receipt", lie="receipt signed off the committee")
def receipt_signed_by_anybody(patch: Patch) -> None:
    true = secure_sum.check_locks

    def check(signatures: Any, session: Any, survivors: Any, locked: bytes) -> None:
        with Patch.context() as inner:
            inner.setattr(checks, "members", lambda _session, names: list(names))
            true(signatures, session, survivors, locked)

    patch.setattr(secure_sum, "check_locks", check)


def _checks_receipts_with(patch: Patch, change: Callable[[Patch], None]) -> None:
    true = Waiting.check_receipt

    def check(self: Waiting, shown: Any) -> None:
        with Patch.context() as inner:
            change(inner)
            true(self, shown)

    patch.setattr(Waiting, "check_receipt", check)


@planted("the total beside a receipt is not compared", lie="other total beside the receipt")
def total_not_compared(patch: Patch) -> None:
    patch.setattr(
        Receipt, "total", lambda self, content, length, ring: np.frombuffer(bytes(content) or bytes(8), dtype="<u8")
    )


@planted("a site that left comes back", lie="cohort brings back a site")
def left_site_comes_back(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "sites that are left")

    def ratcheted(old: Paired, sid: bytes, left: Any) -> Paired:
        pairs = {peer: derive(secret, "sum/ratchet", sid) for peer, secret in old.pairs.items()}
        return Paired(old.site, old.session, pairs, derive(old.seed, "sum/ratchet", sid))

    patch.setattr(secure_sum, "_ratcheted", ratcheted)


@planted("a cohort may be below the floor", lie="cohort below the floor")
def cohort_below_floor(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "below the floor")


@planted("a cohort may leave a site without neighbours", lie="cohort without neighbours")
def lonely_in_cohort(patch: Patch) -> None:
    let_pass(patch, Waiting, "check", "this site too few neighbours")


# ---- masks ----


@planted("both ends of an edge add")
def mask_sign(patch: Patch) -> None:
    true = masks.edge_mask

    def edge(secret: bytes, sid: bytes, site: str, other: str, *, remove: bool) -> Any:
        return (*true(secret, sid, site, other, remove=remove)[:2], False)

    patch.setattr(secure_sum, "edge_mask", edge)


@planted("the first of a cohort takes itself for the later end")
def mask_sign_of_the_first(patch: Patch) -> None:
    true = masks.edge_mask

    def edge(secret: bytes, sid: bytes, site: str, other: str, *, remove: bool) -> Any:
        later = other < site or site == "a"
        return (*true(secret, sid, site, other, remove=remove)[:2], later != remove)

    patch.setattr(secure_sum, "edge_mask", edge)


@planted("the edges of the dropped are removed with the wrong sign")
def dropped_edge_sign(patch: Patch) -> None:
    true = masks.edge_mask

    def edge(secret: bytes, sid: bytes, site: str, other: str, *, remove: bool) -> Any:
        return true(secret, sid, site, other, remove=False)

    patch.setattr(secure_sum, "edge_mask", edge)


@planted("the self mask is derived without the sid")
def self_mask_without_sid(patch: Patch) -> None:
    true = Waiting._field
    patch.setattr(Waiting, "_field", lambda self, purpose, sid: true(self, purpose, bytes(32)))


@planted("edge secrets are derived without the sid")
def edge_without_sid(patch: Patch) -> None:
    true = masks.edge_secret
    patch.setattr(secure_sum, "edge_secret", lambda pair, sid, site, other: true(pair, bytes(32), site, other))


@planted("all chunks of a vector have one mask")
def one_mask_for_all_chunks(patch: Patch) -> None:
    true = prg.chunk_key
    patch.setattr(prg, "chunk_key", lambda secret, info, _chunk: true(secret, info, 0))


@planted("numbers are clipped to signed 64 bits before they are masked")
def saturating(patch: Patch) -> None:
    true = Waiting.answer

    def answer(self: Waiting, request: Contribute, own: Any) -> Any:
        np.minimum(own.vector, np.uint64(2**63 - 1), out=own.vector)
        return true(self, request, own)

    patch.setattr(Waiting, "answer", answer)


@planted("nothing is ratcheted forward")
def ratchet_missing(patch: Patch) -> None:
    patch.setattr(secure_sum, "_ratcheted", _as_it_was)


@planted("nothing is ratcheted forward off the committee")
def ratchet_missing_off_committee(patch: Patch) -> None:
    answers_with(patch, Waiting, lambda inner, _self: inner.setattr(secure_sum, "_ratcheted", _as_it_was))


def _as_it_was(old: Paired, _sid: bytes, left: Any) -> Paired:
    return replace(old, pairs={peer: old.pairs[peer] for peer in left if peer in old.pairs})
