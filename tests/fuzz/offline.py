"""What is read without a world: exports by the verifier, files that people carry by hand, keys on disk."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hansa import key_file
from hansa.charter import draft
from hansa.crypto.bundles import MEMBER_BYTES
from hansa.files import to_toml
from hansa.mail import certificates, founding, renewal
from hansa.messages import encode
from hansa.verify import charters, entries, forks, notes, payloads, policies, tiles
from hansa.verify.encoding import canonical
from hansa.verify.shown import Wanted, show
from hansa.verify.tree import Tree, leaf
from hansa.verify.verdict import verify
from hansa.wrapping import Way, read_way
from tests import cards, exports
from tests.exports import Files, Log, files, good
from tests.fuzz.target import Target

NAMES = ("a", "b", "c")


def verifier() -> dict[str, Target]:
    """Each of its formats, and an export of which one file is another."""
    log = good()
    found = files(log, [5, 12])
    bundle = exports.tile("entries", 0, len(log.leaves))
    signed = charters.load(found["charters/1"])
    plan = next(payloads.canonical(data, payloads.Payload, "") for data in log.payloads.values() if b"summary" in data)
    return {
        "verifier: note": Target(_note, (found["checkpoint"],)),
        "verifier: charter": Target(_nothing(charters.load), (found["charters/1"],)),
        "verifier: entry": Target(_nothing(partial(entries.read, place=0)), tuple(log.leaves[:40:4])),
        "verifier: bundle": Target(_nothing(partial(tiles.entries_of, width=3, where="it")), (_three(log),)),
        "verifier: payload": Target(partial(_same, payloads.Payload), tuple(log.payloads.values())),
        "verifier: plan": Target(partial(_same, payloads.SecondPlan), (plan.content,)),
        "verifier: policy": Target(_nothing(partial(policies.check, charter=signed)), (found["policy"],)),
        "verifier: fork": Target(_nothing(forks.prove), (_fork(log),)),
        "verifier: export": Target(partial(_export, found, bundle), (found[bundle],)),
        "verifier: checkpoint": Target(partial(_export, found, "checkpoint"), (found["checkpoint"],)),
        "verifier: shown": Target(partial(_shown, found, bundle, len(log.leaves)), (found[bundle],)),
    }


def _nothing(read: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """What it gives is written by nobody here."""

    def once(data: bytes) -> None:
        read(data)

    return once


def _same(type_: type, data: bytes) -> bytes:
    return encode(canonical(data, type_, "it"))


def _note(data: bytes) -> None:
    notes.read_checkpoint(notes.read_note(data))


def _three(log: Log) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in log.leaves[:3])


def _fork(log: Log) -> bytes:
    """Evidence that holds: of one size, another root; and of two sizes."""
    tree = Tree()
    tree.append([leaf(one) for one in log.leaves])
    other = exports.note(log, 5, root=bytes(32))
    return forks.make(other, exports.note(log, len(log.leaves)), tree, [log.signed[1]])


def _export(found: Files, path: str, data: bytes) -> None:
    verify(exports.source({**found, path: data}))


def _shown(found: Files, path: str, size: int, data: bytes) -> None:
    for one in show(exports.source({**found, path: data}), size, Wanted(), size):
        said = (one.act, one.text, one.wrong, *one.details, *one.details.values())
        if not all(text.isprintable() for text in said):
            raise AssertionError("what is shown can't be printed")


def carried() -> dict[str, Target]:
    """Of the ceremonies. A kit is opened by the site that it is for."""
    keys = {name: cards.member_keys(place) for place, name in enumerate(NAMES)}
    charter = cards.charter(NAMES)
    card, certificate = cards.member("a", 0), certificates.make_request(certificates.draw_key(), "a")
    request = founding.make_request(card, certificate, keys["a"].signing)
    kit = founding.Kit("a", "rediss://a:b@h:1", b"authority", b"certificate")
    aloud = founding.fingerprint(cards.hub())
    drafted = draft("hospitals", cards.hub(), charter.members, charter.rules, charter.origin, charter)
    open_kit = partial(founding.open_kit, card=card, sealing=keys["a"].sealing, hub_fingerprint=aloud)
    signature = founding.sign_draft(charter, "a", [keys["a"]])
    renewed = renewal.of_member(charter, "a", keys["a"], cards.member_keys(9))
    hubs = renewal.of_hub(charter, cards.hub_keys(), cards.hub_keys(77))
    rest = [founding.sign_draft(charter, name, [keys[name]]) for name in ("b", "c")]
    return {
        "NAME.request": Target(lambda data: encode(founding.read_request(data)), (request,)),
        "NAME.kit": Target(_nothing(open_kit), (founding.seal_kit(kit, card, cards.hub(), cards.hub_keys().signing),)),
        "draft": Target(lambda data: founding.read_draft(data).encoded, (charter.encoded, drafted.encoded)),
        "NAME.signature": Target(_nothing(lambda data: founding.complete(charter, [data, *rest])), (signature,)),
        "NAME.keys": Target(_nothing(partial(renewal.read, charter=charter)), (renewed, hubs)),
    }


def keys(folder: Path) -> dict[str, Target]:
    """A home's, as far as they are read without a secret."""
    made = folder / "of-keys"
    made.mkdir()
    way = Way("pkcs11", "pin", "/lib/module.so", "a token", "a key")
    key_file.make(made, cards.seeds(1, MEMBER_BYTES), Way(passphrase_file="passphrase"))
    data = (made / "keys").read_bytes()
    read: Mapping[str, Callable[[Path], object]] = {
        "keys": key_file.look,
        "keys.next": key_file.way_of,
        "keys.toml": read_way,
    }
    seeds = {
        "keys": (data, cards.seeds(1, MEMBER_BYTES)),
        "keys.next": (encode(key_file._Next(way, data)),),
        "keys.toml": (to_toml({name: getattr(way, name) for name in way.__struct_fields__}).encode(),),
    }
    found = {}
    for name, act in read.items():
        home = folder / f"home-of-{name}"
        home.mkdir()
        found[f"file {name}"] = Target(partial(_in_home, home, name, act), seeds[name])
    return found


def _in_home(home: Path, name: str, read: Callable[[Path], object], data: bytes) -> None:
    (home / name).write_bytes(data)
    read(home)
