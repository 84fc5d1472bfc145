"""The address of a broker and what it takes to reach it: a Redis URL, and certificates where it is on another machine.

`rediss://` alone verifies nothing in kombu, so certificate, authority and host name are checked by options that are
always given, and TLS is 1.3. With `[tls]` in the settings the authority is the consortium's own, and this party shows a
certificate of its own; without it the system's authorities are believed. Letters are sealed and signed whatever the
broker sees; TLS keeps strangers from its port and passwords from the wire.
"""

import ipaddress
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from hansa.errors import Refused


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """Paths of PEM files, from the home: who signs the servers' certificates, and this party's own."""

    authority: str
    certificate: str
    key: str

    def at(self, home: Path) -> "Tls":
        return Tls(*(str(home.resolve() / path) for path in (self.authority, self.certificate, self.key)))


class Address(Struct, frozen=True):
    """`url` is redis-py's (unix://, redis://, rediss://). Made by `address`, which checks it."""

    url: str
    tls: Tls | None = None

    def __repr__(self) -> str:
        return f"Address({urlsplit(self.url).scheme}://{urlsplit(self.url).hostname or ''})"  # a URL holds a password

    @property
    def for_kombu(self) -> str:
        """kombu's spelling of a socket's address; the rest is spelt alike."""
        return "redis+socket://" + self.url.removeprefix("unix://") if self.url.startswith("unix://") else self.url

    @property
    def options(self) -> dict[str, Any]:
        """What redis-py is told, and kombu as `ssl`; nothing for an address without TLS."""
        if not self.url.startswith("rediss://"):
            return {}
        checked = {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_3,
        }
        if self.tls is not None:
            return checked | {
                "ssl_ca_certs": self.tls.authority,
                "ssl_certfile": self.tls.certificate,
                "ssl_keyfile": self.tls.key,
            }
        paths = ssl.get_default_verify_paths()
        return checked | ({"ssl_ca_certs": paths.cafile} if paths.cafile else {"ssl_ca_path": paths.capath})


def address(url: str, tls: Tls | None = None) -> Address:
    """Refuses what is no Redis URL, and a plain connection to anywhere but this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise Refused("a broker's address is not a URL") from error
    if parts.scheme not in ("unix", "redis", "rediss"):
        raise Refused("a broker's address begins with unix://, rediss://, or redis:// on this machine")
    if parts.scheme == "redis" and not _is_loopback(host):
        raise Refused(f"the broker at '{host}' would be reached without TLS: write rediss:// in place of redis://")
    if parts.scheme == "rediss" and tls is not None:
        for path in (tls.authority, tls.certificate, tls.key):
            if not Path(path).is_file():
                raise Refused(f"[tls] names {path}, and there is no such file")
    return Address(url, tls)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
