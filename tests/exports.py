"""Exports of logs, written by a writer of its own: the verifier is held to the formats and not to the hub's code.

A `Log` is played by hand, entry after entry, with everybody's keys; what it is changed to, `files` signs and cosigns
anew, as a hub would whose witnesses all look away. A test that wants less takes files out, or signatures.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from hansa import charter as charters
from hansa.charter import Charter, Rules
from hansa.crypto.bundles import HubKeys, MemberKeys
from hansa.jobs.base import Column, Schema
from hansa.messages import HUB, encode
from hansa.plan import Question, make
from hansa.verify.tiles import Source
from tests import cards

NAMES = ("a", "b", "c")
RUN = "5" * 32
START = 1_800_000_000_000  # milliseconds
ANSWER = hashlib.sha256(b"{}").hexdigest()
LOCKED = ["1" * 64, "2" * 64]
Files = dict[str, bytes]


def key_of(signing: Any, purpose: str, message: bytes) -> bytes:
    return bytes(signing.sign(purpose, message))


@dataclass
class Log:
    """The leaves of a log, and what lies beside them."""

    charter: Charter
    hub: HubKeys
    keys: Mapping[str, MemberKeys]
    signed: dict[int, bytes]
    leaves: list[bytes] = field(default_factory=list)
    payloads: Files = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    now: int = START

    def add(self, by: str, act: str, run: str = "", content: bytes | None = None, **details: str) -> int:
        """Signs and appends an entry, a second after the one before; gives its place."""
        self.now += 1_000
        return self.put(by, act, run, content, {name.replace("_", " "): value for name, value in details.items()})

    def put(
        self,
        by: str,
        act: str,
        run: str,
        content: bytes | None,
        details: Mapping[str, str],
        *,
        at: int | None = None,
        sequence: int | None = None,
        key: Any = None,
        origin: str = "",
    ) -> int:
        commitment = b"" if content is None else self.pay(content)
        number = self.counts.get(by, 0) if sequence is None else sequence
        self.counts[by] = number + 1
        at = self.now if at is None else at
        entry = encode((origin or self.charter.origin, by, number, at, act, run, dict(details), commitment))
        signing = key or (self.hub.signing if by == HUB else self.keys[by].consent)
        self.leaves.append(encode((entry, signing.sign("log entry", entry))))
        return len(self.leaves) - 1

    def pay(self, content: bytes) -> bytes:
        salt = hashlib.sha256(b"salt" + content).digest()
        commitment = hashlib.sha256(salt + content).digest()
        self.payloads[commitment.hex()] = encode((salt, content))
        return commitment

    def change(self, place: int, *, key: Any = None, **fields: Any) -> None:
        """Rewrites fields of an entry and signs it again: with the hub's key, unless another is given."""
        entry = list(read(self.leaves[place]))
        names = ["log", "by", "sequence", "milliseconds", "act", "run", "details", "payload"]
        for name, value in fields.items():
            entry[names.index(name)] = value
        raw = encode(tuple(entry))
        self.leaves[place] = encode((raw, (key or self.hub.signing).sign("log entry", raw)))

    def where(self, act: str, by: str = "", nth: int = 0) -> int:
        found = [place for place, leaf in enumerate(self.leaves) if read(leaf)[4] == act and by in ("", read(leaf)[1])]
        return found[nth]


def read(leaf: bytes) -> list[Any]:
    """The fields of an entry."""
    return list(msgspec.msgpack.decode(msgspec.msgpack.decode(leaf)[0]))


def new_log(rules: Rules | None = None, names: Sequence[str] = NAMES) -> Log:
    """A log that adopted its charter."""
    charter = cards.charter(names, rules)
    keys = {name: cards.member_keys(place) for place, name in enumerate(names)}
    return opened(charter, cards.hub_keys(), keys)


def opened(charter: Charter, hub: HubKeys, keys: Mapping[str, MemberKeys]) -> Log:
    log = Log(charter, hub, keys, {1: cards.signed(charter, keys)})
    log.add(HUB, "log opened")
    adopt(log, charter)
    return log


def adopt(log: Log, charter: Charter) -> None:
    log.charter = charter
    log.add(HUB, "charter adopted", version=str(charter.version), charter=charter.digest.hex())
    for name in log.keys:
        if name in {member.id for member in charter.members}:
            log.add(name, "charter accepted", version=str(charter.version), charter=charter.digest.hex())


def amend(log: Log, names: Sequence[str], keys: Mapping[str, MemberKeys], also: Mapping[str, MemberKeys] = {}) -> None:
    """The next version, with these members and keys, signed by the keys of both versions; adopted by the log."""
    before, held = log.charter, {**log.keys, **keys}
    members = [charters.member_of(name, f"Institution {name}", held[name]) for name in names]
    after = charters.draft(before.consortium, charters.hub_of(log.hub), members, before.rules, before.origin, before)
    signatories = [charters.sign(after, name, held[name]) for name in names]
    signatories += [charters.sign(after, name, old) for name, old in log.keys.items()]
    log.signed[after.version] = charters.sealed(after, signatories)
    log.keys = held
    adopt(log, after)


def begin_anew(log: Log, held: int, seen: int, heard: Sequence[str] = NAMES, **changed: str) -> tuple[Log, Files]:
    """The log that follows, where the hub holds the first `held` entries of this one and every member had cosigned
    `seen`; and this one, as it lies in an export. `changed`: what the first entry says otherwise."""
    before, members = log.charter, list(log.charter.members)
    origin = charters.next_origin(before)
    after = charters.draft(before.consortium, before.hub, members, before.rules, origin, before)
    names = [member.id for member in members]
    said = {"former log": before.origin, "former size": str(held), "former root": root(log.leaves[:held]).hex()}
    said |= {"witnessed": note(log, seen, ()).decode(), "heard": ", ".join(heard)}
    new = Log(after, log.hub, log.keys, {**log.signed, after.version: cards.signed(after, log.keys)}, now=log.now)
    new.put(HUB, "log opened", "", None, said | {name.replace("_", " "): value for name, value in changed.items()})
    new.add(HUB, "charter adopted", version=str(after.version), charter=after.digest.hex())
    for name in names:
        carry_on(new, log, name, seen)
        new.add(name, "charter accepted", version=str(after.version), charter=after.digest.hex())
    kept = Log(before, log.hub, log.keys, log.signed, log.leaves[:held], dict(log.payloads), now=log.now)
    return new, {f"former/{before.log_began}/{path}": data for path, data in files(kept).items()}


def carry_on(new: Log, log: Log, name: str, size: int, root_of: bytes = b"") -> None:
    """What a member says of the log before."""
    own = [leaf for leaf in log.leaves if read(leaf)[1] == name]
    head = {"size": str(size), "root": (root_of or root(log.leaves[:size])).hex()}
    new.add(name, "log continued", log=log.charter.origin, entries=str(len(own)), digest=root(own).hex(), **head)


def plan_for(log: Log, run: str = RUN, proposer: str = "", **parameters: Any) -> Any:
    sites = tuple(member.id for member in log.charter.members)
    question = Question("summary", "numbers", {"columns": ["x"], **parameters}, sites)
    schema = Schema("numbers", (Column("x", "number"),))
    return make(question, log.charter, run, proposer or sites[0], dict.fromkeys(sites, schema))


def play(log: Log, run: str = RUN, answer: str = ANSWER, locked: Sequence[str] = LOCKED) -> None:
    """A job of two steps, from its proposal to the last member that saw its answer."""
    plan = plan_for(log, run)
    sites, digest = plan.sites, plan.digest.hex()
    totals = [hashlib.sha256(one.encode()).hexdigest() for one in locked]
    play_plan(log, plan, encode(plan))
    log.add(HUB, "setup complete", run, session="7" * 64, plan=digest, sites=", ".join(sites))
    for step, (lock, total) in enumerate(zip(locked, totals, strict=True)):
        play_step(log, run, sites, step, lock, total)
    log.add(HUB, "released", run, answer=answer, sites=", ".join(sites))
    log.add(HUB, "ended", run, status="done")
    for site in sites:
        log.add(site, "release seen", run, answer=answer)
    log.add(HUB, "answer read", run, person="p1")


def play_plan(log: Log, plan: Any, content: bytes) -> None:
    run, sites, digest, who = plan.run, plan.sites, plan.digest.hex(), plan.proposer
    said = {"kind": plan.kind, "table": plan.table, "person": "p1", "member": who}
    log.add(HUB, "proposal asked", run, content, plan=digest, **said)
    log.add(who, "proposal signed", run, plan=digest)
    log.add(HUB, "consent asked", run, sites=", ".join(sites))
    for site in sites:
        log.add(site, "consent given", run, plan=digest)


def play_step(log: Log, run: str, sites: Sequence[str], step: int, lock: str, total: str) -> None:
    for site in sites:
        log.add(site, "contributed", run, step=str(step), header="9" * 64)
    log.add(HUB, "survivors locked", run, step=str(step), sites=", ".join(sites))
    for act, name, value in (("locked", "survivors", lock), ("unmasked", "shares", "8" * 64)):
        for site in sites:
            log.add(site, act, run, step=str(step), **{name: value})
    log.add(HUB, "total opened", run, step=str(step), total=total, locked=lock)


def good() -> Log:
    """A log with signs of life around one whole job."""
    log = new_log()
    log.add(HUB, "signed in", person="p1", member="a")
    for site in NAMES:
        log.add(HUB, "site seen", site=site, version="0.2.0", tables="1")
        log.add(site, "table added", table="numbers", schema="4" * 64)
    play(log)
    log.add("b", "log reviewed", content=b"nothing strange", size="12", root="0" * 64)
    return log


# ---- files ----


def files(log: Log, earlier: Sequence[int] = (), cosigning: Sequence[str] | None = None, **changed: Any) -> Files:
    """The export of the log as it is now, with earlier checkpoints of these sizes."""
    found: Files = {f"charters/{version}": data for version, data in log.signed.items()}
    found |= {f"payloads/{name}": data for name, data in log.payloads.items()}
    found["policy"] = policy(log.charter)
    found |= tiles(log.leaves)
    found["checkpoint"] = note(log, len(log.leaves), cosigning)
    found |= {f"checkpoints/{size}": note(log, size, cosigning) for size in earlier}
    return found | changed


def source(found: Mapping[str, bytes]) -> Source:
    def names(folder: str) -> Sequence[str]:
        return sorted(path[len(folder) + 1 :] for path in found if path.startswith(folder + "/"))

    return Source(found.get, names)


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def tile(level: str, number: int, width: int) -> str:
    name = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        name = f"x{number % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


def tiles(leaves: Sequence[bytes]) -> Files:
    found: Files = {}
    for start in range(0, len(leaves), 256):
        part = leaves[start : start + 256]
        bundle = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in part)
        found[tile("entries", start // 256, len(part))] = bundle
    unit, level = 1, 0
    while len(leaves) >= unit:
        row = [root(leaves[at : at + unit]) for at in range(0, len(leaves) // unit * unit, unit)]
        for start in range(0, len(row), 256):
            part = row[start : start + 256]
            found[tile(str(level), start // 256, len(part))] = b"".join(part)
        unit, level = unit * 256, level + 1
    return found


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def line(name: str, kind: int, public: bytes, signature: bytes) -> str:
    return f"— {name} {base64.b64encode(key_id(name, kind, public) + signature).decode()}\n"


def note(log: Log, size: int, cosigning: Sequence[str] | None = None, **changed: Any) -> bytes:
    """The checkpoint over the first `size` leaves, signed by the log and cosigned by these members, or by all."""
    origin, head = changed.get("origin", log.charter.origin), changed.get("root", root(log.leaves[:size]))
    text = f"{origin}\n{size}\n{base64.b64encode(head).decode()}\n"
    key = ed25519.Ed25519PrivateKey.from_private_bytes(log.hub.log)
    whole = text + "\n" + line(origin, 1, key.public_key().public_bytes_raw(), key.sign(text.encode()))
    seconds = changed.get("seconds", (read(log.leaves[size - 1])[3] if size else log.now) // 1000 + 2)
    members = [member.id for member in log.charter.members]
    for site in members if cosigning is None else cosigning:
        whole += cosign(origin, site, log.keys[site].witness, text, seconds, size, head)
    return whole.encode()


def cosign(origin: str, site: str, seeds: tuple[bytes, ...], text: str, seconds: int, size: int, head: bytes) -> str:
    name, stamp = f"{origin}/{site}", seconds.to_bytes(8, "big")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seeds[0])
    lattice = mldsa.MLDSA44PrivateKey.from_seed_bytes(seeds[1])
    subtree = b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + stamp + bytes([len(origin)]) + origin.encode()
    subtree += bytes(8) + size.to_bytes(8, "big") + head
    plain = key.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    return line(name, 4, key.public_key().public_bytes_raw(), stamp + plain) + line(
        name, 6, lattice.public_key().public_bytes_raw(), stamp + lattice.sign(subtree)
    )


def verifier(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def policy(charter: Charter) -> bytes:
    told = [f"log {verifier(charter.origin, 1, charter.hub.log)}"]
    for member in charter.members:
        name = f"{charter.origin}/{member.id}"
        told.append(f"witness {member.id}-ed25519 {verifier(name, 4, member.witness)}")
        told.append(f"witness {member.id}-mldsa {verifier(name, 6, member.witness_lattice)}")
        told.append(f"group {member.id} all {member.id}-ed25519 {member.id}-mldsa")
    told.append(f"group members {charter.quorum} {' '.join(member.id for member in charter.members)}")
    return "\n".join([*told, "quorum members", ""]).encode()
