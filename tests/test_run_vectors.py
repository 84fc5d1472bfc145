"""The vectors of whole runs: made again from their seeds, read as another implementation would, and played."""

import hashlib
import hmac
import re
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hansa.crypto.keys import HybridKey, SigningKey
from hansa.errors import ProtocolViolation
from hansa.messages import decode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import HubState, Own, SiteState
from tests.run_vectors import FOLDER, LENGTH, RUNS, Recorded, read, remade, text

STATES: dict[str, Any] = {
    str(state.__struct_config__.tag): state
    for module in (key_setup, secure_sum)
    for state in vars(module).values()
    if isinstance(state, type) and issubclass(state, SiteState | HubState) and state.__struct_config__.tag
}
POINTS = read("refused")["points"]
FILES = (*RUNS, "drawn_by_beacon", "refused")

vectors = cache(read)
raw = bytes.fromhex


@cache
def made_again() -> dict[str, str]:
    return remade()


@pytest.mark.parametrize("name", FILES)
def test_a_file_follows_from_its_seed_and_the_encapsulations_recorded_in_it(name: str) -> None:
    assert made_again()[name] == text(name)


def test_the_files_are_those_that_are_made_and_not_large() -> None:
    files = list(FOLDER.iterdir())
    assert sorted(file.name.split(".")[0] for file in files) == sorted(FILES) == sorted(made_again())
    assert sum(file.stat().st_size for file in files) < 10**6


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_ciphertext_decapsulates_to_the_recorded_secret_under_the_key_of_the_seed(name: str) -> None:
    run = vectors(name)
    hybrids = {site: HybridKey(hybrid_seed(raw(row["seed"]))) for site, row in run["sites"].items()}
    assert len(run["encapsulations"]) == len(run["setup"]["pairs"]) > 0
    for one in run["encapsulations"]:
        assert hybrids[one["to"]].decapsulate(raw(one["ciphertext"])).hex() == one["secret"]


def test_other_encapsulations_give_other_masks_and_the_same_total() -> None:
    there, anew = vectors("nobody_drops")["sums"], Recorded("nobody_drops").play()["sums"]
    for one, other in zip(there, anew, strict=True):
        assert raw(one["total"]) == other["total"]
        assert raw(one["sites"]["a"]["y"]) != other["sites"]["a"]["y"]


# As the README describes it, with no code of Hansa's


def h(purpose: str, *parts: bytes) -> bytes:
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(label(purpose) + framed).digest()


def label(purpose: str) -> bytes:
    return b"hansa/v1/" + purpose.encode() + b"\0"


def hkdf(secret: bytes, info: bytes, size: int = 32, salt: bytes = b"") -> bytes:
    key, block, output = hmac.digest(salt or bytes(32), secret, "sha256"), b"", b""
    for count in range(1, size // 32 + 2):
        block = hmac.digest(key, block + info + bytes([count]), "sha256")
        output += block
    return output[:size]


def kdf(secret: bytes, purpose: str, *parts: bytes, size: int = 32, salt: bytes = b"") -> bytes:
    return hkdf(secret, h(purpose, *parts), size, salt)


def hybrid_seed(seed: bytes) -> bytes:
    return kdf(kdf(seed, "setup/attempt", bytes(4)), "setup/hybrid", size=96)


def field(uniform: bytes) -> bytes:
    return (int.from_bytes(uniform, "little") % (2**255 - 19)).to_bytes(32, "little")


pack = msgspec.msgpack.encode


def letters(run: dict[str, Any], kind: str, step: int) -> dict[str, Any]:
    """By the site that sends or receives, unpacked."""
    return {
        letter["from"] if letter["to"] == "hub" else letter["to"]: msgspec.msgpack.decode(raw(letter["message"]))
        for letter in run["letters"]
        if (letter["kind"], letter["step"]) == (kind, step)
    }


@pytest.mark.parametrize("name", RUNS)
def test_setup_is_derived_as_the_readme_says(name: str) -> None:
    run, site = vectors(name), vectors(name)["view"] or "a"
    setup, seed = run["setup"], kdf(raw(run["sites"][site]["seed"]), "setup/attempt", bytes(4))
    manifest, offers, reveals = (letters(run, kind, -1)[site] for kind in ("manifest", "offers", "reveals"))
    transcript = h("setup/transcript", pack(manifest), pack(offers))
    beacon = h("setup/beacon", manifest[1], *(one[1] for one in reveals[1]))
    assert h("setup/manifest", pack(manifest)).hex() == setup["manifest"]
    assert transcript.hex() == setup["transcript"]
    assert beacon.hex() == setup["beacon"]
    assert h("setup/session", transcript, beacon).hex() == setup["session"]
    assert kdf(seed, "setup/rho") == letters(run, "reveal", -1)[site][1]
    assert kdf(seed, "setup/next", raw(setup["session"])).hex() == setup["seeds"][site]
    drawn = {(one["from"], one["to"]): one for one in run["encapsulations"]}
    for pair in setup["pairs"]:
        low, high, secret = pair["low"], pair["high"], raw(pair["x25519"]) + raw(pair["mlkem"])
        parts = low.encode(), high.encode(), raw(drawn[low, high]["ciphertext"])
        assert kdf(secret, "setup/pair", *parts, salt=transcript).hex() == pair["pair"]


def ratcheted(run: dict[str, Any], edge: dict[str, Any], step: int) -> bytes:
    """The pair secret of an edge as it is in a step."""
    pair = next(raw(one["pair"]) for one in run["setup"]["pairs"] if (one["low"], one["high"]) == ends_of(edge))
    for before in run["sums"][:step]:
        pair = kdf(pair, "sum/ratchet", raw(before["sid"]))
    return pair


def ends_of(edge: dict[str, Any]) -> tuple[str, str]:
    return edge["low"], edge["high"]


def masked(made: dict[str, Any], at: list[dict[str, Any]], site: str, ring: str) -> str:
    """The first 32 bytes of y, or all where there are fewer."""
    size = min(32, len(raw(made["x"])))
    y = np.frombuffer(raw(made["x"])[:size], ring) + np.frombuffer(raw(made["self"]["mask"])[:size], ring)
    for edge in at:
        mask = np.frombuffer(raw(edge["mask"])[:size], ring)
        y = y + mask if site == edge["low"] else y - mask
    return bytes(y.tobytes()).hex()


def stream(secret: bytes, info: bytes, size: int) -> bytes:
    """Of the first chunk."""
    cipher = Cipher(algorithms.AES256(hkdf(secret, info + bytes(8))), modes.CTR(bytes(16)))
    return cipher.encryptor().update(bytes(size))


def check_shares(
    run: dict[str, Any], one: dict[str, Any], site: str, at: list[dict[str, Any]], sealed: list[bytes]
) -> None:
    made, sid, degree = one["sites"][site], raw(one["sid"]), run["setup"]["floors"]["threshold"] - 1
    secrets = [raw(made["self"]["secret"]), *(raw(edge["secret"]) for edge in at)]
    chance = stream(raw(made["seed"]), label("sum/coefficients") + sid, 48 * degree * len(secrets))
    drawn = [int.from_bytes(field(chance[place : place + 48]), "little") for place in range(0, len(chance), 48)]
    letters = iter(sealed)
    for member, index in run["setup"]["committee"].items():
        shares = b""
        for place, secret in enumerate(secrets):
            row = int.from_bytes(secret, "little"), *drawn[place * degree : (place + 1) * degree]
            value = sum(coefficient * index**power for power, coefficient in enumerate(row))
            shares += (value % (2**255 - 19)).to_bytes(32, "little")
        assert shares.hex() == made["shares"][member]
        if member != site and member in one["cohort"]:
            pair = next(raw(edge["pair"]) for edge in at if member in ends_of(edge))
            key = kdf(pair, "sum/seal", sid, site.encode(), member.encode())
            assert key.hex() == made["seal_keys"][member]
            assert AESGCM(key).decrypt(bytes(12), next(letters), sid) == shares
    assert not list(letters)


@pytest.mark.parametrize("name", RUNS)
def test_each_sum_is_derived_as_the_readme_says(name: str) -> None:
    run = vectors(name)
    for step, one in enumerate(run["sums"]):
        sid, replies, ring = raw(one["sid"]), letters(run, "contributed", step), f"<u{run['ring'] // 8}"
        _, number, attempt, public, cohort, receipt = next(iter(letters(run, "contribute", step).values()))
        place = number.to_bytes(8, "big") + attempt.to_bytes(8, "big")
        assert h("sum/sid", raw(run["setup"]["session"]), place, public, pack(cohort), pack(receipt)) == sid
        lock = h("sum/locked", sid, pack(one["survivors"]), raw(one["headers"]))
        assert lock.hex() == one["locked"]
        for edge in one["edges"]:
            assert raw(edge["pair"]) == ratcheted(run, edge, step)
            ends = edge["low"].encode(), edge["high"].encode()
            secret = field(kdf(raw(edge["pair"]), "sum/edge", sid, *ends, size=48))
            assert secret.hex() == edge["secret"]
            assert hmac.digest(secret, h("sum/tag", sid), "sha256")[:16].hex() == edge["tag"]
            info = label("sum/edge") + sid + ends[0] + b"\0" + ends[1] + b"\0"
            assert [hkdf(secret, info + bytes(7) + bytes([k])).hex() for k in (0, 1)] == edge["chunk_keys"]
        for site, made in one["sites"].items():
            own, header = field(kdf(raw(made["seed"]), "sum/self", sid, size=48)), replies[site][1]
            assert (own.hex(), h("sum/self commitment", sid, own).hex()) == (made["self"]["secret"], made["commitment"])
            leaf = hashlib.sha256(b"\0" + raw(made["y"])).digest()
            assert header[1:6] == [site, sid, leaf, raw(made["commitment"]), h("sum/sealed", *replies[site][3])]
            at = [edge for edge in one["edges"] if site in ends_of(edge)]
            assert header[6].hex() == "".join(edge["tag"] for edge in at)
            assert masked(made, at, site, ring) == made["y"][:64]
            check_shares(run, one, site, at, replies[site][3])
        if not run["view"]:
            rows = [np.frombuffer(raw(one["sites"][site]["x"]), ring) for site in one["survivors"]]
            assert np.sum(rows, axis=0, dtype=ring).tobytes().hex() == one["total"]
            assert len(rows[0]) == LENGTH


# What must be refused


def play(point: dict[str, Any], message: bytes) -> None:
    """The party of `point`, as it was, takes `message`."""
    encoded = raw(point["state"])
    state: Any = decode(encoded, STATES[msgspec.msgpack.decode(encoded)["type"]])
    if point["party"] == "hub":
        replies = {site: decode(raw(reply), state.accepts) for site, reply in point["accepted"].items()}
        replies[point["from"]] = decode(message, state.accepts)
        state.check(point["from"], replies[point["from"]])
        state.close(replies)
    else:
        request = decode(message, state.accepts)
        vector = np.frombuffer(raw(point["vector"]), "<u8").astype(np.uint64)
        state.answer(request, Own(SigningKey(raw(point["signing_seed"])), vector))
        if point["beside"]:
            state.total(request.receipt, raw(point["beside"]))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point['party']} {point['refused'][0]['why']}")
def test_the_message_that_was_not_altered_is_accepted(point: dict[str, Any]) -> None:
    play(point, raw(point["accepted"][point["from"]] if point["party"] == "hub" else point["accepted"]))


@pytest.mark.parametrize(
    ("point", "lie"),
    [pytest.param(point, lie, id=lie["why"]) for point in POINTS for lie in point["refused"]],
)
def test_what_must_be_refused_is_refused_for_its_reason(point: dict[str, Any], lie: dict[str, str]) -> None:
    with pytest.raises(ProtocolViolation, match=re.escape(lie["error"])):
        play(point, raw(lie["message"]))


def test_no_two_of_the_refused_are_alike() -> None:
    assert len({lie["message"] for point in POINTS for lie in point["refused"]}) >= 60
