"""What a person does at the site: the door of the command line and of the console to all that binds the member.

    act ──the person's own key──► signed ──handed in──► the site's process works it off, or says why it does not count

Whether the person may is asked before a key is opened, and once more by the site's process. A key is opened for one
signature; a passphrase that was typed for it is kept nowhere.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlalchemy.orm import Session

from hansa.access import Thing, authorise
from hansa.errors import Refused
from hansa.mail.database import open_engine
from hansa.messages import encode
from hansa_site import figures, people, policy_file, reviewing
from hansa_site.deciding import table_digest
from hansa_site.people import Decision, What
from hansa_site.policy_file import NewPolicy
from hansa_site.settings import Settings, read_settings
from hansa_site.vault import read_charter

WAIT_SECONDS = 15.0  # for the site's process to work off a decision
_LOOK_SECONDS = 0.1
_GOOD_SECONDS = 3600  # for which a decision that is handed in may wait


class Act(Struct, frozen=True):
    """What a person is about to sign. `about` is the digest of what was looked at, so that nothing else can take its
    place; `content` goes with it where the site has that from nowhere else."""

    person: str
    what: What
    about: bytes
    run: str = ""
    reason: str = ""
    content: bytes | None = None


class Signed(Struct, frozen=True):
    data: bytes
    signature: bytes
    content: bytes | None = None


@contextmanager
def _opened(home: Path, *, reading: bool = True) -> Iterator[tuple[Session, Settings]]:
    settings = read_settings(home)
    engine = open_engine(settings.database, reading=reading)
    try:
        with Session(engine) as db, db.begin():
            yield db, settings
    finally:
        engine.dispose()


def knows(home: Path, name: str, passphrase: bytes) -> bool:
    """Whether this is a person here, and the passphrase of that person's key. It says not which of both is wrong, and
    takes as long."""
    with _opened(home) as (db, _settings):
        return people.knows(db, home, name, passphrase)


def sign(home: Path, act: Act, now: float, passphrase: bytes | None = None) -> Signed:
    """Without a passphrase it is looked for, or asked, where the settings of the person's key say."""
    with _opened(home) as (db, settings):
        person, member = people.here(db, act.person), settings.name
        authorise(people.person_of(person, member), act.what, Thing(member=member))
    expires, nonce = int(now) + _GOOD_SECONDS, secrets.token_bytes(16)
    fields = [member, act.person, act.what, act.run, act.about, act.reason.strip(), expires, nonce]
    try:
        decision = msgspec.convert(fields, Decision)
    except msgspec.ValidationError as error:
        raise Refused("a reason is one line of at most 400 characters, and a person's name is one") from error
    return Signed(*people.sign(home, decision, passphrase), act.content)


def hand_in(home: Path, signed: Signed, now: float) -> bool:
    """Waits until the site's process has worked it off; False if that does not run. Refuses what counts for nothing."""
    with _opened(home, reading=False) as (db, _settings):
        key = people.hand_in(db, signed.data, signed.signature, now, signed.content)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with _opened(home) as (db, _settings):
            outcome = people.outcome(db, key)
        if outcome:
            raise Refused(outcome)
        if outcome is not None or time.monotonic() >= deadline:
            return outcome is not None
        time.sleep(_LOOK_SECONDS)


def see_figures(home: Path, signed: Signed, now: float) -> bytes:
    """The exact answer (JSON) whose release waits, once the log knows who sees it."""
    hand_in(home, signed, now)
    with _opened(home) as (db, _settings):
        return figures.show(db, people.key_of(signed.data))


def stopping(person: str, run: str, plan: bytes, reason: str) -> Act:
    """Of a job that runs; `plan` is the digest of the one that was looked at."""
    return Act(person, "stop", plan, run, reason)


def withdrawing(home: Path, person: str, table: str, reason: str) -> Act:
    read_settings(home).source(table)
    return Act(person, "withdraw", table_digest(table), "", reason)


def signing_off(home: Path, person: str, note: str) -> Act:
    """Of the log, as far as this site has cosigned it."""
    with _opened(home) as (db, settings):
        review = reviewing.begin(db, read_charter(home, settings.name).origin, note)
    return Act(person, "review", review.digest, content=encode(review))


def setting_policy(home: Path, person: str, text: str, former: bytes) -> Act:
    """Refuses what is no policy here, with the sentence that says where. `former`: the digest of the text that was
    there when the person began to change it."""
    policy_file.check(text, read_settings(home))
    new = NewPolicy(former, text)
    return Act(person, "set policy", new.digest, content=encode(new))
