"""A PKCS#11 token: it keeps a key that it made and never gives away, and helps to make the wrapping key.

The token computes HMAC-SHA-256 over a label and the key file's salt (CKM_SHA256_HMAC: PKCS #11 v2.20, section 12.22.2;
v2.40 and v3.0, Current Mechanisms, "SHA-256-HMAC"); HKDF makes the wrapping key of what it gives. Why this mechanism:
the same salt gives the same bytes for ever, the key needs no right but CKA_SIGN, and its parameters are the same in
every version of the standard. A key that C_DeriveKey makes would have to be extractable to be of use here; signatures
with RSA or EC keys are not the same twice; AES-GCM's parameters differ from version to version.

So the seeds are opened in this process, and lie in its memory, as with any other store: the token guards the file.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.crypto.keys import derive, label
from hansa.errors import Refused
from hansa.wrapping import Sought, Way, passphrase

if TYPE_CHECKING:
    from pkcs11 import PKCS11Error, Session, Token

_SIGNED = label("key file token")
_REFUSED: set[tuple[str, str, bytes]] = set()  # PINs, by their digests: a token locks itself after a few wrong ones

# A module is begun, used and ended under one lock. python-pkcs11 calls C_Initialize without arguments, which promises
# that one thread calls at a time; and what a forked child does with a module that its parent has begun is undefined
# (PKCS #11 v2.20, section 6.6.1; v2.40, "Applications and processes"). So whoever forks waits until it is ended.
_ONE = threading.Lock()
os.register_at_fork(before=_ONE.acquire, after_in_parent=_ONE.release, after_in_child=_ONE.release)


def wrapping_key(home: Path, way: Way, salt: bytes, sought: Sought) -> bytes:
    pin = passphrase.find(home, way, sought)
    with _alone(home), _opened(way, pin, writing=sought != "known") as session:
        return derive(_sign(session, way, salt, sought), "key file", salt)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Of the threads of this process, and of the processes over this home: SoftHSM 2.6 sees no token while another
    process logs in to it, because it reads a file that is being written."""
    with _ONE:
        handle = os.open(home, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextmanager
def _opened(way: Way, pin: bytes, writing: bool) -> "Iterator[Session]":
    """A session of somebody who gave the PIN."""
    try:
        import pkcs11
    except ImportError as error:
        raise Refused("a PKCS#11 token needs `pip install 'hansa[pkcs11]'`") from error
    if not Path(way.module).is_file():
        raise Refused(f"there is no PKCS#11 module {way.module}")
    try:
        module = pkcs11.lib(way.module)
    except pkcs11.PKCS11Error as error:
        raise Refused(f"{way.module} can't be used as a PKCS#11 module ({type(error).__name__})") from error
    try:
        token = _token(list(module.get_tokens(token_label=way.token)), way)
        with _login(token, way, pin, writing) as session:
            yield session
    except pkcs11.PKCS11Error as error:
        raise Refused(in_words(error, way)) from error
    finally:
        with suppress(pkcs11.PKCS11Error):
            module.finalize()  # ends its sessions as well


def _token(found: "list[Token]", way: Way) -> "Token":
    if not found:
        raise Refused(f"the module {way.module} sees no token '{way.token}': is it plugged in?")
    if len(found) > 1:
        raise Refused(f"the module {way.module} sees {len(found)} tokens '{way.token}': a label must be one token's")
    return found[0]


def _login(token: "Token", way: Way, pin: bytes, writing: bool) -> "Session":
    from pkcs11 import PinIncorrect, TokenFlag

    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise Refused(_locked(way))
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise Refused(
            f"one more wrong PIN locks the token '{way.token}', so it is not tried: "
            "log in to it once with its own tool, and then do this again"
        )
    tried = (way.module, way.token, sha256(pin).digest())
    if tried in _REFUSED:
        raise Refused(f"the token '{way.token}' has refused this PIN before; it is not tried again until a new start")
    try:
        return token.open(rw=writing, user_pin=pin.decode())
    except UnicodeDecodeError as error:
        raise Refused(f"the PIN of the token '{way.token}' is not text") from error
    except PinIncorrect:
        _REFUSED.add(tried)
        raise


def _sign(session: "Session", way: Way, salt: bytes, sought: Sought) -> bytes:
    from pkcs11 import Attribute, Mechanism, ObjectClass

    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: way.key}
    found: list[Any] = list(session.get_objects(wanted))
    if not found and sought != "known":
        found = [_generate(session, way)]
    if len(found) != 1:
        raise Refused(f"the token '{way.token}' holds {len(found) or 'no'} keys '{way.key}'; it must hold one")
    [key] = found
    if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
        raise Refused(f"the key '{way.key}' can be taken out of the token '{way.token}': let Hansa make one there")
    return bytes(key.sign(_SIGNED + salt, mechanism=Mechanism.SHA256_HMAC))


def _generate(session: "Session", way: Way) -> Any:
    """Drawn by the token itself, and good for nothing but HMAC."""
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag

    return session.generate_key(
        KeyType.GENERIC_SECRET,
        256,
        label=way.key,
        store=True,
        capabilities=MechanismFlag.SIGN,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )


def in_words(error: "PKCS11Error", way: Way) -> str:
    """What a token's refusal means to its owner. The library's own sentences stay out: who knows what a module says."""
    import pkcs11 as p11

    token = f"the token '{way.token}'"
    match error:
        case p11.PinLocked():
            return _locked(way)
        case p11.PinIncorrect() | p11.PinInvalid() | p11.PinLenRange():
            said = f"the PIN of {token} is wrong; the token counts tries, and locks itself after a few"
        case p11.PinExpired() | p11.UserPinNotInitialized():
            said = f"the PIN of {token} has ended, or was never set: set one with the token's own tool"
        case p11.DeviceRemoved() | p11.DeviceError() | p11.TokenNotPresent() | p11.TokenNotRecognised():
            said = f"{token} was pulled out, or does not answer"
        case p11.SessionHandleInvalid() | p11.SessionClosed():
            said = f"{token} was pulled out, or does not answer"
        case p11.MechanismInvalid() | p11.KeyTypeInconsistent() | p11.FunctionNotSupported():
            said = f"{token} or its key '{way.key}' can't do HMAC-SHA-256 (CKM_SHA256_HMAC)"
        case p11.TokenWriteProtected() | p11.SessionReadOnly():
            said = f"{token} is write-protected, so no key '{way.key}' can be made in it"
        case _:
            said = f"{token} refuses ({type(error).__name__})"
    return said


def _locked(way: Way) -> str:
    return f"the PIN of the token '{way.token}' is locked: whoever has the token's SO PIN unlocks it"
