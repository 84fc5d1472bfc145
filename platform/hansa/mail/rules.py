"""Who may send which command to which key: access rules of the brokers (Valkey, or Redis from 7.0).

A site has a mailbox server of its own with three users:

| user        | who runs it        | may                                                             |
|-------------|--------------------|-----------------------------------------------------------------|
| site-<site> | the site's worker  | take from `s:<site>:tasks`; push to `s:<site>:hub`, unseen;     |
|             |                    | write `s:<site>:up:*`, read `s:<site>:dn:*`                     |
| hub         | publisher, gateway | push to `tasks`; move from `hub` to its own `h:*`; the blobs    |
| admin       | the operator       | everything; absent unless a digest is given                     |

The hub's private server, which no site reaches, has `hub` (its Celery) and `admin`. Nobody but the operator
may run scripts, publish, list keys or change settings: a script that loops freezes every client and can't be
stopped once it wrote. The rules don't limit memory or connections; that is why each site has its own server.

They are for a Celery consumer with `ack_emulation = False`; with kombu's default it would need scripts.
"""

import re
from hashlib import sha256
from typing import Final

from hansa.errors import Refused

HUB: Final = "hub"
ADMIN: Final = "admin"

SITE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

# The default user can't log in. It keeps its commands, because a server that replays its log does so as this
# user, and with "-@all" Valkey 8 and Redis 7 would drop every MULTI/EXEC in silence (valkey#3983).
DEFAULT_USER: Final = "user default off resetpass ~* &* +@all"
NOTHING: Final = "resetkeys resetchannels -@all"
CONNECTION: Final = "+ping +client|setname +multi +exec"

Version = tuple[int, int]  # of the server, as Redis counts them; every Valkey is at least 7.2
OLDEST: Final[Version] = (7, 0)  # the first with rules that name keys to read or to write, and selectors
NEW: Final[Version] = (7, 2)  # the first with CLIENT SETINFO; an older server doesn't start on a rule that names it


def mailbox_rules(
    site: str, site_digest: str, hub_digest: str, admin_digest: str | None = None, version: Version = NEW
) -> str:
    """The access file of the mailbox server of `site`; digests as `password_digest` makes them.

    Raises Refused for a name that is not a site's name: a name with a wildcard would open other sites' keys.
    """
    prefix, connection = site_prefix(site), _connection(version)
    member = (
        f"user {site_user(site)} on {_password(site_digest)} {NOTHING} {connection}"
        f" (+brpop +lpush +llen ~{prefix}tasks)"
        f" (+sadd ~{prefix}_kombu.binding.tasks ~{prefix}_kombu.binding_permanent.tasks)"
        f" (+lpush %W~{prefix}hub)"
        f" (+set %W~{prefix}up:*)"
        f" (+get %R~{prefix}dn:*)"
    )
    hub = (
        f"user {HUB} on {_password(hub_digest)} {NOTHING} {connection} +discard +unwatch"
        f" (+lpush +llen ~{prefix}tasks)"
        f" (+blmove +lmove +lrem +llen +lrange ~{prefix}hub ~h:*)"
        f" (+set +get +getdel +del ~{prefix}up:* ~{prefix}dn:*)"
        f" (+getrange %R~{prefix}up:*)"
    )
    return _file(member, hub, admin_digest=admin_digest)


def private_rules(hub_digest: str, admin_digest: str | None = None, version: Version = NEW) -> str:
    """The access file of the hub's private server: its own Celery workers, everything under `h:`."""
    hub = (
        f"user {HUB} on {_password(hub_digest)} {NOTHING} {_connection(version)} +discard +unwatch"
        " (+brpop +lpush +rpush +llen +sadd +smembers ~h:*)"
    )
    return _file(hub, admin_digest=admin_digest)


def site_prefix(site: str) -> str:
    """What every key of `site` starts with: Celery's `global_keyprefix`. Raises Refused for a bad name."""
    if not SITE_NAME.fullmatch(site):
        raise Refused("the name of a site is 1 to 32 characters: a letter, then letters, digits, hyphens")
    return f"s:{site}:"


def site_user(site: str) -> str:
    """The broker's name for `site`; never `hub`, `admin` or `default`."""
    return f"site-{site}"


def password_digest(password: str) -> str:
    """SHA-256 in hexadecimal, as the server stores it: enough because passwords are drawn, never chosen."""
    return sha256(password.encode()).hexdigest()


def _connection(version: Version) -> str:
    if version < OLDEST:
        raise Refused(f"the server is older than {OLDEST[0]}.{OLDEST[1]}, and can't hold a site to its own keys")
    return CONNECTION if version < NEW else f"{CONNECTION} +client|setinfo"


def _password(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError("a password stands in the rules as 64 hexadecimal digits of SHA-256")
    return f"#{digest}"


def _file(*users: str, admin_digest: str | None) -> str:
    admin = [] if admin_digest is None else [f"user {ADMIN} on {_password(admin_digest)} ~* &* +@all"]
    return "\n".join([DEFAULT_USER, *users, *admin]) + "\n"
