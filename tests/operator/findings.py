"""Who says what about a hub that lied: its members' sites, and whoever holds its export."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.errors import ProtocolViolation, Refused
from hansa.export_folder import replay_of, source_of
from hansa.hub import exports
from hansa.mail.boxes import SetAside
from hansa.mail.letters import Cosigned
from hansa.verify.compare import compare, copy_of_export, copy_of_note
from hansa.verify.verdict import verify
from hansa_site.journal import Alarm, Run, Witnessed
from tests.world import World


@dataclass(frozen=True)
class Found:
    """`by`: site, verify, replay or compare. `grave`: false, and not only missing or worth a look."""

    by: str
    sentence: str
    grave: bool = True


class Listening:
    """Hears what each site answers when it is asked to cosign."""

    def __init__(self, world: World, replace: Callable[[object, str, object], None]) -> None:
        self.said: list[Found] = []
        for name, desk in world.desks.items():
            if name in world.names:
                replace(desk, "put_note", partial(self._note, name, desk.put_note))

    def _note(self, site: str, put: Callable[..., None], receiver: str, kind: str, payload: Any) -> None:
        if isinstance(payload, Cosigned) and payload.status != 200:
            words = payload.body.decode().strip()
            self.said.append(Found("site", f"'{site}' does not cosign: {payload.status} {words}"))
        put(receiver, kind, payload)


def of_sites(world: World) -> Iterator[Found]:
    for name in world.names:
        with Session(world.engines[name]) as db:
            for alarm in db.scalars(select(Alarm).order_by(Alarm.id)):
                yield Found("site", f"'{name}' raises an alarm: {alarm.text}")
            for reason in db.scalars(select(SetAside.reason).order_by(SetAside.id)):
                yield Found("site", f"'{name}' sets a letter aside: {reason}")
            for status in db.scalars(select(Run.status)):
                if status.startswith("refused"):
                    yield Found("site", f"'{name}' {status}")


def of_export(world: World, out: Path) -> Iterator[Found]:
    """The verifier's findings, with the members' own charter; then each member's head beside the export."""
    source = source_of(out)
    try:
        verdict = verify(source, world.signed, partial(replay_of, out))
    except ProtocolViolation as violation:
        yield Found("verify", str(violation))
        return
    for one in verdict.findings:
        by = "replay" if one.where.startswith("evidence/") else "verify"
        yield Found(by, f"{one.where}: {one.sentence}", one.severity == "failed")
    if verdict.releases > len(verdict.replayed):
        lacking = verdict.releases - len(verdict.replayed)
        yield Found(
            "replay", f"{lacking} of {verdict.releases} releases have no evidence from which they follow", False
        )
    for name in world.names:
        with Session(world.engines[name]) as db:
            notes = db.scalars(select(Witnessed.note).order_by(Witnessed.at)).all()
        for note in notes:
            yield from _beside(name, note, out)


def _beside(name: str, note: bytes, out: Path) -> Iterator[Found]:
    try:
        found = compare(copy_of_note(f"the head of '{name}'", note), copy_of_export("the export", source_of(out)))
    except (ProtocolViolation, Refused) as error:
        yield Found("compare", str(error), False)
        return
    if found.outcome in ("forked", "lost"):
        yield Found("compare", found.sentence)


def export(world: World, out: Path) -> None:
    exports.export(world.hub(), out)
