"""What this machine does at best: the yardsticks beside which the other figures stand."""

import os
import time
from collections.abc import Callable
from hashlib import sha256
from statistics import median

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

REPEATS = 5
ELEMENTS = 2**22  # 32 MiB


def cpu(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median CPU seconds of this process."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return median(taken)


def lines() -> list[str]:
    vector, other = np.ones(ELEMENTS, dtype=np.uint64), np.ones(ELEMENTS, dtype=np.uint64)
    gigabytes = vector.nbytes / 1e9
    zeros, out = bytes(2**18), bytearray(2**18)

    def keystream() -> None:
        context = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
        for _ in range(vector.nbytes // 2**18):
            context.update_into(zeros, out)

    return [
        f"| AES-256-CTR from cache | {gigabytes / cpu(keystream):.1f} GB/s |",
        f"| SHA-256 | {gigabytes / cpu(lambda: sha256(vector.data)):.1f} GB/s |",
        f"| memory copy | {gigabytes / cpu(lambda: np.copyto(other, vector)):.1f} GB/s |",
        f"| numpy sum of two vectors of {ELEMENTS} | {cpu(lambda: np.add(vector, other, out=other)) * 1e3:.1f} ms |",
    ]
