"""What must hold of totals, at the hub: each once more, from the signed vectors and the shares."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from hansa.crypto import merkle, prg
from hansa.crypto.keys import label
from hansa.messages import encode
from hansa.protocols.secure_sum import Contribute, Unmask
from tests.schedules.boxes import Totalled
from tests.schedules.evidence import Evidence, at_zero, joined, near, slices
from tests.schedules.network import numbers


class TotalRules(Evidence):
    def totals(self) -> Iterator[str]:
        steps = Counter(note.step for note in self.of[Totalled])
        if any(times > 1 for times in steps.values()):
            self.wrong += 1
            yield "a step has two totals"
        for note in self.of[Totalled]:
            sentences = list(self._total(note))
            self.wrong += bool(sentences)
            yield from sentences

    def _total(self, note: Totalled) -> Iterator[str]:
        survivors, session, receipt = note.summed.survivors, note.state.session, note.summed.receipt
        row = self.floors(session)
        expected = [
            sum(column) % 2**64
            for column in zip(*(numbers(self.world.names.index(site), note.step) for site in survivors), strict=True)
        ]
        if note.summed.vector().tolist() != expected:
            yield f"the total of step {note.step} is not the sum over {survivors}"
        if len(set(survivors)) < row.survivors or list(survivors) != sorted(set(survivors)):
            yield f"the total of step {note.step} is over a set below the floor"
        if self.lonely(session, survivors):
            yield f"the total of step {note.step} is over a site with too few neighbours"
        chunks = tuple(merkle.leaf(chunk) for chunk in slices(note.summed.content, prg.CHUNK_BYTES))
        if (receipt.sid, receipt.survivors, receipt.chunks) != (note.state.sid, survivors, chunks):
            yield f"the receipt of step {note.step} is not of its total"
        quiet = set(session.committee) - set(note.replies)
        if not set(note.summed.active) <= set(survivors) - quiet:
            yield f"after step {note.step} go on others than those who are left"
        headers = {header.site: header for header in note.state.headers}
        for site in survivors:
            made = [answer.reply.header for answer in self.answered(site, Contribute)]
            if site in self.honest and headers[site] not in made:
                yield f"the total of step {note.step} holds a header that {site} did not make"
        for site, reply in note.replies.items():
            made = [answer.content for answer in self.answered(site, Unmask)]
            if site in self.honest and encode(reply) not in made:
                yield f"the total of step {note.step} is opened with shares that {site} did not give"
            if site in self.world.corrupt and encode(reply) not in made:
                yield f"the total of step {note.step} is opened with a second reply of {site}"
        if self._replayed(note) != note.summed.content:
            yield f"a replay of step {note.step} gives another total"

    def _replayed(self, note: Totalled) -> bytes:
        """The total once more, from the last of the shares and the vectors that were signed."""
        session, state = note.state.session, note.state
        last = sorted(note.replies)[-self.floors(session).threshold :]
        survivors, indices = note.summed.survivors, [session.committee[site] for site in last]
        total = np.zeros(len(note.summed.vector()), dtype=np.uint64)
        for site in survivors:
            made = [joined(a.beside) for a in self.answered(site, Contribute) if a.reply.header.sid == state.sid]
            if made and len(made[0]) == len(total):
                total += made[0]
        columns = [slices(note.replies[site].own + note.replies[site].edges) for site in last]
        secrets = iter(
            at_zero({at: int.from_bytes(share, "little") for at, share in zip(indices, row, strict=True)})
            for row in zip(*columns, strict=True)
        )

        def remove(role: str, one: str, other: str, *, subtract: bool) -> None:
            info = label(f"sum/{role}") + state.sid + one.encode() + b"\0" + other.encode() + b"\0"
            prg.add_stream(total, next(secrets).to_bytes(32, "little"), info, subtract=subtract)

        for site in survivors:
            remove("self", site, site, subtract=True)
        for gone in sorted(set(state.cohort) - set(survivors)):
            for site in near(session, survivors, gone):  # the earlier of both had added
                remove("edge", min(site, gone), max(site, gone), subtract=site < gone)
        return total.astype("<u8").tobytes()
