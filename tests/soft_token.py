"""A PKCS#11 token in software: SoftHSM, in a folder of the test's own."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN, LABEL, KEY = "4711-pin", "hansa test", "key of a site"


def module() -> Path:
    """SoftHSM's library, where Debian or another system puts it; skips where there is none."""
    if shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not here: install Debian's softhsm2")
    pytest.importorskip("pkcs11", reason="the extra hansa[pkcs11] is not here")
    found = [path for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib") for path in Path(folder).rglob(NAME)]
    if not found:
        pytest.skip(f"{NAME} is not here")
    return found[0]


NAME = "libsofthsm2.so"


@dataclass(frozen=True)
class SoftToken:
    module: Path
    folder: Path

    def pull_out(self) -> None:
        (self.folder / "tokens").rename(self.folder / "drawer")
        (self.folder / "tokens").mkdir()

    def put_back(self) -> None:
        (self.folder / "tokens").rmdir()
        (self.folder / "drawer").rename(self.folder / "tokens")


def plugged_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    library = module()
    (folder / "tokens").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    make_token(LABEL)
    return SoftToken(library, folder)


def make_token(label: str) -> None:
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-pin-1234"]
    subprocess.run(command, check=True, capture_output=True)
