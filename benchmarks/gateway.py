"""Letters of fifty sites through one hub process: fifty mailbox servers, fifty gateway threads, one SQLite database."""

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa.charter import Rules
from hansa.crypto.bundles import HUB_BYTES, MEMBER_BYTES, HubKeys, MemberKeys
from hansa.hub.gateway import Door, Gateway
from hansa.mail import rules
from hansa.mail.blobs import AtHub, Folder
from hansa.mail.boxes import Desk, Inbox
from hansa.mail.carriage import Carriage
from hansa.mail.database import migrate, open_engine
from hansa.mail.letters import Refusal
from hansa.mail.post import ToHub
from hansa.mail.tls import Address
from hansa.mail.valkey import EmbeddedValkey
from hansa.messages import HUB

SITES, EACH = 50, 40


def lines() -> Iterable[str]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        base = Path(folder)
        names = [f"s{place:02}" for place in range(SITES)]
        hub_keys, keys = (
            HubKeys(secrets.token_bytes(HUB_BYTES)),
            {name: MemberKeys(secrets.token_bytes(MEMBER_BYTES)) for name in names},
        )
        members = [charters.member_of(name, name, held) for name, held in keys.items()]
        charter = charters.draft("bench", charters.hub_of(hub_keys), members, Rules(), "hansa/bench/0")
        every = [(HUB, hub_keys), *keys.items()]
        desks = {name: Desk(name, charter, held, Folder(base / name / "chunks")) for name, held in every}
        engine = open_engine(f"sqlite:///{base}/hub.sqlite")
        migrate(engine, "hub")
        stop, gateways = threading.Event(), []
        for name in names:
            site, hub = _server(stack, base / name / "mailbox", name)
            way = ToHub(site, name)
            for number in range(EACH):
                way.send(desks[name].note(HUB, f"{number:032x}", "refusal", Refusal("not today")))
            carriage = Carriage(desks[HUB], name, AtHub(hub, name), way.send, secrets.token_bytes, time.monotonic)
            gateways.append(Gateway(Door(engine, desks[HUB], name, carriage), name, hub, lambda _run: None, stop))
        began = time.perf_counter()
        for gateway in gateways:
            gateway.start()
        while _kept(engine) < SITES * EACH:
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        stop.set()
        for gateway in gateways:
            gateway.join()
    yield f"| letters kept, {SITES} sites, one process | {SITES * EACH / seconds:.0f} a second |"
    yield f"| its memory, with fifty sites' keys that only a bench has | {_resident() / 2**20:.0f} MiB |"


def _server(stack: ExitStack, folder: Path, name: str) -> tuple[Address, Address]:
    theirs, ours = secrets.token_hex(16), secrets.token_hex(16)
    access = rules.mailbox_rules(name, rules.password_digest(theirs), rules.password_digest(ours))
    server = stack.enter_context(EmbeddedValkey(folder, access, rules.HUB, ours))
    return Address(server.client_url(rules.site_user(name), theirs)), Address(server.client_url(rules.HUB, ours))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _kept(engine: Engine) -> int:
    with Session(engine) as db:
        return db.scalar(select(func.count()).select_from(Inbox)) or 0
