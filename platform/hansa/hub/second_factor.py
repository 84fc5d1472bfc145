"""One-time codes beside the password: TOTP (RFC 6238), six digits, thirty seconds, HMAC-SHA-1 as the apps expect.

The secret lies in the database sealed to the hub's key, under the label of the person's pseudonym. A code is taken
once: a step that was used, or one before it, is refused. One step early or late is a clock that is off.
"""

import base64
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from hansa.crypto.keys import label, seal
from hansa.errors import ProtocolViolation, Refused
from hansa.hub.models import Person
from hansa.mail.boxes import Desk

SECRET_BYTES, DIGITS, STEP_SECONDS, SLACK = 20, 6, 30, 1
_PURPOSE = "person/second factor"


def address(secret: bytes, name: str, consortium: str) -> str:
    """`otpauth:` address, which an app reads."""
    issuer = quote(f"Hansa {consortium}", safe="")
    return f"otpauth://totp/{issuer}:{quote(name, safe='')}?secret={written(secret)}&issuer={issuer}"


def written(secret: bytes) -> str:
    """As it is typed into an app."""
    return base64.b32encode(secret).decode()


def enrol(desk: Desk, person: Person, secret: bytes, code: str, now: float) -> None:
    """Asks for a code from now on, if the app shows the right one."""
    step = _step_of(secret, code, now, 0)
    if step is None:
        raise Refused("that is not the code of now: look at the app again")
    person.second, person.second_used = seal(desk.sealing.public, secret, _about(person)), step


def check(desk: Desk, person: Person, code: str, now: float) -> bool:
    """Whether the code is right, and was not used; notes its use."""
    step = _step_of(_secret(desk, person), code, now, person.second_used)
    if step is None:
        return False
    person.second_used = step
    return True


def _about(person: Person) -> bytes:
    return label(_PURPOSE) + person.pseudonym.encode()


def _secret(desk: Desk, person: Person) -> bytes:
    """Opened with the key it was sealed to, which may be one that the hub has replaced since."""
    for keys in desk.held:
        try:
            return keys.sealing.open(person.second or b"", _about(person))
        except ProtocolViolation:
            continue
    raise Refused("the second factor can't be opened with this hub's keys: an administrator takes it off")


def _step_of(secret: bytes, code: str, now: float, used: int) -> int | None:
    """The time step after `used` whose code this is."""
    generator = TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303  # what RFC 6238 says
    this, given = int(now // STEP_SECONDS), code.replace(" ", "")
    for step in range(max(this - SLACK, used + 1), this + SLACK + 1):
        try:
            generator.verify(given.encode(), step * STEP_SECONDS)
        except InvalidToken:
            continue
        return step
    return None
