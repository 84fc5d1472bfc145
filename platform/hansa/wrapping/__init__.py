"""What wraps a party's keys (`hansa/key_file.py`): a secret in one of three stores. `keys.toml` names it.

    passphrase.py   "file"      a passphrase, stretched; and where passphrases and PINs are found
    keyring.py      "keyring"   32 bytes that the operating system keeps
    token.py        "pkcs11"    a key that a PKCS#11 token made, and never gives away

Each is loaded when it is first needed: nobody else needs its library.
"""

from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from hansa import toml
from hansa.errors import Refused

WAY: Final = "keys.toml"
LONGEST_LABEL: Final = 32  # bytes of a token's label (PKCS #11 v2.40, CK_TOKEN_INFO)
Store = Literal["file", "keyring", "pkcs11"]
# known: keys lie under the secret already. first: of keys that have none yet; it may be drawn. next: the same, of keys
# that lie under another one, which is at hand too.
Sought = Literal["known", "first", "next"]


class Way(Struct, frozen=True, forbid_unknown_fields=True):
    """`keys.toml`. `passphrase_file`: where the passphrase lies, or the token's PIN; a path in the home, or absolute.
    Empty: it is systemd's credential `hansa-passphrase`, else in HANSA_PASSPHRASE, else asked for.

    `module`, `token`, `key`, of a PKCS#11 token: the path of its library, its label, and the label of the key in it.
    """

    store: Store = "file"
    passphrase_file: str = ""
    module: str = ""
    token: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """ValueError, which msgspec tells of as of a wrong type."""
        place = (self.module, self.token, self.key)
        if self.store != "pkcs11":
            if any(place):
                raise ValueError("`module`, `token` and `key` are for the store 'pkcs11'")
            return
        if not all(place):
            raise ValueError("the store 'pkcs11' needs a `module`, a `token` and a `key`")
        if not Path(self.module).is_absolute():
            raise ValueError("`module` is the whole path of a PKCS#11 library")
        for label in (self.token, self.key):
            if not label.isprintable() or label != label.strip() or len(label.encode()) > LONGEST_LABEL:
                raise ValueError(f"`token` and `key` are labels of at most {LONGEST_LABEL} bytes, on one line")


ASKED = Way()


def chosen(**given: str) -> Way:
    """What a person asks for, by the names in `keys.toml`."""
    try:
        return msgspec.convert(given, Way)
    except msgspec.ValidationError as error:
        raise Refused(f"the keys can't be wrapped so: {error}") from error


def read_way(home: Path) -> Way:
    try:
        return msgspec.convert(toml.read(home / WAY), Way)
    except FileNotFoundError:
        return Way()
    except msgspec.ValidationError as error:
        raise Refused(f"{home / WAY}: {error}") from error


def wrapping_key(home: Path, way: Way, salt: bytes, sought: Sought = "known") -> bytes:
    """32 bytes, which no other salt gives."""
    from hansa.wrapping import keyring, passphrase, token

    match way.store:
        case "file":
            return passphrase.wrapping_key(home, way, salt, sought)
        case "keyring":
            return keyring.wrapping_key(home, salt, sought)
        case "pkcs11":
            return token.wrapping_key(home, way, salt, sought)
