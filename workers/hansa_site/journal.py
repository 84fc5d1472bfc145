"""What this site was asked and what it said: its own database.

`Run.state` holds secrets of a running job (seed, pair secrets) and is erased when the job ends; digests and the answers
themselves, which are masked, stay. `Said` makes an answer one for ever: the same request gets the same bytes, and a
different request under the same round number is a violation.
"""

from sqlalchemy import BigInteger, Double, Engine, Float, Index, LargeBinary, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Run(Base):
    """A job as this site knows it. `status`: consented, refused, running, or how it ended."""

    __tablename__ = "run"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    plan: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[str] = mapped_column(String(500))
    state: Mapped[bytes | None] = mapped_column(LargeBinary)
    attempt: Mapped[int]  # the next acceptable attempt of setup
    steps: Mapped[int]  # contributions made
    started_at: Mapped[float] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float)
    bytes_sent: Mapped[int] = mapped_column(BigInteger)


class Said(Base):
    __tablename__ = "said"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    request: Mapped[bytes] = mapped_column(LargeBinary(32))  # digest
    reply: Mapped[bytes] = mapped_column(LargeBinary)
    beside: Mapped[bytes | None] = mapped_column(LargeBinary)  # the vector that the reply names, if it is small


class HubSeen(Base):
    """What the hub last said of itself; one row."""

    __tablename__ = "hub_seen"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(40))
    at: Mapped[float] = mapped_column(Float)


class WantedChunks(Base):
    """The chunks of a total that a letter of the run waits for."""

    __tablename__ = "wanted_chunks"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    digests: Mapped[bytes] = mapped_column(LargeBinary)  # encoded


class Act(Base):
    """A line for the operator: consents, refusals, contributions, ends."""

    __tablename__ = "act"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(Float)
    run: Mapped[str] = mapped_column(String(32), index=True)
    text: Mapped[str] = mapped_column(Text)


class OwnEntry(Base):
    """An entry of this member's in the log (`deeds.py`): `sent` in a letter, then its `number` and receipt."""

    __tablename__ = "own_entry"
    __table_args__ = (Index("own_entry_sent", "sent", "sequence"), Index("own_entry_number", "number", "at"))
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float] = mapped_column(Double)
    sent: Mapped[bool]
    number: Mapped[int | None] = mapped_column(BigInteger)
    receipt: Mapped[bytes | None] = mapped_column(LargeBinary)  # C2SP tlog-proof


class Witnessed(Base):
    """The newest checkpoint of a log that this site cosigned, and the newest that enough members did."""

    __tablename__ = "witnessed"
    origin: Mapped[str] = mapped_column(String(100), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    note: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float] = mapped_column(Double)
    final: Mapped[bytes] = mapped_column(LargeBinary)


class Alarm(Base):
    """What an operator must look at: a receipt that is overdue or wrong, a log that forks."""

    __tablename__ = "alarm"
    id: Mapped[int] = mapped_column(primary_key=True)
    sort: Mapped[str] = mapped_column(String(20))
    at: Mapped[float] = mapped_column(Double)
    text: Mapped[str] = mapped_column(Text)
    evidence: Mapped[bytes] = mapped_column(LargeBinary)
    closed_at: Mapped[float | None] = mapped_column(Double)


class Noted(Base):
    """What the log knows of this site's settings: the digest of each table's schema, of the policy, of the charter."""

    __tablename__ = "noted"
    what: Mapped[str] = mapped_column(String(100), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class Member(Base):
    """A person of this institution, who decides with a key of its own. The log knows the pseudonym only."""

    __tablename__ = "person"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    roles: Mapped[str] = mapped_column(String(200))
    public: Mapped[bytes] = mapped_column(LargeBinary(32))  # Ed25519
    pseudonym: Mapped[str] = mapped_column(String(32))
    added_at: Mapped[float] = mapped_column(Double)
    removed_at: Mapped[float | None] = mapped_column(Double)


class Waiting(Base):
    """What waits for a person's decision: a proposal to be signed, or a consent. `digest` is what a decision
    must name; `content` what it is about. `until` it is open, then it is a no."""

    __tablename__ = "waiting"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    what: Mapped[str] = mapped_column(String(20), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    asked_at: Mapped[float] = mapped_column(Double)
    until: Mapped[float] = mapped_column(Double)
    closed_at: Mapped[float | None] = mapped_column(Double)


class Decided(Base):
    """A person's signed decision, used once: its digest is the key. `done_at` once it was worked off; `refusal` says
    why it counts for nothing, if so."""

    __tablename__ = "decision"
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    run: Mapped[str] = mapped_column(String(32), index=True)
    person: Mapped[str] = mapped_column(String(32))
    what: Mapped[str] = mapped_column(String(20))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    content: Mapped[bytes | None] = mapped_column(LargeBinary)  # what it is about, where that is nowhere else
    at: Mapped[float] = mapped_column(Double)
    done_at: Mapped[float | None] = mapped_column(Double)
    refusal: Mapped[str] = mapped_column(Text, default="")


class BudgetLine(Base):
    """What a job costs of a table's privacy budget, in nano-ρ (`budget.py`): `reserved` in all, `spent` so far. What is
    not spent when it is closed is given back."""

    __tablename__ = "budget_line"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(64), index=True)
    question: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    totals: Mapped[int]
    reserved: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[float] = mapped_column(Double)
    closed_at: Mapped[float | None] = mapped_column(Double)


class Totalled(Base):
    """The sites of a total without noise which this site helped to open, at most (`differing.py`)."""

    __tablename__ = "totalled"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    table_name: Mapped[str] = mapped_column(String(64), index=True)
    columns: Mapped[bytes] = mapped_column(LargeBinary)  # encoded, sorted
    sites: Mapped[bytes] = mapped_column(LargeBinary)  # encoded, sorted


class Agreed(Base):
    """An answer whose release this site agreed to: the plan, the answer as it is shown, and its exact figures."""

    __tablename__ = "agreed"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(64), index=True)
    plan: Mapped[bytes] = mapped_column(LargeBinary)
    sites: Mapped[bytes] = mapped_column(LargeBinary)  # whose numbers are in it; encoded, sorted
    answer: Mapped[bytes] = mapped_column(LargeBinary)  # JSON
    exact: Mapped[bytes] = mapped_column(LargeBinary)  # JSON
    at: Mapped[float] = mapped_column(Double)


class Withdrawn(Base):
    """A table that the institution has taken back; nothing is answered over it until it is opened again."""

    __tablename__ = "withdrawn"
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[float] = mapped_column(Double)


class Sent(Base):
    """What left this site (`leaving.py`): a letter of the outbox, `size` and `digest` of its sealed bytes; or a chunk,
    under kind "chunk" and the digest that a signed letter names. Sent again, it is the same and stands here once."""

    __tablename__ = "sent"
    __table_args__ = (Index("sent_run", "run", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(Double)
    run: Mapped[str] = mapped_column(String(32))
    receiver: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(24))
    holds: Mapped[str] = mapped_column(String(24))  # of a reply: the sort of protocol message in it
    size: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))


class Spoken(Base):
    """How many letters of a kind left that nobody keeps, as acks and talk of chunks, and their bytes."""

    __tablename__ = "spoken"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(24), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)


def read_acts(engine: Engine) -> list[tuple[float, str, str]]:
    """(seconds since 1970, run, what) of every act, oldest first."""
    with Session(engine) as db:
        return [(act.at, act.run, act.text) for act in db.scalars(select(Act).order_by(Act.id))]
