"""Other charters, other keys, other logs; signatures and cosignatures that nobody gave."""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import delete, func, select

from hansa import charter as charters
from hansa.audit import roster
from hansa.audit.checkpoint import Checkpoint
from hansa.audit.note import Line, Signer
from hansa.hub import checkpoints
from hansa.hub.models import CheckpointRow, CosignatureRow
from hansa.messages import HUB
from tests import cards
from tests.operator.hand import Operator
from tests.operator.play import manipulation

ELSEWHERE = "hansa/elsewhere/0"


@manipulation("cosigned", "verify", "version 1 of the charter is adopted after version 1")
def an_old_charter_is_adopted_again(op: Operator) -> None:
    op.append(op.sign(op.made(HUB, "charter adopted", version="1", charter=op.charter.digest.hex())))


@manipulation("cosigned", "verify", "version 2 of the charter is adopted, and is not in the chain")
def a_charter_is_adopted_that_nobody_has_seen(op: Operator) -> None:
    op.append(op.sign(op.made(HUB, "charter adopted", version="2", charter="0" * 64)))


@manipulation("cosigned", "verify", "version 2 is signed by 0 members of the version before; 3 must")
def a_charter_is_adopted_that_no_member_signed(op: Operator) -> Callable[[Path], None]:
    """With keys for every member that are the operator's own."""
    names = op.world.names
    members = [cards.member(name, place) for place, name in enumerate(names)]
    before = op.charter
    after = charters.draft(before.consortium, before.hub, members, before.rules, before.origin, before)  # type: ignore[arg-type]  # of this format
    keys = {name: cards.member_keys(place) for place, name in enumerate(names)}
    op.append(op.sign(op.made(HUB, "charter adopted", version="2", charter=after.digest.hex())))
    return lambda out: (out / "charters" / "2").write_bytes(cards.signed(after, keys)) and None


@manipulation("cosigned", "verify", "your own charter, version 1 of 'world', is not in this chain")
def the_export_comes_with_another_charter(op: Operator) -> Callable[[Path], None]:
    names = op.world.names
    members = [cards.member(name, place) for place, name in enumerate(names)]
    other = charters.draft("world", charters.hub_of(op.keys), members, op.charter.rules, op.charter.origin)
    keys = {name: cards.member_keys(place) for place, name in enumerate(names)}
    return lambda out: (out / "charters" / "1").write_bytes(cards.signed(other, keys)) and None


@manipulation("before", "site", "the plan is of another charter")
def the_hub_works_under_rules_that_nobody_signed(op: Operator) -> None:
    op.world.charter = op.desk.charter = replace(op.charter, rules=replace(op.charter.rules, corrupt=0))


@manipulation("released", "site", "does not cosign: 403")
def checkpoints_are_signed_with_a_new_key(op: Operator) -> None:
    op.replace(roster, "log_signer", lambda charter, _: Signer(charter.origin, bytes(32)))


@manipulation("released", "site", "does not cosign: 404")
def checkpoints_are_of_another_origin(op: Operator) -> None:
    op.replace(checkpoints, "Checkpoint", lambda _, head: Checkpoint(ELSEWHERE, head))
    op.replace(roster, "log_signer", lambda _, keys: Signer(ELSEWHERE, keys.log))


@manipulation("cosigned", "verify", "not signed by the log")
def an_export_is_signed_with_another_key(op: Operator) -> Callable[[Path], None]:
    def sign(out: Path) -> None:
        path = out / "checkpoint"
        text = path.read_text(encoding="utf-8").partition("\n\n")[0] + "\n"
        path.write_bytes(bytes(Signer(op.charter.origin, bytes(32)).sign(text)))

    return sign


def newest(op: Operator) -> int:
    with op.db() as db:
        return db.scalar(select(func.max(CheckpointRow.size))) or 0


@manipulation("released", "verify", "does not hold")
def a_cosignature_is_forged(op: Operator) -> None:
    """Of a member that is away, so that the release looks final."""
    op.export_all()
    op.world.kill("s3")
    with op.db() as db:
        checkpoints.make(db, op.desk, op.world.now)
    size, keys = newest(op), roster.witness_keys(op.charter, op.charter.member("s3"))
    lines = [
        Line(key.name, key.id, int(op.world.now).to_bytes(8, "big") + bytes(length))
        for key, length in zip(keys, (64, 2420), strict=True)
    ]
    with op.db() as db:
        db.add(CosignatureRow(size=size, site="s3", lines="".join(map(str, lines)).encode(), at=op.world.now))


@manipulation("released", "verify", "does not hold")
def a_cosignature_of_another_checkpoint_is_used(op: Operator) -> None:
    op.export_all()
    op.world.kill("s3")
    with op.db() as db:
        checkpoints.make(db, op.desk, op.world.now)
        old = db.scalars(select(CosignatureRow.lines).where(CosignatureRow.site == "s3")).first() or b""
    with op.db() as db:
        db.add(CosignatureRow(size=newest(op), site="s3", lines=old, at=op.world.now))


@manipulation("released", "verify", "3 of 4 members cosigned: not final")
def a_member_is_counted_that_signed_with_one_of_its_keys(op: Operator) -> None:
    """The lattice line is thrown away, and older checkpoints with it."""
    op.world.run_until(lambda: newest(op) in _final(op))
    size = newest(op)
    with op.db() as db:
        db.execute(delete(CosignatureRow).where(CosignatureRow.size != size))
        row = db.get_one(CosignatureRow, (size, "s2"))
        row.lines = row.lines.split(b"\n")[0] + b"\n"
    op.silent(*op.world.names)


def _final(op: Operator) -> list[int]:
    with op.db() as db:
        return list(checkpoints.finals(db, op.charter))


@manipulation("cosigned", "verify", "the charter's is 4")
def the_policy_of_an_export_asks_for_fewer_witnesses(op: Operator) -> Callable[[Path], None]:
    def fewer(out: Path) -> None:
        policy = out / "policy"
        policy.write_bytes(policy.read_bytes().replace(b"members/quorum all ", b"members/quorum 2 "))

    return fewer


@manipulation("cosigned", "verify", "trusts a witness that is not on the charter")
def the_policy_of_an_export_trusts_a_witness_of_the_operators(op: Operator) -> Callable[[Path], None]:
    def other(out: Path) -> None:
        policy = (out / "policy").read_bytes()
        mine = str(roster.witness_keys(op.charter, op.charter.member("s1"))[0])
        theirs = str(roster.witness_keys(op.charter, replace(op.charter.member("s1"), witness=bytes(32)))[0])
        assert mine.encode() in policy
        (out / "policy").write_bytes(policy.replace(mine.encode(), theirs.encode()))

    return other
