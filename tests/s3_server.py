"""An S3 server of its own process, on the loopback address: moto's, which keeps everything in memory."""

import socket
import subprocess
import sys
import time
import urllib.request
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from hansa.mail.bucket import Access, Bucket

READY_SECONDS = 60.0
RUN_IT = "import sys; from moto.server import main; main(sys.argv[1:])"


class S3Server:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.endpoint, self.log, self._numbers = f"http://127.0.0.1:{self.port}", folder / "log", count()
        self.access = Access(self.endpoint, "us-east-1", "a key", "a secret word")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", RUN_IT, "-H", "127.0.0.1", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"no S3 server came up: {self.log.read_text(errors='replace')[-500:]}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def make(self, name: str = "") -> str:
        """A new empty bucket; gives its address and a prefix."""
        name = name or f"hansa-{next(self._numbers)}"
        asked = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        urllib.request.urlopen(asked, timeout=10).close()
        return f"s3://{name}/of/the/hub"

    def bucket(self) -> Bucket:
        return Bucket(self.make(), self.access)
