"""What an operator can lay hands on: the database without its triggers, the hub's keys, its letters and its code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hansa.audit import log, roster, tree
from hansa.audit.checkpoint import Checkpoint
from hansa.audit.log import Entry
from hansa.audit.tree import Head
from hansa.crypto.bundles import HubKeys
from hansa.crypto.keys import SigningKey
from hansa.crypto.merkle import leaf
from hansa.hub import checkpoints
from hansa.hub import log as the_log
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, Job, NodeRow
from hansa.mail.letters import Payload
from hansa.messages import HUB, decode
from tests.world import World

Change = Callable[[str, Any], Payload | None]


class Operator:
    """`code`: changes of the program, undone when the manipulation is over."""

    def __init__(self, world: World, run: str, code: ExitStack) -> None:
        self.world, self.run, self.code = world, run, code
        self.desk, self.charter = world.desks[HUB], world.charter
        assert isinstance(self.desk.keys, HubKeys)
        self.keys: HubKeys = self.desk.keys

    @contextmanager
    def db(self) -> Iterator[Session]:
        with Session(self.world.engines[HUB]) as db, db.begin():
            yield db

    def replace(self, place: object, name: str, made: object) -> None:
        """The program does this instead, from now on."""
        self.code.enter_context(patch.object(place, name, made))

    # ---- entries ----

    def leaves(self) -> list[bytes]:
        with self.db() as db:
            return list(db.scalars(select(EntryRow.data).order_by(EntryRow.number)))

    def where(self, act: str, by: str = HUB, nth: int = 0) -> int:
        found = [place for place, one in enumerate(map(log.read, self.leaves())) if (one.act, one.by) == (act, by)]
        return found[nth]

    def sign(self, entry: Entry, key: SigningKey | None = None) -> bytes:
        """With the hub's own key, whoever the entry is said to be by."""
        return log.sign(entry, key or self.keys.signing)

    def changed(self, data: bytes, **fields: Any) -> bytes:
        """The entry with other fields; `details` are laid over those that it has."""
        entry = log.read(data)
        fields = {**fields, "details": entry.details | fields.get("details", {})}
        return self.sign(msgspec.structs.replace(entry, **fields))

    def made(self, by: str, act: str, run: str = "", **details: str) -> Entry:
        """An entry that would be the author's next."""
        sequence = sum(log.read(data).by == by for data in self.leaves())
        return Entry(self.charter.origin, by, sequence, int(self.world.now * 1000), act, run, details, b"")

    def change(self, place: int, **fields: Any) -> None:
        leaves = self.leaves()
        leaves[place] = self.changed(leaves[place], **fields)
        self.rewrite(leaves)

    def append(self, *entries: bytes) -> None:
        """As they are, whatever they are: the hub's program isn't asked."""
        self.rewrite([*self.leaves(), *entries], number_anew=False)

    def rewrite(self, leaves: Sequence[bytes], number_anew: bool = True) -> None:
        """The whole log: entries, nodes, and checkpoints signed anew. The hub's own entries are numbered without gaps.
        Cosignatures of what isn't the same any more are thrown away, for they would give it away."""
        leaves = list(self._numbered(leaves)) if number_anew else leaves
        with self.db() as db:
            before = {row.size: row for row in db.scalars(select(CheckpointRow))}
            db.execute(delete(EntryRow))
            db.execute(delete(NodeRow))
            self.store(db, leaves)
            for size, row in before.items():
                if size > len(leaves):
                    db.execute(delete(CosignatureRow).where(CosignatureRow.size == size))
                    db.delete(row)
                elif (note := self.note(db, size)) != row.note:
                    db.execute(delete(CosignatureRow).where(CosignatureRow.size == size))
                    row.note = note

    def _numbered(self, leaves: Sequence[bytes]) -> Iterator[bytes]:
        due = 0
        for data in leaves:
            entry = log.read(data)
            moved = entry.by == HUB and entry.sequence != due
            yield self.sign(msgspec.structs.replace(entry, sequence=due)) if moved else data
            due += entry.by == HUB

    def store(self, db: Session, leaves: Sequence[bytes]) -> None:
        """Beside the entries themselves, the columns are the operator's to fill: here with no two alike."""
        seen, rows = set[tuple[str, int]](), []
        for number, data in enumerate(leaves):
            entry = decode(decode(data, log.Signed).entry, Entry)
            key = entry.by, entry.sequence
            row = {"number": number, "data": data, "by": entry.by, "act": entry.act, "run": entry.run}
            row |= {"sequence": -number if key in seen else entry.sequence, "at": entry.milliseconds / 1000}
            rows.append(row)
            seen.add(key)
        nodes = tree.new_nodes(0, [leaf(data) for data in leaves], the_log.reader(db))
        db.execute(insert(EntryRow), rows)
        db.execute(insert(NodeRow), [{"level": level, "place": place, "digest": made} for level, place, made in nodes])

    def note(self, db: Session, size: int) -> bytes:
        """A checkpoint, signed by the log's key."""
        head = Head(size, tree.root_at(size, the_log.reader(db)))
        text = Checkpoint(self.charter.origin, head).text
        return bytes(roster.log_signer(self.charter, self.keys).sign(text))

    # ---- everything else ----

    def job(self, db: Session) -> Job:
        return db.get_one(Job, self.run)

    def letters(self, kind: str, change: Change) -> None:
        """Letters of this kind to a site say something else from now on."""
        seal = self.desk._seal

        def sealed(receiver: str, run: str, sequence: int, of_kind: str, payload: Any) -> bytes:
            said = change(receiver, payload) if of_kind == kind else payload
            return seal(receiver, run, sequence, of_kind, payload if said is None else said)

        self.replace(self.desk, "_seal", sealed)

    def export_all(self) -> None:
        """The export goes to the newest checkpoint, whoever cosigned it."""
        self.replace(checkpoints, "newest_final", lambda _db, _charter: None)

    def silent(self, *sites: str) -> None:
        """No checkpoint is shown to these."""
        put = self.desk.put_note

        def only(receiver: str, kind: str, payload: Any) -> None:
            if not (kind == "checkpoint" and receiver in sites):
                put(receiver, kind, payload)

        self.replace(self.desk, "put_note", only)
