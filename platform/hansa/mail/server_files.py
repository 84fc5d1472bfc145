"""Configuration of one broker server, as text: with TLS of its own, or behind stunnel where the server has none.

Paths are relative to the server's folder, which is where it must be started; so the folder can be moved. Nothing is
written to disk. `clients.pem` holds the authorities whose clients may connect at all, `peers.pem` the very
certificates: Redis checks the former, stunnel the latter.
"""

from typing import Final

# Both size limits exceed a blob chunk of 4 MiB. A broker that evicts would lose letters in silence.
LIMITS: Final = """\
daemonize no
databases 1
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
proto-max-bulk-len 8mb
client-query-buffer-limit 32mb
tcp-backlog 128
protected-mode yes
"""


def with_tls(port: int, bind: str) -> str:
    """For a server that speaks TLS: Redis from 7.0 as Debian has it, Valkey if it was built so."""
    return LIMITS + (
        f"bind {bind}\n"
        "port 0\n"
        f"tls-port {port}\n"
        "tls-protocols TLSv1.3\n"
        "tls-auth-clients yes\n"
        "tls-session-caching no\n"
        "tls-ca-cert-file clients.pem\n"
        "tls-cert-file server.pem\n"
        "tls-key-file server.key\n"
        "aclfile users.acl\n"
    )


def behind_stunnel() -> str:
    """For a server without TLS: a socket in its folder, and no port."""
    return f"{LIMITS}port 0\nunixsocket server.sock\nunixsocketperm 700\naclfile users.acl\n"


def stunnel(port: int, bind: str) -> str:
    """stunnel before such a server: only a client whose certificate stands in `peers.pem` comes through."""
    accept = f"{port}" if bind.startswith("*") else f"{bind}:{port}"
    return (
        "foreground = yes\n"
        "syslog = no\n"
        "[broker]\n"
        f"accept = {accept}\n"
        "connect = server.sock\n"
        "cert = server.pem\n"
        "key = server.key\n"
        "CAfile = peers.pem\n"
        "verifyPeer = yes\n"
        "sslVersionMin = TLSv1.3\n"
    )
