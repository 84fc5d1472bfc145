"""The operating system's keyring: it keeps 32 random bytes, of which HKDF makes the wrapping key."""

import secrets
from pathlib import Path
from typing import Final

from hansa.crypto.keys import derive
from hansa.errors import Refused
from hansa.wrapping import Sought

SERVICE: Final = "hansa"


def wrapping_key(home: Path, salt: bytes, sought: Sought) -> bytes:
    return derive(_secret(home, sought), "key file", salt)


def _secret(home: Path, sought: Sought) -> bytes:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise Refused("the OS keyring needs `pip install 'hansa[keyring]'`") from error
    name = str(home.resolve())
    try:
        found = keyring.get_password(SERVICE, name)
        if found is None and sought != "known":
            found = secrets.token_hex(32)
            keyring.set_password(SERVICE, name, found)
    except KeyringError as error:
        raise Refused(
            f"the OS keyring can't be used ({type(error).__name__}): log in, or keep the keys in a file"
        ) from error
    if found is None:
        raise Refused(f"the OS keyring of this user holds no secret for the keys in {home}")
    return bytes.fromhex(found)
