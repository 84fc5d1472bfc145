"""The home of a world's first site with people who have keys of their own, as its console opens it."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hansa import key_file
from hansa.audit.log import read as read_entry
from hansa.charter import Rules
from hansa.crypto.bundles import HUB_BYTES, MEMBER_BYTES
from hansa.files import write_toml
from hansa.plan import Question
from hansa.wrapping import Way, passphrase
from hansa_dashboard.at_site import session
from hansa_dashboard.at_site.doors import SiteDoors, doors_of
from hansa_site import people
from hansa_site.journal import OwnEntry, Run, Waiting
from hansa_site.policy import Policy
from tests.world import EVERYTHING, World

SITE = "s0"
ROLES = {
    "ada": "analyst",
    "ann": "approver",
    "bob": "approver",
    "sue": "steward",
    "eva": "auditor",
    "ed": "administrator",
}


def secret(name: str) -> str:
    return f"the passphrase of {name}"


def quick_keys(patch: pytest.MonkeyPatch) -> None:
    """The same key derivation, cheaper: a test opens many keys."""
    patch.setattr(passphrase, "MEMORY_KIB", 64)
    patch.setattr(passphrase, "PASSES", 1)


class Console:
    """`home` is the world's own folder, which its sites take for theirs."""

    def __init__(
        self, folder: Path, policy: Policy, roles: Mapping[str, str] = ROLES, rules: Rules | None = None
    ) -> None:
        self.world, self.home = World(folder, sites=3, policy=policy, rules=rules), folder
        chance = random.Random(0)  # as the world draws
        chance.randbytes(HUB_BYTES)
        key_file.make(folder, chance.randbytes(MEMBER_BYTES), Way(passphrase_file="site.secret"))
        (folder / "charter").write_bytes(self.world.signed)
        table = {"name": "numbers", "path": f"{SITE}.csv"}
        settings = {"name": SITE, "mailbox": "unix:///nowhere", "database": f"sqlite:///{folder}/{SITE}.sqlite"}
        write_toml(folder / "site.toml", {**settings, "table": [table]})
        write_toml(folder / "policy.toml", msgspec.to_builtins(policy))
        first = sorted(roles, key=lambda name: "administrator" not in roles[name])
        with Session(self.engine) as db, db.begin():
            for name in first:
                (folder / f"{name}.secret").write_text(secret(name))
                people.add(
                    db, folder, name, roles[name], self.world.now, Way(passphrase_file=str(folder / f"{name}.secret"))
                )
                (folder / f"{name}.secret").unlink()  # what a person knows is nowhere in the home

    @property
    def engine(self) -> Engine:
        return self.world.engines[SITE]

    @property
    def doors(self) -> SiteDoors:
        return doors_of(self.home)

    def signed_in(self, name: str, patch: pytest.MonkeyPatch) -> bytes:
        """From now on the page meets this person's cookie."""
        token = self.doors.sign_in({"name": name, "passphrase": secret(name)}, "127.0.0.1")
        patch.setattr(session, "token", lambda: token)
        return token

    def shown(self, patch: pytest.MonkeyPatch) -> None:
        """The page of this site, by this world's clock."""
        patch.setenv("HANSA_SITE_HOME", str(self.home))
        patch.setattr(session, "now", lambda: self.world.now)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The site's process works off what is handed in."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.005):
                self.world.sites[SITE].decide(self.world.now)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def ask(self, **more: Any) -> str:
        """A question of this very member, over everybody's table; gives the run."""
        asked = {"disclosure": EVERYTHING, **more}
        return self.world.ask(
            Question("histogram", "numbers", {"column": "x", "low": 0.0, "high": 9.0, "bins": 2}, **asked)
        )

    def waits(self, run: str) -> str:
        with Session(self.engine) as db:
            rows = db.scalars(select(Waiting).where(Waiting.run == run, Waiting.closed_at.is_(None))).all()
        return ", ".join(row.what for row in rows)

    def until(self, run: str, what: str) -> None:
        """`what` waits for a person here, or the job has begun."""
        self.world.run_until(lambda: what in (self.waits(run), "running" if self._runs(run) else ""))

    def _runs(self, run: str) -> bool:
        with Session(self.engine) as db:
            row = db.get(Run, run)
            return row is not None and row.ended_at is None and row.steps > 0

    def acts(self) -> list[tuple[str, dict[str, str]]]:
        with Session(self.engine) as db:
            rows = db.scalars(select(OwnEntry.data).order_by(OwnEntry.sequence)).all()
        return [(entry.act, entry.details) for entry in map(read_entry, rows)]

    def pseudonym(self, name: str) -> str:
        with Session(self.engine) as db:
            return people.here(db, name).pseudonym
