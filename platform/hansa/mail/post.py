"""The way out and the way in at the broker, with the settings that were found to hold.

hub → site: a Celery task in the site's mailbox, one argument, the letter in base64. site → hub: a raw LPUSH, because a
Celery consumer must never read what a stranger may write: a malformed message stops its worker for good.

`ack_emulation` is off: with late acks a task that ends while the broker is away leaves a worker that lives and never
consumes again. A message taken and lost is sent again by the outbox.
"""

import base64
from typing import Any

import redis
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address

BROKER_ERRORS = (redis.RedisError, OperationalError, OSError)
LETTER_TASK, TURN_TASK, ADD_TASK = "hansa.letter", "hansa.turn", "hansa.add-up"
HUB_PREFIX = "h:"
_QUEUE = "tasks"
MOST_WAITING = 256  # letters in a site's mailbox; what is more waits in the outbox


def _transport(prefix: str, **more: Any) -> dict[str, Any]:
    return {
        "global_keyprefix": prefix,
        "priority_steps": [0],
        "ack_emulation": False,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        **more,
    }


def worker_app(name: str, address: Address, prefix: str) -> Celery:
    """A Celery app that consumes `tasks` under `prefix`: JSON only, early acks, no results, no remote control."""
    app = Celery(name, set_as_current=False)
    app.conf.update(
        broker_url=address.for_kombu,
        broker_use_ssl=address.options or None,
        broker_transport_options=_transport(prefix, socket_timeout=30, health_check_interval=25),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue=_QUEUE,
        task_queues=[Queue(_QUEUE, Exchange(_QUEUE, "direct"), routing_key=_QUEUE)],
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def run_worker(app: Celery) -> None:
    """Consumes until SIGTERM or SIGINT. `celery` on the command line would take BROKER_URL from the environment."""
    app.Worker(
        pool="solo",
        concurrency=1,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
    ).start()


class Sender:
    """Publishes one task into one queue; a connection of its own, opened when first needed."""

    def __init__(self, address: Address, prefix: str, task: str) -> None:
        self._task = task
        self._app = worker_app("hansa-sender", address, prefix)
        self._connection = Connection(
            address.for_kombu, ssl=address.options or False, transport_options=_transport(prefix, socket_timeout=5)
        )
        self._producer = self._connection.Producer(auto_declare=False)

    def __repr__(self) -> str:
        return f"Sender({self._task})"

    def send(self, argument: str) -> None:
        """Raises what redis or kombu raise when the broker is away."""
        self._app.send_task(
            self._task,
            args=[argument],
            queue=Queue(_QUEUE, no_declare=True),  # type: ignore[arg-type]  # a name would declare it: SADD refused
            producer=self._producer,
            retry=False,
            argsrepr="-",
            kwargsrepr="-",
        )

    def reset(self) -> None:
        """Forgets a broken connection; the next send opens another."""
        self._connection.close()
        self._connection = self._connection.clone()
        self._producer = self._connection.Producer(auto_declare=False)


def waiting_tasks(client: "redis.Redis", prefix: str) -> int:
    """How many tasks nobody has taken yet."""
    length: int = client.llen(f"{prefix}{_QUEUE}")
    return length


class ToSite:
    """The hub's way to one site's mailbox."""

    def __init__(self, address: Address, site: str) -> None:
        self._sender = Sender(address, site_prefix(site), LETTER_TASK)
        self._redis, self._prefix = raw_client(address), site_prefix(site)

    def send(self, letter: bytes) -> None:
        self._sender.send(base64.b64encode(letter).decode("ascii"))

    def room(self) -> int:
        """How many letters more the mailbox should get. A site that takes none gets no heap of them."""
        return max(MOST_WAITING - waiting_tasks(self._redis, self._prefix), 0)

    def reset(self) -> None:
        self._sender.reset()
        self._redis.connection_pool.disconnect()


class ToHub:
    """A site's way to the hub: a list that it may write and not read."""

    def __init__(self, address: Address, site: str) -> None:
        self._redis = raw_client(address)
        self._key = f"{site_prefix(site)}hub"

    def send(self, letter: bytes) -> None:
        self._redis.lpush(self._key, letter)

    def room(self) -> int:
        """A site may not look into that list. If the mailbox is full, `send` raises, and the letter waits."""
        return MOST_WAITING

    def reset(self) -> None:
        self._redis.connection_pool.disconnect()


def raw_client(address: Address, block_seconds: float = 0) -> "redis.Redis":
    """A client that neither retries by itself nor gives up before a blocking read of `block_seconds` ends."""
    return redis.Redis.from_url(
        address.url,
        socket_timeout=block_seconds + 5,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        **address.options,
    )


def letter_of(argument: object) -> bytes | None:
    """The bytes of a letter task's argument, or None for anything that is not base64 text."""
    if not isinstance(argument, str) or len(argument) > 2**24:
        return None
    try:
        return base64.b64decode(argument, validate=True)
    except ValueError:
        return None
