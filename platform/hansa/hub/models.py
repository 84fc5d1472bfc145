"""The hub's tables. Nothing here is plain: replies are masked, totals are what a job gives.

A job's life, in `Job.status`:

    proposed ──signed by its member──► waiting ──its turn──► consenting ──enough consents──► setup ──► running
        └────────────┴──────────────────┴─────────────────────┴──────────────┴───────────┴──► (ended) │
    running ──its answer──► releasing ──those whose numbers are in it agree──► done                   │
                 └────────────────────────────────────► refused · not enough sites · cancelled · failed
"""

from sqlalchemy import BigInteger, Double, Float, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

OPEN = ("proposed", "waiting", "consenting", "setup", "running", "releasing")
EVERYBODY = "*"  # no member is called so
DONE = "done"
REFUSED = "refused"
NOT_ENOUGH = "not enough sites"
CANCELLED = "cancelled"
FAILED = "failed"


class Base(DeclarativeBase):
    pass


class Member(Base):
    """What a member's site last said of itself; its keys stand in the charter."""

    __tablename__ = "member"
    site: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[str] = mapped_column(String(40))
    tables: Mapped[bytes] = mapped_column(LargeBinary)  # tuple of Schema, encoded
    budgets: Mapped[bytes | None] = mapped_column(LargeBinary)  # `letters.Budgets`, encoded, as it last said
    seen_at: Mapped[float] = mapped_column(Float)


class Person(Base):
    """Who may sign in. `password` is an argon2id hash; `member` is whose name the person asks in.

    `subject`: the person at the identity provider, issuer and subject; a person with one has no password here.
    `second`: the secret of one-time codes, sealed to the hub; `second_used`, the last time step whose code was taken.
    """

    __tablename__ = "person"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    member: Mapped[str] = mapped_column(String(32))
    password: Mapped[str] = mapped_column(Text)
    pseudonym: Mapped[str] = mapped_column(String(32))  # under which the log knows this person
    roles: Mapped[str] = mapped_column(String(200))  # of `hansa.access`
    subject: Mapped[str | None] = mapped_column(String(400), unique=True)
    second: Mapped[bytes | None] = mapped_column(LargeBinary)
    second_used: Mapped[int] = mapped_column(BigInteger, default=0)


class Attempt(Base):
    """Failed sign-ins of one account or from one address, which `key` is the SHA-256 of (`attempts.py`)."""

    __tablename__ = "attempt"
    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    failures: Mapped[int] = mapped_column()
    last_at: Mapped[float] = mapped_column(Double)


class Invitation(Base):
    """Lets one person in, once: the token's SHA-256, never the token."""

    __tablename__ = "invitation"
    token: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    member: Mapped[str] = mapped_column(String(32))
    roles: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[float] = mapped_column(Double)


class Login(Base):
    """A session of the page: the token's SHA-256, never the token."""

    __tablename__ = "login"
    token: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("person.name"))
    started_at: Mapped[float] = mapped_column(Float)
    used_at: Mapped[float] = mapped_column(Float)


class Job(Base):
    __tablename__ = "job"
    run: Mapped[str] = mapped_column(String(32), primary_key=True)
    plan: Mapped[bytes] = mapped_column(LargeBinary)  # immutable
    person: Mapped[str] = mapped_column(String(64))
    proposal: Mapped[bytes | None] = mapped_column(LargeBinary)  # the proposer's signature, once it came
    status: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(Float, index=True)
    place: Mapped[int] = mapped_column(index=True)  # in the order of proposals
    table_name: Mapped[str] = mapped_column(String(64))  # the plan's
    kind: Mapped[str] = mapped_column(String(64), default="")  # the plan's, as the next
    proposer: Mapped[str] = mapped_column(String(32), default="")
    turn_at: Mapped[float | None] = mapped_column(Float)  # when it came to its turn (`line.py`)
    ended_at: Mapped[float | None] = mapped_column(Float)
    attempt: Mapped[int]  # of setup
    agreed: Mapped[int]  # how many sites agreed on keys; 0 before they did
    step: Mapped[int]  # number of the step being totalled
    step_bytes: Mapped[bytes | None] = mapped_column(LargeBinary)  # the Step, encoded
    session: Mapped[bytes | None] = mapped_column(LargeBinary)
    receipt: Mapped[bytes | None] = mapped_column(LargeBinary)
    total: Mapped[bytes | None] = mapped_column(LargeBinary)  # that the receipt names, if it is small
    round: Mapped[int]  # number of the round that is open, 0 before the first
    state: Mapped[bytes | None] = mapped_column(LargeBinary)  # the protocol's HubState, encoded
    quorum: Mapped[int]
    deadline: Mapped[float | None] = mapped_column(Float, index=True)
    opened_at: Mapped[float | None] = mapped_column(Float)  # the open round; its deadline may move so far from here
    waits_until: Mapped[float | None] = mapped_column(Double)  # for a person at the proposer's site to sign it
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)  # JSON
    answer_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))


class Concerned(Base):
    """Which members a job concerns: who asked, whose sites are named, who receives the answer. So the newest jobs of a
    member are read from an index. `EVERYBODY` stands for whoever is on the charter: a plan of Hansa 0.1 says nobody who
    receives the answer."""

    __tablename__ = "concerned"
    __table_args__ = (Index("concerned_newest", "member", "place", "run"),)
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), primary_key=True)
    member: Mapped[str] = mapped_column(String(32), primary_key=True)
    place: Mapped[int]  # the job's


class Participant(Base):
    """A site in a job: `stage` is what it was last heard doing, in words for people."""

    __tablename__ = "participant"
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), primary_key=True)
    site: Mapped[str] = mapped_column(String(32), primary_key=True)
    consent: Mapped[bytes | None] = mapped_column(LargeBinary)  # its signature over the plan's digest
    asked: Mapped[bool]  # a reply to the open round is due from it
    active: Mapped[bool]  # still part of the job
    steps: Mapped[int]  # totals that hold its numbers
    reply: Mapped[bytes | None] = mapped_column(LargeBinary)  # to the open round
    beside: Mapped[bytes | None] = mapped_column(LargeBinary)  # the vector that the reply names, if it came with it
    chunks: Mapped[bytes | None] = mapped_column(LargeBinary)  # else its digests, encoded: they are fetched
    stage: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(Text, default="")
    waits_until: Mapped[float | None] = mapped_column(Double)  # for a person there to decide
    bytes_sent: Mapped[int] = mapped_column(BigInteger)  # from the site
    bytes_received: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[float] = mapped_column(Float)


class EvidenceRow(Base):
    """What was seen in a closed round (`hansa.replay.Part`, encoded); masked, and written once."""

    __tablename__ = "evidence"
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class RoundRow(Base):
    """How long a closed round took, for the page: who was asked, and after how many seconds each replied."""

    __tablename__ = "round_time"
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int]
    stage: Mapped[str] = mapped_column(String(40))  # what the sites were doing, in words for people
    opened_at: Mapped[float] = mapped_column(Double)
    closed_at: Mapped[float] = mapped_column(Double)
    replied: Mapped[bytes] = mapped_column(LargeBinary)  # by site the seconds, encoded; those of the silent are missing


class TotalChunk(Base):
    """A chunk of a total that is being added up, range by range, by any of the hub's workers; `digest` once it is."""

    __tablename__ = "total_chunk"
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))


class Event(Base):
    """A line of a job's timeline, for the page; the log is `EntryRow`."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(ForeignKey("job.run"), index=True)
    at: Mapped[float] = mapped_column(Float)
    site: Mapped[str] = mapped_column(String(32), default="")
    text: Mapped[str] = mapped_column(Text)


class FormerLog(Base):
    """The log as Hansa 0.1 kept it (`audit/former.py`); triggers let nothing be changed in it."""

    __tablename__ = "audit_entry"
    __table_args__ = (UniqueConstraint("digest"),)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))


class EntryRow(Base):
    """An entry of the log (`audit/log.py`). Triggers deny UPDATE and DELETE here, and in nodes and checkpoints.
    Numbers, sequences, places and sizes in these tables count from their log's first row (`audit.log.first_row`)."""

    __tablename__ = "log_entry"
    __table_args__ = (
        UniqueConstraint("by", "sequence"),
        Index("log_entry_run", "run", "number"),
        Index("log_entry_act", "act", "number"),
        Index("log_entry_at", "at", "number"),
    )
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)  # the leaf's
    by: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)  # of its author's own
    act: Mapped[str] = mapped_column(String(40))
    run: Mapped[str] = mapped_column(String(32))
    at: Mapped[float] = mapped_column(Double)  # by its author's clock


class NodeRow(Base):
    """The root of a complete subtree of 2^level entries; of level 0, an entry's leaf."""

    __tablename__ = "log_node"
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))


class CheckpointRow(Base):
    """What the hub says of its tree at one size, signed by its log key and by nobody else: one text for ever."""

    __tablename__ = "log_checkpoint"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    note: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float] = mapped_column(Double)


class CosignatureRow(Base):
    """A member's lines under a checkpoint."""

    __tablename__ = "log_cosignature"
    size: Mapped[int] = mapped_column(ForeignKey("log_checkpoint.size"), primary_key=True, autoincrement=False)
    site: Mapped[str] = mapped_column(String(32), primary_key=True)
    lines: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float] = mapped_column(Double)  # by the witness's clock


class PayloadRow(Base):
    """What an entry's commitment opens to, until it is erased."""

    __tablename__ = "log_payload"
    commitment: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)  # `audit.log.Payload`, encoded
    at: Mapped[float] = mapped_column(Double, index=True)


class WitnessRow(Base):
    """What a member's site last said: how large the tree is that it cosigned, and of how many of its own entries it
    has a receipt. Of the newest log alone: they begin anew with it."""

    __tablename__ = "log_witness"
    site: Mapped[str] = mapped_column(String(32), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    receipted: Mapped[int] = mapped_column(BigInteger)
    refusal: Mapped[str] = mapped_column(Text, default="")  # why it does not cosign, if so
    at: Mapped[float] = mapped_column(Double)
    heard: Mapped[bool] = mapped_column(default=True)  # since the hub last started with nothing lost
    seen: Mapped[bytes | None] = mapped_column(LargeBinary)  # a checkpoint that it cosigned, and not of this tree
