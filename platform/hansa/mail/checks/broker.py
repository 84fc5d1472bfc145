"""Whether a broker's server can be used, tried in the way that letters go: the same address, TLS, login and commands.

Commands are only queued, after MULTI; the connection is then dropped without EXEC. The server checks permission and
room when it queues a command, so nothing is changed by asking.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import redis
from msgspec import Struct
from redis.exceptions import NoPermissionError, OutOfMemoryError

from hansa.mail.checks import Finding
from hansa.mail.post import raw_client
from hansa.mail.tls import Address

Kind = Literal[
    "name", "refused", "socket", "silent", "authority", "expired", "early", "host", "certificate", "password",
    "permission", "full", "other",
]  # fmt: skip
Command = tuple[str, ...]


class Trouble(Struct, frozen=True):
    kind: Kind
    says: str


class Probe(Struct, frozen=True):
    """`lengths`, one a list that was asked for, are there even when the server is full."""

    trouble: Trouble | None
    lengths: tuple[int, ...] = ()


EXPIRED, EARLY, HOST, IP = 10, 9, 62, 64  # X509_V_ERR_…, of OpenSSL
_SAYS: Final[Mapping[Kind, str]] = {
    "name": "the host name of {place} can't be resolved",
    "refused": "nothing listens at {place}: the connection was refused",
    "socket": "there is no server at the socket {place}",
    "silent": "{place} does not answer: the connection timed out",
    "authority": "the certificate of {place} is of another authority than the pinned one",
    "expired": "the certificate of {place} has expired, or this machine's clock is ahead",
    "early": "the certificate of {place} is not yet valid: this machine's clock is behind",
    "host": "the certificate of {place} is for another host name",
    "certificate": "{place} refuses this party's TLS certificate, or closes the connection",
    "password": "{place} refuses the name or the password",
    "permission": "{place} does not allow {denied}",
    "full": "{place} is full: it has used the memory that it may use, and takes no more letters",
    "other": "{place} can't be used ({denied})",
}


def place(address: Address) -> str:
    """Where it listens, without the login."""
    parts = urlsplit(address.url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or 6379}"


def probe(address: Address, may: Sequence[Command], lists: Sequence[str] = ()) -> Probe:
    """Tries the commands that letters need, and measures `lists`."""
    try:
        with raw_client(address) as client:
            connection = client.connection_pool.get_connection()
            try:
                return _try(connection, place(address), may, lists)
            finally:
                connection.disconnect()
    except (redis.RedisError, OSError) as error:
        return Probe(trouble_of(error, place(address)))


def finding(about: str, address: Address, found: Probe, mend: Mapping[Kind, str], well: str) -> Finding:
    """`mend` is the operator's, who at the hub can do other things than at a site; `well` follows the place."""
    if found.trouble is None:
        return Finding("ok", about, f"{place(address)} {well}")
    return Finding("wrong", about, found.trouble.says, mend[found.trouble.kind])


def _try(connection: Any, where: str, may: Sequence[Command], lists: Sequence[str]) -> Probe:
    denied, full, lengths = [], False, []
    for name in lists:
        connection.send_command("LLEN", name)
        lengths.append(int(connection.read_response()))
    connection.send_command("MULTI")
    connection.read_response()  # a server that refuses it must be sent nothing more: it would do it
    for command in may:
        connection.send_command(*command)
        try:
            connection.read_response()
        except NoPermissionError:
            denied.append(f"{command[0]} on {command[1]}")
        except OutOfMemoryError:
            full = True
    trouble = None
    if denied:
        trouble = _trouble("permission", where, ", ".join(denied))
    elif full:
        trouble = _trouble("full", where)
    return Probe(trouble, tuple(lengths))


def trouble_of(error: BaseException, where: str) -> Trouble:
    """In words, from the first error of a chain of causes that tells."""
    for cause in _causes(error):
        kind = _kind(cause)
        if kind is not None:
            return _trouble(kind, where)
    if isinstance(error, NoPermissionError):
        return _trouble("permission", where, "what letters need")
    return _trouble("other", where, type(error).__name__)


def _trouble(kind: Kind, where: str, denied: str = "") -> Trouble:
    return Trouble(kind, _SAYS[kind].format(place=where, denied=denied))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _kind(error: BaseException) -> Kind | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        codes: dict[int, Kind] = {EXPIRED: "expired", EARLY: "early", HOST: "host", IP: "host"}
        return codes.get(error.verify_code, "authority")
    kinds: tuple[tuple[type[BaseException], Kind], ...] = (
        (redis.AuthenticationError, "password"),
        (ssl.SSLError, "certificate"),
        (socket.gaierror, "name"),
        (ConnectionRefusedError, "refused"),
        (FileNotFoundError, "socket"),
        (TimeoutError, "silent"),
        (ConnectionResetError, "certificate"),
        (BrokenPipeError, "certificate"),
        (redis.TimeoutError, "silent"),
    )
    for type_, kind in kinds:
        if isinstance(error, type_):
            return kind
    closed = isinstance(error, redis.ConnectionError) and "closed by server" in str(error).lower()
    return "certificate" if closed else None
