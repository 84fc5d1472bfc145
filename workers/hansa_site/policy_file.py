"""The policy as it is written down, and how another comes into its place while the site runs.

    a person signs the text ──► decision ──► the site's process writes the file, and notes what holds from now on
                                             every process of the site takes up what is noted, before its next letter

What somebody writes into the file by hand counts from the site's next start: whoever looks at a file that is being
written may read half of it, and half a policy can allow more than the whole.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hansa import toml
from hansa.crypto.keys import digest
from hansa.errors import Refused
from hansa.files import to_toml, write_private, write_toml
from hansa.mail.checks import Finding
from hansa.messages import Digest, encode
from hansa_site import policy as policies
from hansa_site.journal import Noted
from hansa_site.policy import POLICY, Policy, fingerprint
from hansa_site.settings import SETTINGS, Settings, read_settings

log = logging.getLogger("hansa.site")
FORMER: Final = "policy.toml.before"
HELD: Final = "policy held"  # what is noted of the one that the site goes by
LONGEST: Final = 2**17  # characters


class NewPolicy(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a person signs: a text, and the digest of the one whose place it takes."""

    former: Digest
    text: Annotated[str, Meta(max_length=LONGEST)]

    @property
    def digest(self) -> bytes:
        return digest("site/policy", encode(self))


def text_of(home: Path) -> tuple[str, str]:
    """(the file that holds the policy, its text); an empty text where none is written, and every default holds."""
    try:
        return POLICY, (home / POLICY).read_text(encoding="utf-8")
    except FileNotFoundError:
        raw = toml.read(home / SETTINGS)
        return (SETTINGS, to_toml(raw["policy"])) if "policy" in raw else (POLICY, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{home / POLICY} can't be read") from error


def digest_of(text: str) -> bytes:
    return digest("site/policy text", text.encode())


def check(text: str, settings: Settings) -> Policy:
    """The policy that a text is; refuses one that is none for the tables of this site, and says where."""
    if len(text) > LONGEST:
        raise Refused(f"a policy is a text of at most {LONGEST} characters")
    return parse(text, frozenset(source.name for source in settings.table))


def parse(text: str, tables: frozenset[str]) -> Policy:
    return policies.convert(toml.parse(text, POLICY), tables, POLICY)


def put(home: Path, new: NewPolicy, tables: frozenset[str]) -> Policy:
    """Writes it in the place of the former, which is kept beside it. The same again changes nothing."""
    policy = parse(new.text, tables)
    where, text = text_of(home)
    if text == new.text or (where == SETTINGS and parse(text, tables) == policy):
        return policy
    if digest_of(text) != new.former:
        raise Refused("the policy was changed in the meantime: look at it as it is now")
    write_private(home / FORMER, text.encode())
    if where == SETTINGS:
        write_toml(home / SETTINGS, toml.read(home / SETTINGS) | {"policy": toml.parse(new.text, POLICY)})
    else:
        write_private(home / POLICY, new.text.encode())
    return policy


def note(db: Session, policy: Policy) -> None:
    """From now on the site goes by it."""
    row = db.get(Noted, HELD) or Noted(what=HELD)
    row.digest = fingerprint(policy)
    db.add(row)


def holds(db: Session, policy: Policy) -> bool | None:
    """Whether the site goes by it; None if it has never run."""
    row = db.get(Noted, HELD)
    return None if row is None else row.digest == fingerprint(policy)


def look(db: Session, settings: Settings) -> Iterator[Finding]:
    if holds(db, settings.policy) is False:
        says = "the site goes by another policy than the one that is written: it was changed by hand"
        yield Finding("note", "policy", says, "restart the site, or save the policy in its console")


class Held:
    """The settings as they hold in this process. Threads share it, and each asks once a letter: one is answered under
    one policy from its beginning to its end."""

    def __init__(self, settings: Settings, home: Path, reading: Engine) -> None:
        self.settings = settings
        self._home, self._reading, self._lock = home, reading, threading.Lock()
        self._known, self._begun = fingerprint(settings.policy), False

    def begin(self, db: Session) -> None:
        """What is written when a process starts is what holds."""
        if not self._begun:
            note(db, self.settings.policy)
            self._begun = True

    def look(self) -> Settings:
        """With the policy that is noted, if that is what is written. Call it outside a transaction."""
        with Session(self._reading) as db:
            row = db.get(Noted, HELD)
            noted = self._known if row is None else row.digest
        with self._lock:
            if noted != self._known:
                self._known = noted  # what can't be taken up is said once
                self._take(noted)
            return self.settings

    def _take(self, noted: bytes) -> None:
        try:
            policy = read_settings(self._home).policy
        except Refused as refusal:
            log.error("the policy that holds can't be read, and this process goes by the former: %s", refusal)
            return
        if fingerprint(policy) == noted:
            self.settings = replace(self.settings, policy=policy)
        else:
            log.error("another policy is written than the one that holds; this process goes by the former")
