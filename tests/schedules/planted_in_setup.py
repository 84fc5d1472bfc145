"""Planted bugs: floors, keys, beacon, graph."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle
from hansa.crypto.keys import derive, digest
from hansa.protocols import graph, key_setup
from hansa.protocols.key_setup import AwaitEncapsulated, Delivered, Encapsulating, Invited
from hansa.protocols.thresholds import Floors
from tests.schedules.planting import Patch, believed, except_for, planted

# ---- floors ----


def _floors(patch: Patch, change: Callable[[Floors], Floors]) -> None:
    true = Floors.of
    patch.setattr(Floors, "of", staticmethod(lambda *roster: change(true(*roster))))


@planted("the threshold is one too low")
def threshold_off_by_one(patch: Patch) -> None:
    _floors(patch, lambda floors: replace(floors, threshold=floors.threshold - 1))


@planted("the floor of survivors is one too low")
def floor_off_by_one(patch: Patch) -> None:
    _floors(patch, lambda floors: replace(floors, survivors=floors.survivors - 1))


@planted("a site takes the hub's floors for the charter's", lie="lower floors")
def floors_not_checked(patch: Patch) -> None:
    true = Invited.answer

    def answer(self: Invited, request: Any, own: Any) -> Any:
        with Patch.context() as inner:
            inner.setattr(Floors, "of", staticmethod(lambda *_any: request.floors))
            return true(self, request, own)

    patch.setattr(Invited, "answer", answer)


@planted("the ring is not checked", lie="another ring")
def ring_not_checked(patch: Patch) -> None:
    true = Invited.answer
    patch.setattr(Invited, "answer", lambda self, request, own: true(replace(self, ring=request.ring), request, own))


# ---- setup ----


@planted("an earlier attempt of setup is answered again", lie="an earlier attempt")
def attempt_not_checked(patch: Patch) -> None:
    true = Invited.answer
    patch.setattr(Invited, "answer", lambda self, request, own: true(replace(self, attempt=0), request, own))


@planted("offers are not checked against their signatures", lie="substituted offer")
def offers_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/offer"))


@planted("reveals are not checked against their signatures", lie="altered reveal")
def reveals_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/reveal"))


@planted("reveals are checked by nobody but the hub", lie="two bundles")
def transcripts_not_compared(patch: Patch) -> None:
    patch.setattr(key_setup, "_check_reveals", believed)
    patch.setattr(key_setup.AwaitReveals, "check", believed)  # the hub that lies would not look


@planted("randomness is not checked against its commitment", lie="other randomness than committed")
def rho_not_checked(patch: Patch) -> None:
    true = digest

    def same(purpose: str, *parts: bytes) -> bytes:
        return bytes(32) if purpose == "setup/rho" else true(purpose, *parts)

    patch.setattr(key_setup, "digest", same)


@planted("all pairs have one secret")
def one_secret_for_all(patch: Patch) -> None:
    true = derive

    def same(secret: bytes, purpose: str, *parts: bytes, **more: Any) -> bytes:
        return true(bytes(32), purpose) if purpose == "setup/pair" else true(secret, purpose, *parts, **more)

    patch.setattr(key_setup, "derive", same)


@planted("a pair's secret has the number of one end in it")
def pair_secret_of_one_end(patch: Patch) -> None:
    true = Encapsulating.answer

    def answer(self: Any, request: Any, own: Any) -> Any:
        paired, ready = true(self, request, own)
        place = bytes([paired.session.roster.index(paired.site) % 2])
        pairs = {peer: derive(secret, "planted", place) for peer, secret in paired.pairs.items()}
        return replace(paired, pairs=pairs), ready

    patch.setattr(Encapsulating, "answer", answer)


@planted("ciphertexts are not checked against their signatures", lie="ciphertext of the hub's own")
def ciphertexts_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/encapsulated"))


@planted("ciphertexts are not checked, and of another sender", lie="ciphertext of another sender")
def senders_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/encapsulated"))


@planted("a ciphertext may stand anywhere in its sender's tree", lie="ciphertext to another")
def place_not_checked(patch: Patch) -> None:
    true, root, known = merkle.root_from_path, merkle.root, set()

    def rooted(leaves: Any) -> bytes:
        known.add(found := root(leaves))
        return found

    def anywhere(leaf: bytes, index: int, count: int, path: Any) -> bytes:
        found = [
            true(leaf, at, count, path) for at in range(count) if len(path) == len(merkle.path([leaf] * count, at))
        ]
        return next((one for one in found if one in known), bytes(32))

    patch.setattr(merkle, "root", rooted)
    patch.setattr(merkle, "root_from_path", anywhere)


@planted("what is signed of the ciphertexts is of no session", lie="ciphertext of an earlier attempt")
def root_without_session(patch: Patch) -> None:
    patch.setattr(key_setup, "_signed_root", lambda _session, site, root: site.encode() + b"\0" + root)


@planted("a ciphertext too few or too many is passed over", lie="ciphertext missing")
def ciphertexts_not_counted(patch: Patch) -> None:
    true = Encapsulating.answer

    def answer(self: Encapsulating, request: Delivered, own: Any) -> Any:
        count = min(len(self.earlier), len(request.sent))
        fewer = replace(self, earlier=dict(list(self.earlier.items())[:count]))
        return true(fewer, replace(request, sent=request.sent[:count]), own)

    patch.setattr(Encapsulating, "answer", answer)


@planted("the hub takes ciphertexts as they come", lie="too few ciphertexts")
def hub_does_not_count_ciphertexts(patch: Patch) -> None:
    patch.setattr(AwaitEncapsulated, "check", believed)


# ---- beacon, committee, graph ----


@planted("the beacon is the first site's alone")
def beacon_of_one(patch: Patch) -> None:
    true = digest

    def first(purpose: str, *parts: bytes) -> bytes:
        return true(purpose, *parts[:2]) if purpose == "setup/beacon" else true(purpose, *parts)

    patch.setattr(key_setup, "digest", first)


@planted("the committee is one short")
def short_committee(patch: Patch) -> None:
    true = graph.committee
    patch.setattr(graph, "committee", lambda beacon, sites, size: true(beacon, sites, size - 1))
