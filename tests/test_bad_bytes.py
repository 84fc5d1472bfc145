"""Bad bytes at every door: only our errors, soon, in little memory; what is accepted has one encoding.

`make fuzz` looks further, led by coverage.
"""

import random
import time
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa import evidence_file, toml
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.letters import PAYLOADS, TO_HUB, TO_SITE
from hansa.messages import HUB, Envelope, Header, check_sender, decode, encode, read_envelope
from hansa.messages import _signed as signed_part
from hansa.protocols import key_setup, secure_sum
from hansa_site.settings import TableSource
from hansa_site.tables import load, schema
from tests.fuzz.mutations import NASTY, mutated
from tests.fuzz.target import OURS, Target
from tests.fuzz.targets import Finished, envelopes, finished, targets

SECONDS, MEMORY = 1.0, 64 * 2**20
ENVELOPES = 100_000
NAMES = [
    *(f"a letter to {name}" for name in (HUB, "s0")),
    *(f"payload {kind}" for kind in PAYLOADS),
    *sorted({f"message {one.accepts.__name__}" for module in (key_setup, secure_sum) for one in vars(module).values()
             if isinstance(getattr(one, "accepts", None), type)}),
    *("header", "letter's argument", "box", "charter", "plan", "step", "evidence", "replay", "evidence file"),
    *("note", "vkey", "checkpoint", "policy", "receipt", "add-checkpoint", "bundle", "tile's path"),
    *(f"verifier: {name}" for name in ("note", "charter", "entry", "bundle", "payload", "plan", "policy", "fork")),
    *(f"verifier: {name}" for name in ("export", "checkpoint", "shown")),
    *("NAME.request", "NAME.kit", "draft", "NAME.signature", "NAME.keys"),
    *("file keys", "file keys.next", "file keys.toml"),
    *("PLAN.toml", "CONSORTIUM.toml", "site.toml", "hub.toml", "formula", "parameters", "CSV", "Parquet"),
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def doors(done: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    found = targets(done, tmp_path_factory.mktemp("files"))
    for target in found.values():  # what is imported when first needed counts for nobody
        for seed in target.seeds:
            target.parse(seed)
    return found


def check(target: Target, data: bytes) -> bool:
    """Whether it was accepted."""
    start = time.process_time()
    try:
        written = target.parse(data)
    except OURS:
        return False
    finally:
        assert time.process_time() - start < SECONDS, data[:100]
    assert written is None or written == data
    return True


def test_every_parser_is_here_and_takes_what_is_good(doors: dict[str, Target]) -> None:
    assert sorted(doors) == sorted(NAMES)
    for name, target in doors.items():
        assert target.seeds, name
        for seed in target.seeds:
            assert check(target, seed), name


@pytest.mark.parametrize("name", NAMES)
def test_what_parsers_have_choked_on_is_refused_soon_and_in_little_memory(doors: dict[str, Target], name: str) -> None:
    for data in NASTY:
        check(doors[name], data)
    tracemalloc.start()
    try:
        for data in NASTY:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with suppress(OURS):
                doors[name].parse(data)
            assert tracemalloc.get_traced_memory()[1] - before < MEMORY, data[:100]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
def test_changed_bytes_meet_only_our_errors(doors: dict[str, Target], name: str) -> None:
    target = doors[name]

    @settings(max_examples=60)
    @given(st.integers(0, 2**63))
    def changed(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(3):
            check(target, mutated(chance, target.seeds))

    @settings(max_examples=30)
    @given(st.binary(max_size=3000))
    def any_bytes(data: bytes) -> None:
        check(target, data)

    changed()
    any_bytes()


def test_changed_evidence_is_found_to_be_changed(doors: dict[str, Target]) -> None:
    target, chance, tried = doors["replay"], random.Random(5), 0
    while tried < 400:
        data = mutated(chance, target.seeds)
        if data not in target.seeds:
            tried += 1
            assert not check(target, data)


# What the above has found


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "{a=" * 20_000, "a = " + "9" * 5000])
def test_toml_that_python_gives_up_on_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(Refused, match="not a TOML file"):
        toml.parse(text, "plan")


def test_a_toml_key_of_ten_thousand_dots_is_refused_at_once() -> None:
    start = time.process_time()
    with pytest.raises(Refused, match="line 2 has more than 500 dots"):
        toml.parse("\n" + "a." * 20_000 + "a = 1", "plan")
    assert time.process_time() - start < 0.1
    assert toml.parse(f"a = [{', '.join(['1.5'] * 500)}]", "plan") == {"a": [1.5] * 500}


@pytest.mark.parametrize("name", ["site.toml", "hub.toml"])
def test_settings_that_are_not_text_are_refused_in_a_sentence(doors: dict[str, Target], name: str) -> None:
    with pytest.raises(Refused, match="can't be read"):
        doors[name].parse(b"\xff\xfe")


def test_a_parquet_file_on_which_its_reader_panics_is_refused(doors: dict[str, Target]) -> None:
    """A panic of Polars is no Exception: it would end the thread."""
    target, chance = doors["Parquet"], random.Random("Parquet")
    for _ in range(2500):
        check(target, mutated(chance, target.seeds))


@pytest.mark.parametrize("name", ["*", "^.*$"])
def test_a_column_whose_name_polars_would_expand_is_that_column(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(f"secret,{name}\n7,1\n8,2\n", encoding="utf-8")
    table = load(TableSource("t", "t.csv"), tmp_path, (name,))
    assert table.rows == 2 and list(table.columns) == [name] and list(table.columns[name]) == [1.0, 2.0]


# Bombs


def test_a_zip_bomb_is_no_evidence(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evidence", bytes(2**26))
    assert path.stat().st_size < 2**17
    tracemalloc.start()
    with pytest.raises(ProtocolViolation, match="compressed"):
        evidence_file.EvidenceFile(path).evidence()
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_compressed_csv_is_not_unpacked(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "t.csv").write_bytes(gzip.compress(b"x\n" + b"1\n" * 10_000_000))
    with pytest.raises(Refused):
        schema(TableSource("t", "t.csv"), tmp_path)


# Envelopes


class Letters:
    """Real letters by receiver, and ways to make others of them."""

    def __init__(self, done: Finished) -> None:
        self.done, self.chance = done, random.Random(11)
        real = {name: [data for data in many if len(data) < 8000] for name, many in envelopes(done).items()}
        self.real = real
        self.sent = {data for many in real.values() for data in many}

    def accepts(self, name: str, data: bytes) -> bool:
        """As a gateway or a site does before a letter is worked off."""
        desk = self.done.world.desks[name]
        try:
            header, envelope = desk.read(data, TO_HUB if name == HUB else TO_SITE)
            desk.open(header, envelope)
        except ProtocolViolation:
            return False
        return True

    def bent(self, name: str) -> bytes:
        """Good MessagePack, signed by nobody or by somebody else."""
        chance = self.chance
        envelope = decode(chance.choice(self.real[name]), Envelope)
        other = decode(chance.choice(self.real[chance.choice(list(self.real))]), Envelope)
        header, text, signature = envelope.header, envelope.ciphertext, envelope.signature
        way = chance.randrange(7)
        if way == 0:
            header = encode(self._changed(decode(header, Header)))
        elif way == 1:
            text = other.ciphertext
        elif way == 2:
            text = text[: chance.randrange(len(text))]
        elif way == 3:
            text += chance.randbytes(chance.choice((1, 16, 1024)))
        elif way == 4:
            header = other.header
        elif way == 5:
            signature = other.signature
        else:
            return self._stolen(envelope)
        return encode(Envelope(header, text, signature))

    def _changed(self, header: Header) -> Header:
        changes = {
            "version": 2,
            "suite": 0,
            "sender": self.chance.choice(["s1", "s2", HUB, "nobody"]),
            "receiver": self.chance.choice(["s1", "s2", HUB]),
            "charter": 2,
            "run": f"{self.chance.getrandbits(128):032x}",
            "sequence": header.sequence + self.chance.randrange(1, 1000),
            "kind": self.chance.choice([kind for kind in PAYLOADS if kind != header.kind]),
        }
        field = self.chance.choice(list(changes))
        return msgspec.structs.replace(header, **{field: changes[field]})

    def _stolen(self, envelope: Envelope) -> bytes:
        """Another member signs the ciphertext as its own: the signature holds, and the letter doesn't open."""
        header = decode(envelope.header, Header)
        thief = self.chance.choice([name for name in self.done.world.names if name not in (header.sender, HUB)])
        claimed = thief if self.chance.random() < 0.2 else header.sender
        raw = encode(msgspec.structs.replace(header, sender=claimed))
        signature = self.done.world.keys[thief].signing.sign("envelope", signed_part(raw, envelope.ciphertext))
        return encode(Envelope(raw, envelope.ciphertext, signature))


def test_of_a_hundred_thousand_changed_envelopes_none_is_accepted(done: Finished) -> None:
    letters = Letters(done)
    receivers = [name for name in letters.real if letters.real[name]]
    assert all(letters.accepts(name, data) for name in receivers for data in letters.real[name])
    tried = accepted = 0
    while tried < ENVELOPES:
        name = letters.chance.choice(receivers)
        data = letters.bent(name) if tried % 3 == 0 else mutated(letters.chance, letters.real[name])
        if data not in letters.sent:
            tried += 1
            accepted += letters.accepts(name, data)
    assert (tried, accepted) == (ENVELOPES, 0)


def test_a_thief_that_signs_a_ciphertext_as_its_own_passes_the_signature_and_no_further(done: Finished) -> None:
    letters, passed = Letters(done), 0
    for _ in range(300):
        data = letters._stolen(decode(letters.chance.choice(letters.real[HUB]), Envelope))
        header, envelope = read_envelope(data)
        try:
            check_sender(envelope, done.world.charter.party(header.sender).signing)
            passed += 1
        except ProtocolViolation:
            pass
        assert not letters.accepts(HUB, data)
    assert passed > 20
