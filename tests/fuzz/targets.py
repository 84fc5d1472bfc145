"""Every parser of bytes that somebody else made, with seeds from a real job."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import evidence_file, jobs, plan, replay
from hansa.audit import checkpoint, note, policy, proof, tiles, witnessing
from hansa.cli.consortium import read_consortium
from hansa.cli.job import read_plan
from hansa.crypto.keys import lock_box, open_box
from hansa.errors import ProtocolViolation
from hansa.hub import settings as hub_settings
from hansa.jobs.base import Step
from hansa.jobs.regression import formula
from hansa.mail.boxes import Inbox, Outbox
from hansa.mail.letters import (
    PAYLOADS,
    TO_HUB,
    TO_SITE,
    Ack,
    Budgets,
    Cosigned,
    Here,
    Open,
    Payload,
    Place,
    Refusal,
    Reply,
    Round,
    Shown,
    Standing,
    Waits,
    Wanted,
)
from hansa.mail.post import letter_of
from hansa.messages import HUB, Header, decode, encode, read_envelope
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.secure_sum import Contribute
from hansa_site import settings as site_settings
from hansa_site import tables
from tests.fuzz import offline
from tests.fuzz.target import Parse, Target
from tests.grown import LOG, Grown, all_of_them, cosigned_by
from tests.test_replay import evidence_of, signed_charter
from tests.world import World


class Finished(NamedTuple):
    world: World
    run: str


def finished(folder: Path) -> Finished:
    world = World(folder, sites=3)
    run = world.propose()
    if world.finish(run).status != "done":
        raise RuntimeError(world.job(run).reason)
    return Finished(world, run)


def envelopes(done: Finished) -> dict[str, list[bytes]]:
    """Real letters, by receiver."""
    found: dict[str, list[bytes]] = {}
    for engine in done.world.engines.values():
        with Session(engine) as db:
            for receiver, data in db.execute(select(Outbox.receiver, Outbox.data).order_by(Outbox.id)):
                found.setdefault(receiver, []).append(data)
    with Session(done.world.engines[HUB]) as db:
        data = db.scalars(select(Inbox.data).where(Inbox.kind == "hello")).first() or b""
    desk = done.world.desks[HUB]
    header = read_envelope(data)[0]
    desk.owe(header, data, 0.0)
    found[header.sender] += desk.acks(1.0)[header.sender]
    return found


def targets(done: Finished, folder: Path) -> dict[str, Target]:
    letters = envelopes(done)
    payloads, messages = _opened(done, letters)
    world, proof = done.world, encode(evidence_of(done.world, done.run))
    charter = signed_charter(world)
    found = {f"a letter to {name}": Target(partial(_letter, world, name), tuple(letters[name])) for name in (HUB, "s0")}
    found |= {f"payload {kind}": Target(_again(PAYLOADS[kind]), seeds) for kind, seeds in payloads.items()}
    found |= {f"message {type_.__name__}": Target(_again(type_), seeds) for type_, seeds in messages.items()}
    found["header"] = Target(_again(Header), tuple(read_envelope(data)[1].header for data in letters[HUB]))
    found["letter's argument"] = Target(_argument, tuple(msgspec.json.encode(data)[1:-1] for data in letters["s0"][:3]))
    found["box"] = Target(_box, (lock_box(bytes(32), b"a chunk", b"its digest"),))
    found["charter"] = Target(_charter, (charter,))
    found["plan"] = Target(partial(_plan, world), (world.job(done.run).plan,))
    found["step"] = Target(_again(Step), tuple(decode(data, Contribute).public for data in messages[Contribute]))
    found["evidence"] = Target(_again(replay.Evidence), (proof,))
    found["replay"] = Target(partial(_replay, world), (proof,))
    evidence_file.write(folder / "seed.zip", proof, [], lambda _digest: b"")
    found["evidence file"] = Target(partial(_file, folder / "f.zip", _zip), ((folder / "seed.zip").read_bytes(),))
    return found | log() | offline.verifier() | offline.carried() | offline.keys(folder) | texts(folder)


def log() -> dict[str, Target]:
    """What a log, its witnesses and those who keep its receipts send each other."""
    grown = Grown([b"one", b"two", b"three"])
    signed = cosigned_by(grown.head())
    receipt = proof.Receipt(b"two", 1, grown.inclusion(1), signed)
    asked = witnessing.Asked(2, grown.consistency(2), signed)
    return {
        "note": Target(lambda data: bytes(note.parse(data)), (bytes(signed),)),
        "vkey": Target(lambda data: str(note.parse_vkey(note.decode_text(data))).encode(), (str(LOG.key).encode(),)),
        "checkpoint": Target(_checkpoint, (signed.text.encode(),)),
        "policy": Target(lambda data: str(policy.parse(data)).encode(), (str(all_of_them(2)).encode(),)),
        "receipt": Target(lambda data: bytes(proof.parse(data)), (bytes(receipt),)),
        "add-checkpoint": Target(lambda data: bytes(witnessing.parse(data)), (bytes(asked),)),
        "bundle": Target(lambda data: tiles.bundle(tiles.parse_bundle(data, 3)), (tiles.bundle(grown.entries),)),
        "tile's path": Target(
            lambda data: str(tiles.parse_path(note.decode_text(data))).encode(), (b"tile/0/x001/002",)
        ),
    }


def _checkpoint(data: bytes) -> bytes:
    return checkpoint.parse_text(note.decode_text(data)).text.encode()


def texts(folder: Path) -> dict[str, Target]:
    """What people write, and tables; no world is needed for these."""
    import polars as pl

    pl.DataFrame({"x": [1.0, 2.0], "g": ["a", None]}).write_parquet(folder / "seed.parquet")
    parquet = (folder / "seed.parquet").read_bytes()
    plans = tuple(f'kind = "{kind}"\ntable = "t"\n[parameters]\n{text}\n'.encode() for kind, text in PARAMETERS)
    site = b'name = "a"\nmailbox = "redis://h"\ndatabase = "sqlite://"\n' + TABLE.encode()
    hub = b'database = "sqlite://"\nprivate = "redis://h"\nchunks = "s3://b/p"\n[store]\nregion="x"\n[mailboxes]\na="b"'
    group = b'name = "c"\n[rules]\nminimum_sites = 3\n' + b"".join(
        f'[[site]]\nname = "{name}"\n[site.policy]\nkinds = ["glm"]\n'.encode() for name in "abc"
    )
    csv = b'x,g,"a name"\n1,a,2\n2.5,"b,c",\n,?,NA\n'
    return {
        "PLAN.toml": Target(partial(_file, folder / "plan.toml", _plan_file), plans),
        "CONSORTIUM.toml": Target(partial(_file, folder / "group.toml", _consortium), (group,)),
        "site.toml": Target(partial(_file, folder / "site.toml", _site_settings), (site,)),
        "hub.toml": Target(partial(_file, folder / "hub.toml", _hub_settings), (hub,)),
        "formula": Target(_formula, FORMULAS),
        "parameters": Target(_parameters, tuple(b"%s\n%s" % (kind.encode(), text) for kind, text in JSON)),
        "CSV": Target(partial(_file, folder / "t.csv", _table), (csv,)),
        "Parquet": Target(partial(_file, folder / "t.parquet", _table), (parquet,)),
    }


DIGEST = bytes(range(32))
SELDOM: dict[str, Payload] = {  # what a good job of small vectors needs none of
    "ack": Ack(DIGEST),
    "refusal": Refusal("no"),
    "wanted": Wanted((DIGEST,)),
    "here": Here(DIGEST, (DIGEST, bytes(32))),
    "reply": Reply(1, b"message", b"beside"),
    "checkpoint": Shown(b"old 0\n\nan origin\n", 3, (Place(7, (bytes(32), bytes(32))),), b"a note"),
    "cosigned": Cosigned(8, 409, b"7\n", 3),
    "waits": Waits(1_800_000_000),
    "budgets": Budgets((Standing("t", 10**9, 5, 3, "1", "1e-6", "person", "id"),)),
}
TABLE = '[[table]]\nname = "t"\npath = "t.csv"\n[table.categories]\ng = ["a", "b"]\n[policy]\nminimum_sites = 3\n'
FORMULAS = (b"y ~ a + b", b"y ~ a * C(b) - 1", b"log(y) ~ (a + b + c)^2", b"a * b", b"y ~ a.b + sqrt(x1) / z")
PARAMETERS = (
    ("summary", 'columns = ["x", "y"]'),
    ("histogram", 'column = "x"\nbins = 10\nlow = 0.0\nhigh = 1e3'),
    ("table", 'rows = "g"\ncolumns = "h"'),
    ("glm", 'formula = "y ~ a + C(b)"\nfamily = "binomial"'),
)
JSON = (
    ("summary", b'{"columns":["x","y"]}'),
    ("histogram", b'{"column":"x","bins":10,"low":0.0,"high":1e3}'),
    ("table", b'{"rows":"g","columns":"h","levels":{"g":["a","b"]}}'),
    ("glm", b'{"formula":"y ~ a + C(b)","family":"poisson","levels":{"b":["u","v"]}}'),
)


def _again(type_: Any) -> Parse:
    return lambda data: encode(decode(data, type_))


def _opened(
    done: Finished, letters: Mapping[str, list[bytes]]
) -> tuple[dict[str, tuple[bytes, ...]], dict[type, tuple[bytes, ...]]]:
    """Payloads by kind, and the protocols' messages by type: what each state accepts, of a site's and of the hub's."""
    payloads: dict[str, list[bytes]] = {kind: [] for kind in PAYLOADS}
    for kind, payload in SELDOM.items():
        payloads[kind].append(encode(payload))
    carried = list[bytes]()
    for receiver, many in letters.items():
        desk = done.world.desks[receiver]
        for data in many:
            header, envelope = desk.read(data, TO_HUB if receiver == HUB else TO_SITE)
            payload = desk.open(header, envelope)
            payloads[header.kind].append(encode(payload))
            if isinstance(payload, Open | Round | Reply):
                carried.append(payload.message)
    messages: dict[type, tuple[bytes, ...]] = {}
    for module in (key_setup, secure_sum):
        for state in vars(module).values():
            if isinstance(type_ := getattr(state, "accepts", None), type):
                messages[type_] = tuple(data for data in carried if _is(data, type_))
    return {kind: tuple(seeds) for kind, seeds in payloads.items()}, messages


def _is(data: bytes, type_: type) -> bool:
    try:
        decode(data, type_)
    except ProtocolViolation:
        return False
    return True


def _letter(world: World, name: str, data: bytes) -> bytes:
    """As a gateway or a site does; what is accepted must be a letter that was sent."""
    desk = world.desks[name]
    header, envelope = desk.read(data, TO_HUB if name == HUB else TO_SITE)
    desk.open(header, envelope)
    return encode(envelope)


def _argument(data: bytes) -> None:
    letter_of(data.decode("utf-8", "surrogateescape"))
    letter_of(data)


def _box(data: bytes) -> None:
    open_box(bytes(32), data, b"its digest")


def _charter(data: bytes) -> bytes:
    agreed = charters.load(data)
    return charters.sealed(agreed, decode(data, charters.SignedCharter).signatories)


def _plan(world: World, data: bytes) -> bytes:
    found = plan.load(data, world.charter)
    found.job()
    return encode(found)


def _replay(world: World, data: bytes) -> None:
    replay.replay(replay.read(data), world.charter)


def _parameters(data: bytes) -> None:
    kind, _, raw = data.partition(b"\n")
    try:
        table = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(table, dict):
        jobs.parse(kind.decode("utf-8", "replace"), table)


def _formula(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    formula.parse(text, "" if "~" in text else "y")


def _file(path: Path, read: Callable[[Path], None], data: bytes) -> None:
    path.write_bytes(data)
    read(path)


def _zip(path: Path) -> None:
    found = evidence_file.EvidenceFile(path)
    found.evidence()
    with suppress(LookupError):
        found.chunk(bytes(32))


def _plan_file(path: Path) -> None:
    question = read_plan(path)
    jobs.parse(question.kind, question.parameters)


def _consortium(path: Path) -> None:
    read_consortium(path)


def _site_settings(path: Path) -> None:
    site_settings.read_settings(path.parent)


def _hub_settings(path: Path) -> None:
    hub_settings.read_settings(path.parent)


def _table(path: Path) -> None:
    source = site_settings.TableSource("t", str(path))
    found = tables.schema(source, path.parent)
    tables.load(source, path.parent, tuple(column.name for column in found.columns))
