"""The Go team's own notes and trees take ours, and refuse what isn't ours. Runs where Go and Debian's
golang-golang-x-mod-dev are installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hansa.audit.note import Note, to_base64
from hansa.crypto import merkle
from tests.grown import ED25519, LOG, Grown, cosigned_by, numbered

GO = shutil.which("go")
SOURCES = Path("/usr/share/gocode")
GROWN = Grown(numbered(300))
HEAD = GROWN.head()

pytestmark = pytest.mark.skipif(
    GO is None or not (SOURCES / "src/golang.org/x/mod/sumdb/tlog").is_dir(), reason="needs Go and golang.org/x/mod"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("go") / "verify"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(SOURCES), "GOFLAGS": "", "CGO_ENABLED": "0"}
    environment.setdefault("GOCACHE", str(built.parent / "cache"))
    source = Path(__file__).parent / "go" / "verify" / "main.go"
    subprocess.run([str(GO), "build", "-o", str(built), str(source)], env=environment, check=True, timeout=240)
    return built


def checks(note: Note) -> dict[str, Any]:
    return {
        "Note": bytes(note).decode(),
        "Log": str(LOG.key),
        "Witnesses": [str(cosigner.key) for cosigner in ED25519.values()],
        "Inclusion": [
            {
                "Index": index,
                "Leaf": to_base64(merkle.leaf(entry)),
                "Path": list(map(to_base64, GROWN.inclusion(index))),
            }
            for index, entry in enumerate(GROWN.entries)
        ],
        "Consistency": [
            {
                "Old": old,
                "Root": to_base64(GROWN.head(old).root),
                "Proof": list(map(to_base64, GROWN.consistency(old))),
            }
            for old in range(1, 301)
        ],
    }


def ask(program: Path, asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program)], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )


def test_go_takes_our_checkpoint_its_cosignatures_and_every_proof(program: Path) -> None:
    done = ask(program, checks(cosigned_by(HEAD)))
    assert done.returncode == 0, done.stderr
    # the log and three Ed25519 cosignatures; ML-DSA-44 it doesn't know
    assert json.loads(done.stdout) == {"known": 4, "unknown": 3, "included": 300, "consistent": 300}


def test_go_refuses_what_we_would(program: Path) -> None:
    asked = checks(cosigned_by(HEAD))
    for one in asked["Inclusion"]:
        one["Index"] = (one["Index"] + 1) % 300
    for one in asked["Consistency"]:
        one["Root"] = to_base64(bytes(32))
    assert json.loads(ask(program, asked).stdout) == {"known": 4, "unknown": 3, "included": 0, "consistent": 0}
    other = cosigned_by(GROWN.head(299))
    mixed = Note(other.text, (other.lines[0], cosigned_by(HEAD).lines[1]))
    refused = ask(program, checks(mixed))
    assert refused.returncode == 1
    assert "invalid signature" in refused.stderr
