"""The institution's people at its own site: their roles and public keys, and what they sign.

A person's key is drawn here, wrapped under a passphrase of that person's own (`people/NAME` in the site's home), and
signs decisions only. A decision names what it is about by digest, is good until it expires, and is used once.

    decision  = [member, person, what, run, about, reason, expires, nonce]
    signature = Ed25519("hansa/v1/person/decision" ‖ 0x00 ‖ decision)

The log knows a person by a pseudonym; only this site's database ties it to the name.
"""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa import key_file
from hansa.access import Person, Role, Thing, authorise, roles_of
from hansa.crypto.keys import SEED_BYTES, SigningKey, digest, verify
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import Digest, Signature, SiteId, decode, encode
from hansa.wrapping import ASKED, Way
from hansa.wrapping.passphrase import stretched_once
from hansa_site.journal import Decided, Member

_PURPOSE = "person/decision"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_DECOY_SALT = bytes(key_file.SALT_BYTES)
FOLDER = "people"
LONGEST_SECONDS = 7 * 86_400  # that a decision may lie before it is worked off
What = Literal[
    "sign proposal", "consent", "release", "see figures", "refuse", "stop", "withdraw", "review", "set policy"
]


class Decision(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`about`: the digest of the plan, of plan and answer, of the table's name, or of what comes with the decision.
    `reason` is for the other members."""

    member: SiteId
    person: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9._-]{0,31}\Z")]
    what: What
    run: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]  # empty of what belongs to no job
    about: Digest
    reason: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,400}\Z")]
    expires: Annotated[int, Meta(ge=0, le=2**40)]  # seconds since 1970
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]


def add(db: Session, home: Path, name: str, roles: str, now: float, way: Way = ASKED) -> Member:
    """Draws the person's key and notes the public one. The first is an administrator, who then lets in the others
    (`prove`)."""
    if _NAME.fullmatch(name) is None:
        raise Refused(f"'{name}' is no name for a person: small letters, digits, dot, hyphen, at most 32")
    found = roles_of(roles)
    if "operator" in found:
        raise Refused("the role operator is one at a hub: a site has none")
    if db.get(Member, name) is not None:
        raise Refused(f"a person '{name}' is there already, or was: names are not used again")
    if db.scalar(select(func.count()).select_from(Member)) == 0 and "administrator" not in found:
        raise Refused("the first person of a site is its administrator, who adds the others: give that role too")
    folder = home / FOLDER / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seed = secrets.token_bytes(SEED_BYTES)
    key_file.make(folder, seed, way)
    public, pseudonym = SigningKey(seed).public, secrets.token_hex(8)
    row = Member(name=name, roles=", ".join(found), public=public, pseudonym=pseudonym, added_at=now, removed_at=None)
    db.add(row)
    db.flush()
    return row


def remove(db: Session, name: str, now: float) -> Member:
    """What this person signed and is not worked off counts for nothing from now on."""
    row = here(db, name)
    row.removed_at = now
    return row


def everybody(db: Session) -> Sequence[Member]:
    """Those who were removed too."""
    return db.scalars(select(Member).order_by(Member.added_at)).all()


def here(db: Session, name: str) -> Member:
    row = db.get(Member, name)
    if row is None or row.removed_at is not None:
        raise Refused(f"this site has no person '{name}': `hansa site people` lists them")
    return row


def prove(db: Session, home: Path, name: str, member: SiteId) -> None:
    """Refuses unless `name` is an administrator here and whoever asks can open that person's key."""
    authorise(person_of(here(db, name), member), "manage people", Thing(member=member))
    if SigningKey(_seed(home, name)).public != here(db, name).public:
        raise Refused(f"the key in {home / FOLDER / name} is not the one that '{name}' was added with")


def knows(db: Session, home: Path, name: str, passphrase: bytes) -> bool:
    """Whether `name` is a person here whose key this passphrase opens. It takes as long for a name that is not, and for
    a key that no passphrase opens."""
    row = db.get(Member, name) if _NAME.fullmatch(name) else None
    if row is None or row.removed_at is not None or not _takes_passphrase(home, name):
        stretched_once(passphrase, _DECOY_SALT)
        return False
    try:
        return SigningKey(_seed(home, name, passphrase)).public == row.public
    except Refused:
        return False


def person_of(row: Member, member: SiteId) -> Person:
    roles: tuple[Role, ...] = roles_of(row.roles)
    return Person(row.name, member, roles)


def sign(home: Path, decision: Decision, passphrase: bytes | None = None) -> tuple[bytes, bytes]:
    """(the decision's bytes, the person's signature); opens the person's key for that. Without a passphrase it is
    looked for, or asked, where the key's own settings say."""
    data = encode(decision)
    return data, SigningKey(_seed(home, decision.person, passphrase)).sign(_PURPOSE, data)


def _takes_passphrase(home: Path, name: str) -> bool:
    try:
        return key_file.takes_passphrase(home / FOLDER / name)
    except (Refused, FileNotFoundError):
        return False


def _seed(home: Path, name: str, passphrase: bytes | None = None) -> bytes:
    folder = home / FOLDER / name
    try:
        if passphrase is None:
            return key_file.read(folder)[0]
        if not key_file.takes_passphrase(folder):
            raise Refused(f"the key of '{name}' lies under no passphrase that can be typed: sign at the command line")
    except FileNotFoundError as error:
        raise Refused(f"there is no key of '{name}' in {home / FOLDER}") from error
    try:
        return key_file.open_with(folder, passphrase)[0]
    except Refused as refusal:
        raise Refused(f"the passphrase is wrong, or the key file of '{name}' was altered") from refusal


def key_of(data: bytes) -> bytes:
    """Under which a decision is kept, and named in the log."""
    return digest(_PURPOSE, data)


def hand_in(db: Session, data: bytes, signature: Signature, now: float, content: bytes | None = None) -> bytes:
    """Leaves a signed decision for the site's process; gives its key. The same one twice is refused: it is used once.
    `content`: what it is about, where the site has that from nowhere else."""
    decision, used = decode(data, Decision), key_of(data)
    if db.get(Decided, used) is not None:
        raise Refused("this decision was handed in before, and is used once")
    db.add(
        Decided(
            digest=used,
            run=decision.run,
            person=decision.person,
            what=decision.what,
            data=data,
            signature=signature,
            content=content,
            at=now,
            done_at=None,
            refusal="",
        )
    )
    return used


def outcome(db: Session, key: bytes) -> str | None:
    """None as long as the decision waits; then why it counts for nothing, or an empty text."""
    row = db.get_one(Decided, key)
    return None if row.done_at is None else row.refusal


def check(db: Session, row: Decided, member: SiteId, now: float) -> tuple[Decision, Member]:
    """What a decision says, if its person signed it, may decide so, and it has not expired."""
    try:
        decision = decode(row.data, Decision)
        person = here(db, decision.person)
        verify(person.public, _PURPOSE, row.data, row.signature)
    except ProtocolViolation as violation:
        raise Refused(f"the decision was not signed by '{row.person}'") from violation
    if (decision.member, decision.person, decision.what, decision.run) != (member, row.person, row.what, row.run):
        raise Refused("the decision is another than was handed in")
    if not now < decision.expires <= now + LONGEST_SECONDS + 60:
        raise Refused("the decision has expired")
    authorise(person_of(person, member), decision.what, Thing(member=member))
    return decision, person
