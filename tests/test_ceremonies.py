"""The charter's ceremonies as their people carry them out: draft, sign, complete, accept, and the versions after."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hansa import charter as charters
from hansa import key_file
from hansa.audit import roster
from hansa.audit.checkpoint import Checkpoint
from hansa.audit.tree import Head
from hansa.charter import Charter, FirstCharter, FirstRules, FirstSignedCharter, Party, Rules
from hansa.cli import app
from hansa.crypto.bundles import FIRST_BYTES, HubKeys, MemberKeys
from hansa.crypto.keys import SigningKey
from hansa.errors import ProtocolViolation, Refused
from hansa.files import write_private, write_toml
from hansa.hub import drafts, new_log
from hansa.hub import settings as hub_settings
from hansa.hub.models import WitnessRow
from hansa.jobs.base import Column, Schema
from hansa.mail import charter_files, charter_text, renewal
from hansa.mail.blobs import Folder
from hansa.mail.database import migrate, open_engine
from hansa.mail.founding import compare, digits, fingerprint, read_draft
from hansa.messages import encode
from hansa.plan import Question, load, make
from hansa.words import BITS, words
from hansa_site import joining, vault
from tests import cards
from tests.founded import WAY, Founded

SITES = ("east", "north", "south", "west")
OURS = (Refused, ProtocolViolation)


@pytest.fixture(scope="module")
def founded_once(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return Founded(tmp_path_factory.mktemp("founded"), SITES, 7400)


class Ceremony:
    """A consortium's homes, in version 1, and the operators' commands over them."""

    def __init__(self, founded: Founded) -> None:
        self.root, self.hub = founded.root, founded.root / "hub"
        self.post = self.root / "post"
        self.post.mkdir()
        requests = [self.put(f"{site}.request", encode(founded.requests[site])) for site in SITES]
        self.draft = self.post / "charter.draft"
        self.said("charter draft", *requests, "--consortium", "hearts", "--home", self.hub, "--out", self.draft)
        self.pass_on()

    def home(self, site: str) -> Path:
        return self.root / site

    def put(self, name: str, data: bytes) -> Path:
        path = self.post / name
        path.write_bytes(data)
        return path

    def said(self, command: str, *more: object, answer: str = "") -> str:
        done = CliRunner().invoke(app, [*command.split(), *map(str, more)], input=answer)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    def sign(self, *sites: str) -> list[Path]:
        for site in sites:
            out = self.post / f"{site}.signature"
            self.said("charter sign", self.draft, "--home", self.home(site), "--out", out, answer="y\n")
        return [self.post / f"{site}.signature" for site in sites]

    def complete(self, *sites: str) -> bytes:
        out = self.post / "charter"
        self.said("charter complete", self.draft, *self.sign(*sites), "--home", self.hub, "--out", out)
        return out.read_bytes()

    def pass_on(self, signers: Sequence[str] = SITES, accepting: Sequence[str] = SITES) -> Charter:
        signed = self.complete(*signers)
        for site in accepting:
            self.said("charter accept", self.put("charter", signed), "--home", self.home(site))
        return hub_settings.read_charter(self.hub)

    def new_keys(self, site: str) -> Path:
        out, side = self.post / f"{site}.keys", "hub" if site == "hub" else "site"
        self.said(f"{side} new-keys", "--home", self.home(site), "--out", out)
        return out

    def rotate(self, *sites: str) -> None:
        files = [self.new_keys(site) for site in sites]
        self.said("charter rotate-key", *files, "--home", self.hub, "--out", self.draft)


@pytest.fixture(scope="module")
def first(founded_once: Founded) -> Ceremony:
    return Ceremony(founded_once)


@pytest.fixture
def ceremony(first: Ceremony, tmp_path: Path) -> Iterator[Ceremony]:
    """A copy of version 1's homes, to be changed."""
    copy = object.__new__(Ceremony)
    copy.root, copy.hub, copy.post = tmp_path / "c", tmp_path / "c" / "hub", tmp_path / "c" / "post"
    copy.draft = copy.post / "charter.draft"
    shutil.copytree(first.root, copy.root)
    yield copy


# Reading aloud


def test_a_fingerprint_is_twelve_words_and_any_other_card_has_another() -> None:
    party = cards.member("a", 0)
    said = fingerprint(party).split()
    assert len(said) == 12 and BITS == 132 and all(word.isalpha() for word in said)
    assert fingerprint(party) != fingerprint(cards.member("a", 1)) != fingerprint(replace(party, name="b"))
    compare(party, fingerprint(party).upper().replace(" ", "-"))
    compare(party, digits(party))
    for wrong in ("", fingerprint(cards.member("a", 1)), " ".join([*said[:11], said[0]]), " ".join(said[:11])):
        with pytest.raises(Refused, match="do not use it"):
            compare(party, wrong)


def test_words_are_the_first_bits_of_the_digest() -> None:
    assert words(bytes(32)) == " ".join(["abandon"] * 12)
    assert words(b"\xff" * 32) == " ".join(["zoo"] * 12)
    assert words(bytes(16) + b"\x0f" + b"\xff" * 15) == " ".join(["abandon"] * 12)
    assert words(bytes(16) + b"\x10" + bytes(15)) == " ".join([*["abandon"] * 11, "ability"])


def test_a_charter_is_shown_as_text_with_every_fingerprint(ceremony: Ceremony) -> None:
    said = ceremony.said("charter show", "--home", ceremony.home("north"))
    charter = hub_settings.read_charter(ceremony.hub)
    assert all(fingerprint(party) in said for party in (charter.hub, *charter.members))
    assert words(charter.digest) in said and "version = 1" in said
    assert said.strip() == ceremony.said("charter show", ceremony.hub / "charter").strip()


# The next version


def test_a_member_rotates_its_keys_and_the_draft_shows_it(ceremony: Ceremony) -> None:
    before = hub_settings.read_charter(ceremony.hub)
    ceremony.rotate("north", "hub")
    draft = read_draft(ceremony.draft.read_bytes())
    said = ceremony.said("charter show", ceremony.draft, "--home", ceremony.home("south"))
    assert f"new keys: north (north), fingerprint now {fingerprint(draft.member('north'))}" in said
    assert f"new keys: the hub, fingerprint now {fingerprint(draft.hub)}" in said
    after = ceremony.pass_on(("north", "south", "west"))
    assert (after.version, after.previous, after.digest) == (2, before.digest, draft.digest)
    for name in SITES:
        assert joining.own_card(ceremony.home(name)) == after.member(name)
        assert joining.hub_card(ceremony.home(name)) == after.hub
    old, new = before.member("north"), after.member("north")
    for one in ("signing", "sealing", "consent", "lasting", "witness", "witness_lattice"):
        assert getattr(old, one) != getattr(new, one)
    assert vault.read_keys(ceremony.home("north")).signing.public == new.signing
    assert hub_settings.read_keys(ceremony.hub).signing.public == after.hub.signing
    chain = [(ceremony.home("west") / "charters" / str(number)).read_bytes() for number in (1, 2)]
    assert charters.load_chain(chain) == [before, after]


def test_old_keys_are_kept_for_one_version_and_then_erased(ceremony: Ceremony) -> None:
    home, first = ceremony.home("north"), hub_settings.read_charter(ceremony.hub)
    ceremony.rotate("north")
    assert len(key_file.look(home).signing) == 2
    second = ceremony.pass_on()
    assert set(key_file.look(home).signing) == {one.member("north").signing for one in (first, second)}
    ceremony.rotate("north")
    third = ceremony.pass_on()
    assert set(key_file.look(home).signing) == {one.member("north").signing for one in (second, third)}


def test_new_keys_that_are_asked_for_again_are_the_same_and_the_old_ones_hold_meanwhile(ceremony: Ceremony) -> None:
    charter, home = hub_settings.read_charter(ceremony.hub), ceremony.home("north")
    cards_of = [renewal.read(ceremony.new_keys("north").read_bytes(), charter) for _ in range(2)]
    assert cards_of[0] == cards_of[1] != charter.member("north")
    assert vault.read_keys(home).signing.public == charter.member("north").signing
    assert vault.open_desk(home, "north", Folder(home / "chunks")).charter == charter


def test_no_byte_of_a_keys_file_may_change_and_it_is_for_one_charter(ceremony: Ceremony) -> None:
    charter = hub_settings.read_charter(ceremony.hub)
    data = ceremony.new_keys("north").read_bytes()
    for place in (*range(0, 60, 7), *range(60, len(data), 211), len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises(OURS):
            renewal.read(bytes(altered), charter)
    with pytest.raises(OURS):
        renewal.read(data, replace(charter, version=2))


def test_keys_that_the_party_does_not_hold_prove_nothing(ceremony: Ceremony) -> None:
    """A member that enters another's witness key would see its cosignatures counted as its own."""
    charter, home = hub_settings.read_charter(ceremony.hub), ceremony.home("north")
    old, new = vault.read_keys(home), cards.member_keys(77)
    theirs = replace(charters.member_of("north", "north", new), witness=charter.member("west").witness)
    forged = renewal._made(charter, theirs, old.signing, (new.signing, new.consent, SigningKey(new.witness[0])))
    with pytest.raises(ProtocolViolation, match="does not hold"):
        renewal.read(forged, charter)


def test_a_member_is_removed_by_the_others_and_its_home_says_so(ceremony: Ceremony) -> None:
    ceremony.said("charter remove-member", "north", "--home", ceremony.hub, "--out", ceremony.draft)
    said = ceremony.said("charter show", ceremony.draft, "--home", ceremony.home("south"))
    assert "leaves: north (north)" in said and "will need 2 signatures, before 3" in said
    with pytest.raises(Refused, match="not a member"):
        joining.read(ceremony.home("north"), ceremony.draft.read_bytes())
    after = ceremony.pass_on(("east", "south", "west"), ("east", "south", "west"))
    assert [member.id for member in after.members] == ["east", "south", "west"]
    with pytest.raises(Refused, match="no member any more"):
        joining.accept(ceremony.home("north"), (ceremony.post / "charter").read_bytes())


def test_rules_change_and_a_member_comes(ceremony: Ceremony, founded_once: Founded, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[rules]\nround_seconds = 7\nkinds = ["summary"]\n')
    _, request = joining.init(ceremony.home("zeta"), "zeta", way=WAY)
    path = ceremony.put("zeta.request", request)
    with pytest.raises(Refused, match="zeta has no mailbox"):
        ceremony.said("charter amend", "--add", path, "--home", ceremony.hub)
    fingerprints = [fingerprint(joining.own_card(ceremony.home("zeta")))]
    kit = ceremony.post / "zeta.kit"
    ceremony.said(
        "site kit", path, "--hub", ceremony.hub, "--out", kit, "--host", "127.0.0.1", "--fingerprint", *fingerprints
    )
    hub = fingerprint(hub_settings.read_charter(ceremony.hub).hub)
    ceremony.said("site join", kit, "--home", ceremony.home("zeta"), "--hub-fingerprint", hub)
    ceremony.said("charter amend", "--add", path, "--rules", rules, "--home", ceremony.hub, "--out", ceremony.draft)
    said = ceremony.said("charter show", ceremony.draft, "--home", ceremony.home("south"))
    assert "joins: zeta (zeta)" in said and "rule round_seconds: 7, before 20" in said and "rule kinds" in said
    after = ceremony.pass_on(SITES, (*SITES, "zeta"))
    assert (after.rules.round_seconds, after.rules.kinds, after.rules.minimum_sites) == (7, ("summary",), 3)
    assert charter_files.current(ceremony.home("zeta")) == after
    with pytest.raises(Refused, match="say what changes"):
        ceremony.said("charter amend", "--home", ceremony.hub)


def test_too_few_signatures_make_no_next_version(ceremony: Ceremony) -> None:
    ceremony.rotate("north")
    with pytest.raises(ProtocolViolation, match="signed by 2"):
        ceremony.complete("south", "west")
    with pytest.raises(ProtocolViolation, match="not a"):
        joining.accept(ceremony.home("north"), ceremony.draft.read_bytes())
    assert hub_settings.read_charter(ceremony.hub).version == 1


def test_a_home_goes_neither_back_nor_over_a_version(ceremony: Ceremony) -> None:
    ceremony.rotate("north")
    ceremony.pass_on(accepting=("north", "south", "west"))
    ceremony.rotate("north")
    third = ceremony.complete("north", "south", "west")
    with pytest.raises(Refused, match="accept 2 before this one"):
        joining.accept(ceremony.home("east"), third)
    joining.accept(ceremony.home("north"), third)
    for number in (1, 2):
        older = (ceremony.home("north") / "charters" / str(number)).read_bytes()
        with pytest.raises(Refused, match="no way back"):
            joining.accept(ceremony.home("north"), older)
        with pytest.raises(Refused, match="no way back"):
            drafts.accept(ceremony.hub, older)
    assert vault.read_charter(ceremony.home("north"), "north").version == 3


def test_two_drafts_of_one_version_are_told_of(ceremony: Ceremony) -> None:
    ceremony.rotate("north")
    one = ceremony.pass_on(accepting=("north", "south"))
    other = charters.draft("hearts", one.hub, one.members, Rules(round_seconds=9), one.origin,
                           charter_files.former(ceremony.hub, one)[-1])  # fmt: skip
    keys = {name: vault.read_keys(ceremony.home(name)) for name in ("north", "south", "west")}
    with pytest.raises(Refused, match="holds another version 2 of the charter"):
        joining.accept(ceremony.home("south"), cards.signed(other, keys))


def test_nothing_differs_without_a_line_of_it() -> None:
    before = cards.charter(["a", "b", "c", "d"])
    for change in (
        {"hub": cards.hub(9)},
        {"origin": "hansa/other/0"},
        {"members": before.members[:3]},
        {"members": (*before.members[:3], cards.member("e", 9))},
        {"members": (*before.members[:3], replace(before.members[3], name="Another"))},
        *({"rules": replace(before.rules, **{name: value})} for name, value in
          [("minimum_sites", 4), ("corrupt", 0), ("round_seconds", 1), ("quorum", 3), ("kinds", ("glm",)),
           ("retention_years", 9)]),
    ):  # fmt: skip
        assert charter_text.changes(replace(before, **change), before)  # type: ignore[arg-type]
    assert charter_text.changes(before, before) == []


def test_an_auditor_holds_each_version_to_the_one_before() -> None:
    keys = {name: cards.member_keys(place) for place, name in enumerate("abcd")}
    first = cards.charter(["a", "b", "c", "d"])
    second = charters.draft("hospitals", first.hub, first.members[:3], Rules(), first.origin, first)
    third = charters.draft("hospitals", first.hub, first.members[:3], Rules(quorum=3), first.origin, second)
    data = [cards.signed(one, keys) for one in (first, second, third)]
    assert charters.load_chain(data) == [first, second, third]
    for broken in ([], data[1:], [data[0], data[2]], data[::-1], [data[0], data[0]]):
        with pytest.raises(ProtocolViolation):
            charters.load_chain(broken)


def test_a_kind_that_the_rules_do_not_name_is_neither_asked_nor_answered() -> None:
    names, schema = ["a", "b", "c"], Schema("t", (Column("x", "number"),))
    narrow, wide = cards.charter(names, Rules(kinds=("glm",))), cards.charter(names)
    question = Question("summary", "t", {"columns": ["x"]})
    with pytest.raises(Refused, match="rules allow no 'summary': glm"):
        make(question, narrow, "0" * 32, "a", dict.fromkeys(names, schema))
    plan = make(question, wide, "0" * 32, "a", dict.fromkeys(names, schema))
    with pytest.raises(ProtocolViolation, match="rules allow no 'summary'"):
        load(encode(replace(plan, charter=narrow.digest)), narrow)
    allowed = cards.charter(names, Rules(kinds=("glm", "summary")))
    assert make(question, allowed, "0" * 32, "a", dict.fromkeys(names, schema)).kind == "summary"
    assert load(encode(plan), narrow, [wide]) == plan  # a job of a former charter is read under that one


# A new log


def lost_a_part(ceremony: Ceremony, heard: Sequence[str]) -> None:
    """The hub's log has one entry, and north has cosigned five; of these members the hub has heard."""
    desk, settings = hub_settings.open_desk(ceremony.hub), hub_settings.read_settings(ceremony.hub)
    engine = open_engine(settings.database)
    migrate(engine, "hub")
    keys = hub_settings.read_keys(ceremony.hub)
    five = roster.log_signer(desk.charter, keys).sign(Checkpoint(desk.charter.origin, Head(5, bytes(32))).text)
    with Session(engine) as db, db.begin():
        new_log.open_log(db, desk, 1.8e9)
        db.execute(delete(WitnessRow))
        for site in heard:
            seen = (5, bytes(five)) if site == "north" else (0, None)
            db.add(WitnessRow(site=site, size=seen[0], receipted=0, refusal="", at=1.8e9, heard=True, seen=seen[1]))
    engine.dispose()


def test_a_new_log_is_drafted_by_the_hub_and_begun_by_the_members(ceremony: Ceremony) -> None:
    before = hub_settings.read_charter(ceremony.hub)
    drafted = ("charter new-log", "--home", ceremony.hub, "--out", ceremony.draft)
    lost_a_part(ceremony, ())
    with pytest.raises(Refused, match="its log can go on"):
        ceremony.said(*drafted)
    lost_a_part(ceremony, ("north", "east"))
    with pytest.raises(Refused, match="2 members have said how far they cosigned the log, and 3 must"):
        ceremony.said(*drafted)
    lost_a_part(ceremony, ("north", "east", "south"))
    said = ceremony.said(*drafted)
    assert "holds 1 entries of the log, and 'north' has cosigned 5; asked were east, north, south" in said
    shown = ceremony.said("charter show", ceremony.draft, "--home", ceremony.home("west"))
    assert f"a new log begins: {before.origin}/v2; nothing more is written to {before.origin}" in shown
    after = ceremony.pass_on(("north", "south", "west"))
    assert (after.log_began, after.origin, after.members) == (2, f"{before.origin}/v2", before.members)
    desk = hub_settings.open_desk(ceremony.hub)
    assert new_log.logs(desk.charter, desk.former) == [before]


def test_a_site_signs_and_accepts_no_other_log_than_one_that_begins_now(ceremony: Ceremony) -> None:
    lost_a_part(ceremony, ("north", "east", "south"))
    ceremony.said("charter new-log", "--home", ceremony.hub, "--out", ceremony.draft)
    before, drafted = hub_settings.read_charter(ceremony.hub), read_draft(ceremony.draft.read_bytes())
    home = ceremony.home("north")
    for changed in (
        replace(drafted, origin="hansa/elsewhere/0"),
        replace(drafted, rules=Rules(retention_years=1)),
        replace(drafted, members=drafted.members[:3]),
    ):
        with pytest.raises(OURS):
            joining.read(home, changed.encoded)
    after = ceremony.pass_on()
    back = charters.draft(after.consortium, after.hub, list(after.members), after.rules, before.origin, after)
    with pytest.raises(ProtocolViolation, match="goes on, or"):
        joining.read(home, back.encoded)
    keys = {site: vault.read_keys(ceremony.home(site)) for site in SITES}
    with pytest.raises(Refused, match="not accepted: version 3 of the charter names the log"):
        joining.accept(home, charters.sealed(back, [charters.sign(back, site, held) for site, held in keys.items()]))


# Hansa 0.1


def of_the_first_format(root: Path) -> Charter:
    """Homes of a consortium on one machine, as 0.1 left them: bare keys, no cards."""
    seeds = {name: cards.seeds(place, FIRST_BYTES) for place, name in enumerate(("hub", *SITES), 100)}
    keys = {name: MemberKeys(seeds[name]) for name in SITES}
    hub = HubKeys(seeds["hub"])
    plain = tuple(Party(name, keys[name].signing.public, keys[name].sealing.public) for name in SITES)
    old = FirstCharter("hearts", 1, Party("hub", hub.signing.public, hub.sealing.public), plain, FirstRules())
    signatures = tuple(keys[name].signing.sign("charter", encode(old)) for name in SITES)
    for name in ("hub", *SITES):
        (root / name).mkdir(parents=True)
        write_private(root / name / "keys", seeds[name])
        write_private(root / name / "charter", encode(FirstSignedCharter(encode(old), signatures)))
        write_toml(root / name / "keys.toml", {"passphrase_file": "passphrase"})
        write_private(root / name / "passphrase", b"a passphrase of this home")
        write_toml(root / name / "site.toml", {"name": name, "mailbox": "unix:///m", "database": "sqlite://"})
    (root / "hub" / "site.toml").rename(root / "hub" / "other.toml")
    write_toml(root / "hub" / "hub.toml", {"database": "sqlite://", "private": "", "mailboxes": {}})
    return hub_settings.read_charter(root / "hub")


def test_a_consortium_of_hansa_0_1_gets_its_witnesses_by_new_keys(tmp_path: Path) -> None:
    before = of_the_first_format(tmp_path)
    ceremony = object.__new__(Ceremony)
    ceremony.root, ceremony.hub, ceremony.post = tmp_path, tmp_path / "hub", tmp_path / "post"
    ceremony.draft = ceremony.post / "charter.draft"
    ceremony.post.mkdir()
    with pytest.raises(Refused, match="keys of east, south, west are of Hansa"):
        ceremony.rotate("hub", "north")
    ceremony.rotate("hub", *SITES)
    after = ceremony.pass_on()
    assert after.witnessed and not before.witnessed and after.version == 2 and after.previous == before.digest
    assert all(key_file.look(tmp_path / name).wrapped for name in ("hub", *SITES))
    assert joining.own_card(tmp_path / "north") == after.member("north")
