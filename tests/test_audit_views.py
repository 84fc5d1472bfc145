"""The page of the log, and those of members, tables and budgets: what they show, to whom, and what they refuse."""

import base64
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.orm import Session
from streamlit.testing.v1 import AppTest

from hansa import export_zip
from hansa.access import ROLES
from hansa.audit import roster
from hansa.audit.checkpoint import Checkpoint
from hansa.audit.tree import Head
from hansa.crypto.bundles import HubKeys
from hansa.errors import ProtocolViolation, Refused
from hansa.export_folder import replay_of, source_of
from hansa.hub import comparing, consortium, log_pages, queries, reviewing, tables, verifying
from hansa.hub.comparing import Upload
from hansa.hub.log_pages import Wanted
from hansa.hub.models import Member
from hansa.jobs.base import Column, Schema
from hansa.mail.letters import Budgets, Standing
from hansa.messages import HUB, encode
from hansa.verify import charters, forks
from hansa.verify.checkpoints import open_note
from hansa.verify.tree import leaf, node
from hansa.verify.verdict import verify
from hansa_dashboard.views import log as log_view
from hansa_dashboard.views.audit.said import SAYS
from hansa_site import log_state
from tests.hub_home import FAR, Home, copied, enter, made
from tests.test_views import view

FURTHER = 240


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with made(tmp_path_factory.mktemp("hub"), FURTHER) as found:
        yield found


@pytest.fixture
def spoiled(home: Home, tmp_path: Path) -> Iterator[Home]:
    with copied(home, tmp_path) as found:
        yield found


def member_of(person: str) -> str:
    return {"operator": "", FAR: "s3"}.get(person, "s0")


def shown(name: str, person: str = "auditor", **query: str) -> AppTest:
    return view(name, person, member_of(person), **query)


def part(name: str, person: str = "auditor") -> AppTest:
    page = shown("log", person)
    if name != "Entries":
        page.segmented_control[0].set_value(name).run()
    assert not page.exception
    return page


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    sorts = (page.markdown, page.caption, page.info, page.error, page.warning, page.success)
    return "\n".join(one.value for sort in sorts for one in sort)


def viewer(home: Home, person: str = "auditor") -> queries.Viewer:
    return queries.viewer(home.hub, person)


def at(home: Home, number: int) -> reviewing.EntryDetail:
    found = reviewing.entry(home.hub, number)
    assert found is not None
    return found


# ---- who sees what ----

READS = {"analyst", "steward", "approver", "auditor", "administrator"}
FOR = {"log": set(ROLES), "members": set(ROLES), "tables": READS, "budgets": READS}
OF_LOG = {name: set(ROLES) for name in ("Entries", "A job", "Sign-offs")}
OF_LOG |= {"Verification": set(ROLES), "Comparison": {"auditor"}, "Downloads": {"auditor"}}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", FOR)
def test_every_page_is_shown_to_its_roles_and_is_one_sentence_to_others(home: Home, name: str, role: str) -> None:
    page = shown(name, role)
    if role in FOR[name]:
        assert not any("may not" in one.value for one in page.info)
        assert page.dataframe or page.info
    else:
        assert [one.value for one in page.info] == [page.info[0].value]
        assert "may not see job" in page.info[0].value
        assert not page.dataframe and not page.button and not page.selectbox


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", OF_LOG)
def test_every_part_of_the_log_is_shown_to_its_roles_and_is_one_sentence_to_others(
    home: Home, name: str, role: str
) -> None:
    assert list(OF_LOG) == list(log_view.PARTS)
    refused = [one.value for one in part(name, role).info if "may not review" in one.value]
    verifies = role == "auditor" or name != "Verification"
    assert bool(refused) == (role not in OF_LOG[name] or not verifies)


def test_the_doors_refuse_who_may_not_whatever_a_page_shows(home: Home) -> None:
    for person in set(ROLES) - {"auditor"}:
        who = viewer(home, person)
        for door in (verifying.verify, verifying.export, verifying.record):
            with pytest.raises(Refused, match="may not review"):
                door(home.hub, who)
        with pytest.raises(Refused, match="may not review"):
            comparing.compare(home.hub, who, [], True)
        with pytest.raises(Refused, match="may not see evidence"):
            verifying.crate(home.hub, who, home.whole)
    with pytest.raises(Refused, match="does not concern this person's member"):
        verifying.crate(home.hub, viewer(home, FAR), home.three)


# ---- entries ----


def test_pages_of_entries_go_from_the_newest_to_the_first_and_back(home: Home) -> None:
    size = reviewing.log_state(home.hub).size
    page, seen = shown("log"), list[int]()
    buttons = {button.label: button for button in page.button}
    assert buttons["Newest"].disabled and buttons["Newer"].disabled and not buttons["Older"].disabled
    first = list(page.dataframe[0].value["Number"])
    while True:
        seen += list(page.dataframe[0].value["Number"])
        if next(button for button in page.button if button.label == "Older").disabled:
            break
        press(page, "Older")
    assert seen == list(range(size - 1, -1, -1))
    press(page, "Newer")
    press(page, "Newest")
    assert list(page.dataframe[0].value["Number"]) == first
    assert f"100 entries of {size:,}, the newest first" in texts(page)


def test_filters_begin_at_their_newest_entry_and_are_those_of_the_door(home: Home) -> None:
    page = press(shown("log"), "Older")
    page.selectbox(key="audit/by").set_value("s2").run()
    right = reviewing.page(home.hub, Wanted(by="s2")).entries
    assert list(page.dataframe[0].value["Number"]) == [entry.number for entry in right]
    assert {entry.by for entry in right} == {"s2"}
    page.text_input(key="audit/run").input(home.three[:8]).run()
    assert set(page.dataframe[0].value["Job"]) == {home.three[:8]}
    page.selectbox(key="audit/by").set_value("all").run()
    page.text_input(key="audit/run").input("").run()
    page.selectbox(key="audit/kind").set_value("summary").run()
    jobs = list(dict.fromkeys(page.dataframe[0].value["Job"]))
    assert jobs == [home.three[:8], home.whole[:8]]
    page.selectbox(key="audit/act").set_value("figures seen").run()
    assert "0 entries, the job that was proposed last first" in texts(page)


def test_a_search_that_stops_before_its_page_is_full_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "MOST_LOOKED", 4)
    page = shown("log")
    page.selectbox(key="audit/by").set_value("s2").run()
    page.selectbox(key="audit/act").set_value("contributed").run()
    assert "Few match, and the search stopped here: Older goes on." in texts(page)
    first = list(page.dataframe[0].value["Number"])
    press(page, "Older")
    assert set(page.dataframe[0].value["By"]) == {"s2"}
    assert max(page.dataframe[0].value["Number"]) < min(first)


def test_a_page_begins_at_the_entry_that_is_asked_for(home: Home) -> None:
    page = shown("log")
    page.number_input(key="audit/from").set_value(41).run()
    assert list(page.dataframe[0].value["Number"]) == list(range(41, -1, -1))
    page.number_input(key="audit/from").set_value(10**9).run()
    assert len(page.dataframe[0].value) == 100


def test_a_row_that_is_chosen_is_told_in_words_with_its_receipt(home: Home) -> None:
    page = shown("log")
    page.selectbox(key="audit/act").set_value("consent given").run()
    page.session_state[f"audit/entries {page.session_state['audit/turn']}"] = {
        "selection": {"rows": [1], "columns": []}
    }
    page.run()
    entry = reviewing.page(home.hub, Wanted(act="consent given")).entries[1]
    assert page.subheader[-1].value == f"Entry {entry.number}"
    told = texts(page)
    assert f"The member **{entry.by}** consented to the plan." in told
    assert "the key with which this member gives its word, as version 1 of the charter names it" in told
    assert all(f"{site} (" in told for site in home.world.names)
    assert entry.digest in [code.value for code in page.code]
    assert [button.label for button in page.download_button] == ["Receipt"]
    page.number_input(key="audit/entry").set_value(10**9).run()
    page.selectbox(key="audit/act").set_value("all").run()
    assert f"The log has no entry {10**9}." in [one.value for one in page.info]


def test_every_act_has_words() -> None:
    assert set(SAYS) == set(reviewing.ACTS)


def test_a_receipt_leads_from_its_entry_to_a_checkpoint_that_a_quorum_cosigned(home: Home) -> None:
    """With the verifier's own arithmetic, and nothing else than the file and the charter."""
    charter = charters.load(home.world.signed)
    for number in (0, 17, reviewing.log_state(home.hub).size - 1):
        head, note = verifying.receipt(home.hub, viewer(home, "analyst"), number).split(b"\n\n", 1)
        version, extra, index, *path = head.decode().split("\n")
        assert version == "c2sp.org/tlog-proof@v1" and index == f"index {number}"
        cosigned = open_note(note, charter)
        assert cosigned.final
        digest = leaf(base64.b64decode(extra.removeprefix("extra ")))
        assert digest.hex() == at(home, number).entry.digest
        place, last = number, cosigned.checkpoint.size - 1
        for step in map(base64.b64decode, path):  # RFC 9162, section 2.1.3.2
            if place & 1 or place == last:
                digest = node(step, digest)
                while place and not place & 1:
                    place, last = place >> 1, last >> 1
            else:
                digest = node(digest, step)
            place, last = place >> 1, last >> 1
        assert (digest, last) == (cosigned.checkpoint.root, 0)


# ---- a job, and sign-offs ----


def test_a_jobs_story_counts_what_each_member_signed(home: Home) -> None:
    page = shown("log", run=home.three)
    assert page.segmented_control[0].value == "A job"
    signed = page.dataframe[0].value.set_index("Member")
    assert list(signed.index) == ["s0", "s1", "s2"]
    assert signed.loc["s0", "Question"] == 1 and signed.loc["s1", "Question"] == 0
    assert set(signed["Consent"]) == set(signed["Release"]) == {1}
    assert set(signed["Numbers"]) == set(signed["Survivors"]) != {0}
    assert "Refusal" not in signed.columns
    entries = reviewing.story(home.hub, home.three[:7])
    assert list(page.dataframe[1].value["Number"]) == [entry.number for entry in entries]
    assert all(entry.run == home.three for entry in entries)
    page.text_input(key="audit/story").input("f00d").run()
    assert "no job whose id begins so" in page.info[0].value


def test_the_unread_period_is_what_came_after_the_last_sign_off(home: Home) -> None:
    found = {one.site: one for one in reviewing.sign_offs(home.hub)}
    size = reviewing.log_state(home.hub).size
    read, never = found["s1"], found["s0"]
    assert read.of_this_log and read.number is not None and read.size == read.number
    assert (read.unread, never.size, never.unread) == (size - read.size, 0, size)
    assert read.since == at(home, read.size).entry.at
    page = part("Sign-offs")
    assert "`hansa site review`" in texts(page)
    assert f"it has not signed off yet; {size} entries are unread" in texts(page)
    assert not page.error


def test_a_sign_off_of_another_log_is_said_to_be_one(spoiled: Home) -> None:
    enter(spoiled, "s2", "log reviewed", size="9", root="00" * 32)
    page = part("Sign-offs")
    assert "What s2 signed off is not what lies here" in page.error[0].value


# ---- verification ----


def test_a_log_that_holds_is_said_to_hold_and_what_was_not_done_is_said_too(home: Home) -> None:
    page = press(part("Verification"), "Verify as an auditor would")
    assert not page.error
    told = texts(page)
    assert "2 jobs, 2 releases; cosigned by s0, s1, s2 and s3, final" in told.replace("\\", "")
    assert "The charter came with the log." in told
    assert "it recomputes the answers too, which was not done here" in told
    own = AppTest.get_by_key(page, "audit/charter")
    own.set_value(("charter", home.world.signed, "application/octet-stream")).run()
    press(page, "Verify as an auditor would")
    assert "The charter came with the log." not in texts(page)
    own = AppTest.get_by_key(page, "audit/charter")
    own.set_value(("charter", b"no charter", "application/octet-stream")).run()
    press(page, "Verify as an auditor would")
    assert "Not verified" in page.error[0].value and len(page.error) == 1


def test_an_entry_that_was_rewritten_is_found_and_named(spoiled: Home) -> None:
    with spoiled.hub.engine.begin() as db:
        db.execute(text("UPDATE log_entry SET data = (SELECT data FROM log_entry WHERE number = 8) WHERE number = 7"))
    assert "The log does not hold" in press(part("Verification"), "Check the tree").error[0].value
    verdict = verifying.verify(spoiled.hub, viewer(spoiled))
    assert verdict.outcome == "false"
    told = press(part("Verification"), "Verify as an auditor would").error[0].value
    assert verdict.first_failure is not None and told.startswith("False")


def test_a_log_too_large_for_a_page_is_left_to_the_command(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MOST_ENTRIES", 50)
    monkeypatch.setattr(reviewing, "MOST_CHECKED", 50)
    page = part("Verification")
    assert "Check the tree" not in [button.label for button in page.button]
    assert "`hansa audit check`" in texts(page)
    press(page, "Verify as an auditor would")
    assert "hansa audit verify" in page.error[0].value.replace("\\", "")
    monkeypatch.setattr(verifying, "MOST_ENTRIES", 20_000)
    monkeypatch.setattr(verifying, "MOST_BYTES", 2**10)
    assert "Not exported" in press(part("Downloads"), "Prepare the export").error[0].value


def test_two_verifications_at_a_time_are_one_too_many(home: Home) -> None:
    with verifying._in_turn(), pytest.raises(Refused, match="for somebody else"):
        verifying.verify(home.hub, viewer(home))
    assert verifying.verify(home.hub, viewer(home)).first_failure is None


# ---- downloads ----


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder


def test_an_export_holds_elsewhere_and_shows_of_jobs_what_concerns_the_auditors_member(
    home: Home, tmp_path: Path
) -> None:
    folders = {
        person: unpacked(verifying.export(home.hub, viewer(home, person)), tmp_path / person)
        for person in ("auditor", FAR)
    }
    verdicts = {
        person: verify(source_of(folder), home.world.signed, lambda run, at=folder: replay_of(at, run))
        for person, folder in folders.items()
    }
    assert all(verdict.first_failure is None and verdict.own_charter for verdict in verdicts.values())
    assert set(verdicts["auditor"].replayed) == {home.whole, home.three}
    assert set(verdicts[FAR].replayed) == {home.whole}
    assert verdicts["auditor"].size == verdicts[FAR].size
    plan = at(home, reviewing.story(home.hub, home.three)[0].number).commitment
    note = at(home, reviewing.log(home.hub, 1)[0].number).commitment
    assert (folders["auditor"] / "payloads" / plan).exists() and not (folders[FAR] / "payloads" / plan).exists()
    assert note and not any((folder / "payloads" / note).exists() for folder in folders.values())


def test_the_page_gives_export_record_and_crate_when_they_are_asked_for(home: Home) -> None:
    page = part("Downloads")
    assert not page.download_button
    assert [one.label for one in press(page, "Prepare the export").download_button] == ["Download the export"]
    assert [one.label for one in press(page, "Prepare the record").download_button] == ["As text", "As JSON"]
    page = press(shown("log", run=home.whole), "Prepare the RO-Crate")
    assert [one.label for one in page.download_button] == ["Download the RO-Crate"]
    assert "Prepare the RO-Crate" not in [one.label for one in shown("log", FAR, run=home.three).button]


def test_a_crate_has_the_recomputed_answer_and_a_record_every_job(home: Home) -> None:
    with zipfile.ZipFile(io.BytesIO(verifying.crate(home.hub, viewer(home, FAR), home.whole))) as archive:
        names = set(archive.namelist())
        assert {"ro-crate-metadata.json", "answer.json", "evidence", "checkpoint", "charters/1"} <= names
        assert archive.read("answer.json") == queries.answer_bytes(home.hub, home.whole)
    record = verifying.record(home.hub, viewer(home))
    assert "GDPR, article 30(1)" in record.markdown and b'"jobs": 2' in record.json


# ---- comparison ----


def head(home: Home, site: str) -> Upload:
    with Session(home.world.engines[site]) as db:
        return Upload(f"head of {site}", log_state.head(db))


def forged(home: Home, size: int) -> Upload:
    """A checkpoint that the hub signed, of another log."""
    keys = home.world.desks[HUB].keys
    assert isinstance(keys, HubKeys)
    checkpoint = Checkpoint(home.world.charter.origin, Head(size, bytes(32)))
    return Upload("the other story", bytes(roster.log_signer(home.world.charter, keys).sign(checkpoint.text)))


def bring(page: AppTest, *uploads: Upload) -> AppTest:
    files = [(one.name, one.content, "application/octet-stream") for one in uploads]
    AppTest.get_by_key(page, "audit/copies").set_value(files).run()
    return press(page, "Compare")


def test_copies_of_one_log_are_one_log(home: Home) -> None:
    export = Upload("export.zip", verifying.export(home.hub, viewer(home)))
    page = bring(part("Comparison"), head(home, "s2"), export)
    assert len(page.success) == 3 and not page.error and not page.warning
    assert all(one.value.startswith("One log") for one in page.success)
    assert "was made by the hub whose log it judges" in texts(page)


@pytest.mark.parametrize("with_export", [False, True])
def test_a_forged_copy_is_found_and_its_evidence_convinces_others(home: Home, with_export: bool) -> None:
    size = reviewing.log_state(home.hub).size
    other = Upload("export.zip", verifying.export(home.hub, viewer(home))) if with_export else head(home, "s1")
    for of in (size, 20):
        found = comparing.compare(home.hub, viewer(home), [forged(home, of), other], True)
        told = {pair.found.outcome for pair in found if pair.found is not None}
        assert "forked" in told
        for pair in found:
            if pair.found is not None and pair.found.outcome == "forked":
                assert pair.found.fork is not None and "two stories" in pair.sentence
                proven = forks.prove(pair.found.fork, home.world.signed)
                assert proven.own_charter and sorted(proven.sizes) == sorted((of, size))
    page = bring(part("Comparison"), forged(home, 20))
    assert "two stories" in page.error[0].value
    assert [one.label for one in page.download_button] == ["Download the evidence"]


def test_two_checkpoints_of_two_sizes_can_not_be_told_apart_without_the_log(home: Home) -> None:
    found = comparing.compare(home.hub, viewer(home), [forged(home, 20), head(home, "s1")], False)
    assert [pair.found for pair in found] == [None]
    assert "larger and no export" in found[0].sentence


def zipped(files: Mapping[str, bytes], **changed: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", changed.pop("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = archive.compression
            for field, value in changed.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return made.getvalue()


BAD: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "is no checkpoint: "),
    "noise": (bytes(range(256)) * 8, "is no checkpoint: "),
    "a long text": (b"x" * (2**20 + 1), "larger than 1 MiB"),
    "half an archive": (zipped({"checkpoint": bytes(range(256)) * 4})[:300], "no ZIP archive"),
    "an empty archive": (zipped({}), "is no checkpoint: "),
    "no export": (zipped({"readme": b"x"}), "there is no file 'checkpoint' in it"),
    "a bomb": (zipped({"checkpoint": b"", "tile/entries/000": bytes(2**26 + 1)}), "would be larger than 64 MiB"),
    "many files": (zipped({f"payloads/{place}": b"" for place in range(20_001)}), "more than 20000 files"),
    "a way out": (zipped({"checkpoint": b"", "../../etc/passwd": b"x"}), "would lie outside"),
    "an absolute way": (zipped({"checkpoint": b"", "/etc/passwd": b"x"}), "would lie outside"),
    "a way of Windows": (zipped({"checkpoint": b"", "a\\..\\b": b"x"}), "would lie outside"),
    "a link": (zipped({"checkpoint": b"/etc/passwd"}, external_attr=0o120777 << 16), "something else than files"),
    "another packing": (zipped({"checkpoint": b"x"}, compression=zipfile.ZIP_LZMA), "a way that is not read here"),
    "an empty checkpoint": (zipped({"checkpoint": b""}), "is no checkpoint: "),
    "an export without entries": (b"", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_copy_of_a_log_is_one_sentence(home: Home, name: str) -> None:
    content, why = BAD[name]
    if name == "an export without entries":
        content, why = zipped({"checkpoint": head(home, "s1").content}), "does not hold in itself"
    with pytest.raises(ProtocolViolation, match=why):
        comparing.compare(home.hub, viewer(home), [Upload(name, content)], True)
    if len(content) < 2**20:
        page = bring(part("Comparison"), Upload(name, content))
        assert len(page.error) == 1 and page.error[0].value.startswith("Not compared")


def test_a_file_that_is_larger_than_its_archive_says_is_not_read_on(home: Home) -> None:
    """Both places that tell the size are made to lie."""
    data = bytearray(zipped({"checkpoint": b"x" * 100_000}))
    size = (100_000).to_bytes(4, "little")
    assert data.count(size) == 2
    data = bytearray(bytes(data).replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(ProtocolViolation, match="damaged"):
        export_zip.source_of("liar", bytes(data)).read("checkpoint")


# ---- members, tables, budgets ----


def test_the_members_page_shows_fingerprints_rules_and_who_signed_the_charter(home: Home) -> None:
    page = shown("members")
    cards = consortium.member_cards(home.hub)
    told = texts(page)
    assert [card.site for card in cards] == home.world.names
    assert all(card.words in told and card.digits in told and len(card.words.split()) == 12 for card in cards)
    versions = consortium.versions(home.hub)
    assert [one.signed for one in versions] == [tuple(home.world.names)]
    assert versions[0].adopted is not None and versions[0].digest == home.world.charter.digest.hex()
    assert "4 of 4 members must cosign a checkpoint until it is final" in told
    assert [one.label for one in page.download_button] == ["Charter in words", "Charter as signed"]


def tell(home: Home, site: str, *schemas: Schema, budgets: bytes | None = None) -> None:
    with Session(home.hub.engine) as db, db.begin():
        row = db.get_one(Member, site)
        row.tables, row.budgets = encode(schemas), budgets


HEART = Schema(
    "heart", (Column("age", "number", "years"), Column("sex", "text", "", ("f", "m")), Column("x", "number"))
)


def test_the_tables_page_says_what_differs_and_what_may_be_asked(spoiled: Home) -> None:
    other = Schema("heart", (Column("age", "number", "months"), Column("sex", "text", "", ("f", "m", "d"))))
    tell(spoiled, "s0", HEART)
    tell(spoiled, "s1", replace(HEART))
    tell(spoiled, "s2", other)
    found = {one.table: one for one in tables.tables(spoiled.hub)}
    heart = found["heart"]
    assert heart.sites == ("s0", "s1", "s2")
    assert heart.differences == (
        "column 'age' differs in its unit: s0, s1: years; s2: months",
        "column 'sex' differs in its categories: s0, s1: f, m; s2: f, m, d",
        "column 'x' is not at s2",
    )
    assert heart.kinds["summary"] == ("age",) and "sex" in heart.kinds["table"] and heart.kinds["histogram"] == ("age",)
    assert found["numbers"].decisions["s3"].consented == 1 and found["numbers"].sites == ("s3",)
    page = shown("tables", "analyst")
    told = texts(page).replace("\\", "")
    assert all(sentence in told for sentence in heart.differences)
    assert "is decided at each site" in told


def test_a_column_that_a_formula_can_not_name_is_offered_to_no_regression(spoiled: Home) -> None:
    tell(spoiled, "s0", replace(HEART, columns=(*HEART.columns, Column("blood pressure", "number"))))
    found = next(one for one in tables.tables(spoiled.hub) if one.table == "heart")
    assert "blood pressure" in found.kinds["summary"] and "blood pressure" not in found.kinds["glm"]
    assert {"age", "x"} <= set(found.kinds["glm"])
    assert set(found.kinds["correlation"]) == {"age", "x", "blood pressure"}
    assert "sex" in found.kinds["anova"] and "sex" not in found.kinds["quantiles"]


def test_the_budget_that_is_left_is_what_its_owner_told(spoiled: Home) -> None:
    standing = Standing("heart", 1_000, 250, 100, "2", "1e-6", "person", "patient")
    tell(spoiled, "s1", HEART, budgets=encode(Budgets((standing,))))
    (found,) = consortium.budgets(spoiled.hub)
    assert (found.site, found.spent, found.reserved, found.left) == ("s1", 0.25, 0.1, 0.65)
    page = shown("budgets", "steward")
    row = page.dataframe[0].value.iloc[0]
    assert (row["Left"], row["ε"], row["Protects"]) == (0.65, "2", "one person, by patient")
    assert "keeps the count, at its own site" in texts(page)
    assert "No job has spent anything of it yet" in texts(page)
