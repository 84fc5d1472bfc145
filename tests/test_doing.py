"""What people do at their own site, through the door of its command line and console, worked off by the real site."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import key_file
from hansa.crypto.keys import digest
from hansa.errors import Refused
from hansa.files import to_toml, write_private
from hansa.hub import models
from hansa.messages import encode
from hansa.plan import read as read_plan
from hansa_site import doing, people, policy_file, showing
from hansa_site.doing import Act
from hansa_site.journal import Decided, Noted, Waiting
from hansa_site.policy import Policy
from hansa_site.settings import read_settings
from hansa_site.showing import OpenedSite
from tests.consoles import SITE, Console, quick_keys, secret
from tests.world import OPEN

ASKED = replace(OPEN, consents="person", proposals="person", releases="person")


@pytest.fixture(autouse=True)
def cheaper_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_keys(monkeypatch)


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path, ASKED)


def do(console: Console, act: Act, typed: str = "") -> bool:
    signed = doing.sign(console.home, act, console.world.now, (typed or secret(act.person)).encode())
    with console.running():
        return doing.hand_in(console.home, signed, console.world.now)


def digest_of(console: Console, run: str, what: str) -> bytes:
    with Session(console.engine) as db:
        return db.get_one(Waiting, (run, what)).digest


def others_consent(console: Console, run: str) -> None:
    """The other sites of the world ask nobody."""
    for name in console.world.names[1:]:
        site = console.world.sites[name]
        site._held.settings = replace(site._held.settings, policy=OPEN)


def test_a_question_goes_from_its_proposal_to_its_release_by_the_word_of_people_alone(console: Console) -> None:
    others_consent(console, "")
    run = console.ask()
    for what, name, act in (
        ("proposal", "ada", "sign proposal"),
        ("consent", "ann", "consent"),
        ("release", "sue", "release"),
    ):
        console.until(run, what)
        about = digest_of(console, run, what)
        assert do(console, Act(name, act, about, run))  # type: ignore[arg-type]
    assert console.world.finish(run).status == models.DONE
    told = {act: details for act, details in console.acts() if "decision" in details}
    assert {act: details["person"] for act, details in told.items()} == {
        "proposal signed": console.pseudonym("ada"),
        "consent given": console.pseudonym("ann"),
        "release agreed": console.pseudonym("sue"),
    }
    with Session(console.engine) as db:
        decisions = {row.digest.hex() for row in db.scalars(select(Decided))}
    assert {details["decision"] for details in told.values()} == decisions


def test_exact_figures_are_given_once_the_log_knows_who_sees_them(console: Console) -> None:
    others_consent(console, "")
    run = console.ask()
    for what, name in (("proposal", "ann"), ("consent", "bob")):
        console.until(run, what)
        do(console, Act(name, "sign proposal" if what == "proposal" else "consent", digest_of(console, run, what), run))
    console.until(run, "release")
    act = Act("sue", "see figures", digest_of(console, run, "release"), run)
    signed = doing.sign(console.home, act, console.world.now, secret("sue").encode())
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Refused, match="once the site's process has entered"):
        patch.setattr(doing, "WAIT_SECONDS", 0.0)
        doing.see_figures(console.home, signed, console.world.now)
    assert "figures seen" not in dict(console.acts())
    signed = doing.sign(console.home, act, console.world.now, secret("sue").encode())
    with console.running():
        exact = msgspec.json.decode(doing.see_figures(console.home, signed, console.world.now))
    assert exact["n"] == 3
    assert dict(console.acts())["figures seen"]["person"] == console.pseudonym("sue")
    assert console.waits(run) == "release", "to look is not to agree"


def test_a_no_and_a_stop_are_told_to_the_others_with_their_reason(tmp_path: Path) -> None:
    console = Console(tmp_path, replace(OPEN, consents="person"))
    others_consent(console, "")
    run = console.ask()
    console.until(run, "consent")
    assert do(console, Act("sue", "refuse", digest_of(console, run, "consent"), run, "not without our ethics board"))
    ended = console.world.finish(run)
    assert ended.status == models.NOT_ENOUGH and "not without our ethics board" in ended.reason
    second = console.ask()
    console.until(second, "consent")
    do(console, Act("ann", "consent", digest_of(console, second, "consent"), second))
    console.until(second, "running")
    plan = read_plan(console.world.job(second).plan).digest
    with pytest.raises(Refused, match="another plan"):
        do(console, doing.stopping("ann", second, bytes(32), ""))
    assert do(console, doing.stopping("ann", second, plan, "enough for today"))
    assert "enough for today" in console.world.finish(second).reason


def test_a_table_that_is_withdrawn_is_answered_over_no_more(tmp_path: Path) -> None:
    console = Console(tmp_path, OPEN)
    assert console.world.finish(console.ask()).status == models.DONE
    with pytest.raises(Refused, match="no table 'others'"):
        doing.withdrawing(console.home, "sue", "others", "")
    assert do(console, doing.withdrawing(console.home, "sue", "numbers", "the study is over"))
    assert "was withdrawn" in console.world.finish(console.ask()).reason
    [table] = showing.tables(OpenedSite(console.home))
    assert table.withdrawn_at is not None and table.answers == 1


def test_an_auditor_signs_off_the_log_as_far_as_the_site_cosigned_it(tmp_path: Path) -> None:
    console = Console(tmp_path, OPEN)
    console.world.finish(console.ask())
    console.world.drain()
    head = showing.head(OpenedSite(console.home))
    assert head is not None
    act = doing.signing_off(console.home, "eva", "read from end to end\nnothing strange <b>")
    console.world.run_until(lambda: (showing.head(OpenedSite(console.home)) or head).size >= head.size)
    assert do(console, act)
    details = dict(console.acts())["log reviewed"]
    assert (int(details["size"]), details["root"]) == (head.size, head.root)
    assert details["person"] == console.pseudonym("eva")
    [review] = showing.reviews(OpenedSite(console.home))
    assert (review.person, review.size, review.done, review.refusal) == ("eva", head.size, True, "")
    for note in ("", " \n ", "x" * 10_001):
        with pytest.raises(Refused, match="a note of one to 10,000 characters"):
            doing.signing_off(console.home, "eva", note)


def test_a_review_of_a_head_that_the_site_never_cosigned_counts_for_nothing(tmp_path: Path) -> None:
    from hansa_site.reviewing import Review

    console = Console(tmp_path, OPEN)
    console.world.finish(console.ask())
    console.world.drain()
    head = showing.head(OpenedSite(console.home))
    assert head is not None
    for size, root in ((head.size + 1, bytes(32)), (head.size, bytes(32))):
        review = Review(size, root, "fine")
        with pytest.raises(Refused, match="has not cosigned"):
            do(console, Act("eva", "review", review.digest, content=encode(review)))
    for content in (b"", b"\xc1", encode(("a", "b", "c"))):
        with pytest.raises(Refused, match="not what is due"):
            do(console, Act("eva", "review", bytes(32), content=content))
    other = Review(head.size, bytes.fromhex(head.root), "fine")
    with pytest.raises(Refused, match="another review"):
        do(console, Act("eva", "review", other.digest, content=encode(replace(other, note="bad"))))
    assert "log reviewed" not in dict(console.acts())


# ---- what a session, a wrong passphrase or a wrong role can't do ----


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("ada", "consent", "role approver"),
        ("sue", "consent", "role approver"),
        ("eva", "refuse", "role approver or steward"),
        ("ann", "see figures", "role steward"),
        ("ann", "withdraw", "role steward"),
        ("ann", "review", "role auditor"),
        ("eva", "set policy", "role steward or administrator"),
        ("ed", "consent", "role approver"),
        ("nobody", "consent", "no person 'nobody'"),
    ],
)
def test_who_may_not_is_told_so_before_any_key_is_opened(
    console: Console, monkeypatch: pytest.MonkeyPatch, name: str, what: str, words: str
) -> None:
    monkeypatch.setattr(key_file, "stretched_once", lambda *given: pytest.fail("a key was opened"))
    with pytest.raises(Refused, match=words):
        doing.sign(console.home, Act(name, what, bytes(32)), console.world.now, b"anything")  # type: ignore[arg-type]


@pytest.mark.parametrize("typed", ["", " ", "the passphrase of bob", "the passphrase of ann\n"])
def test_a_wrong_passphrase_signs_nothing(console: Console, typed: str) -> None:
    with pytest.raises(Refused, match="the passphrase is wrong"):
        doing.sign(console.home, Act("ann", "consent", bytes(32)), console.world.now, typed.encode())


def test_a_key_that_no_passphrase_opens_says_so_in_one_sentence(console: Console) -> None:
    write_private(console.home / "people" / "ann" / "keys.toml", b'store = "keyring"\n')
    with pytest.raises(Refused, match="lies under no passphrase that can be typed: sign at the command line"):
        doing.sign(console.home, Act("ann", "consent", bytes(32)), console.world.now, b"anything")


def test_what_was_typed_is_kept_nowhere(console: Console) -> None:
    from hansa.wrapping import passphrase

    passphrase.stretched.cache_clear()
    doing.sign(console.home, Act("ann", "consent", bytes(32)), console.world.now, secret("ann").encode())
    assert passphrase.stretched.cache_info().currsize == 0 and not passphrase._TYPED


def test_what_nobody_works_off_is_handed_in_and_waits(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doing, "WAIT_SECONDS", 0.0)
    signed = doing.sign(
        console.home, Act("ann", "consent", bytes(32), "f" * 32), console.world.now, secret("ann").encode()
    )
    assert not doing.hand_in(console.home, signed, console.world.now)
    with pytest.raises(Refused, match="used once"):
        doing.hand_in(console.home, signed, console.world.now)


def test_a_reason_is_one_line(console: Console) -> None:
    for reason in ("two\nlines", "x" * 401):
        with pytest.raises(Refused, match="one line of at most 400"):
            doing.sign(console.home, Act("ann", "refuse", bytes(32), "", reason), console.world.now, b"")


# ---- the policy ----


def written(policy: Policy) -> str:
    return to_toml(msgspec.to_builtins(policy))


def set_policy(console: Console, policy: Policy, name: str = "sue", former: str | None = None) -> bool:
    text = policy_file.text_of(console.home)[1] if former is None else former
    return do(console, doing.setting_policy(console.home, name, written(policy), policy_file.digest_of(text)))


@pytest.fixture
def open_site(tmp_path: Path) -> Console:
    return Console(tmp_path, OPEN)


@pytest.mark.parametrize("name", ["sue", "ed"])
def test_a_policy_that_is_set_holds_from_the_next_letter_on_and_the_former_stays_beside_it(
    open_site: Console, name: str
) -> None:
    console, before = open_site, (open_site.home / "policy.toml").read_text()
    assert set_policy(console, replace(OPEN, kinds=("table",)), name)
    assert "does not allow the kind 'histogram'" in console.world.finish(console.ask()).reason
    assert (console.home / "policy.toml.before").read_text() == before
    assert read_settings(console.home).policy.kinds == ("table",)
    told = [details for act, details in console.acts() if act == "policy changed"]
    assert [set(details) for details in told] == [{"policy"}, {"policy", "person", "decision"}]
    assert told[1]["person"] == console.pseudonym(name)
    [change] = showing.changes(OpenedSite(console.home))
    assert (change.person, change.refusal) == (name, "")
    console.world.policy = read_settings(console.home).policy  # as a start reads it
    console.world.restart(SITE)
    console.world.sites[SITE].hello(console.world.now)
    assert [act for act, _details in console.acts()].count("policy changed") == 2, "a start enters nothing twice"


def test_a_policy_takes_the_place_of_the_one_that_was_looked_at_and_of_no_other(open_site: Console) -> None:
    assert set_policy(open_site, replace(OPEN, kinds=("table",)))
    with pytest.raises(Refused, match="was changed in the meantime"):
        set_policy(open_site, replace(OPEN, kinds=("glm",)), former=written(OPEN))
    assert read_settings(open_site.home).policy.kinds == ("table",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kinds = [", "not a TOML file"),
        ('kinds = ["tabel"]', "'kinds' or 'kind_digests' names 'tabel'"),
        ("minimum_cell = 3", "minimum_cell"),
        ('tables = ["hearts"]', "this site has none of that name"),
        ("minimum_sites = 2", "'minimum_sites'"),
        ("#" * 131_073, "at most 131072 characters"),
    ],
)
def test_what_is_no_policy_is_refused_before_anything_is_signed_and_says_where(
    open_site: Console, text: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        doing.setting_policy(open_site.home, "sue", text, bytes(32))
    assert words in showing.wrong_with(OpenedSite(open_site.home), text)
    assert (open_site.home / "policy.toml").read_text() == written(OPEN)


def test_what_is_no_policy_and_is_handed_in_all_the_same_changes_nothing(open_site: Console) -> None:
    former = policy_file.digest_of(written(OPEN))
    new = policy_file.NewPolicy(former, "kinds = 7")
    with pytest.raises(Refused, match="'kinds'"):
        do(open_site, Act("sue", "set policy", new.digest, content=encode(new)))
    with pytest.raises(Refused, match="another policy"):
        do(open_site, Act("sue", "set policy", digest("x", b""), content=encode(new)))
    assert (open_site.home / "policy.toml").read_text() == written(OPEN)
    assert open_site.world.finish(open_site.ask()).status == models.DONE


def test_every_process_of_a_site_takes_up_the_policy_that_was_set(open_site: Console) -> None:
    world = open_site.world
    first = world.sites[SITE]
    world.restart(SITE)  # another process; the first goes on
    assert set_policy(open_site, replace(OPEN, kinds=("table",)))
    assert first._held.settings.policy == OPEN
    assert first._held.look().policy.kinds == ("table",)


def test_a_file_that_is_changed_by_hand_counts_from_the_next_start_and_the_doctor_says_so(open_site: Console) -> None:
    world, site = open_site.world, OpenedSite(open_site.home)
    write_private(open_site.home / "policy.toml", written(replace(OPEN, kinds=("table",))).encode())
    assert world.sites[SITE]._held.look().policy == OPEN
    assert showing.policy(site).holds is False
    with Session(open_site.engine) as db:
        [finding] = policy_file.look(db, read_settings(open_site.home))
    assert finding.mark == "note" and "changed by hand" in finding.says
    assert world.finish(open_site.ask()).status == models.DONE
    world.policy = replace(OPEN, kinds=("table",))
    world.restart(SITE)
    world.sites[SITE].hello(world.now)
    assert showing.policy(site).holds is True
    with Session(open_site.engine) as db:
        assert not list(policy_file.look(db, read_settings(open_site.home)))


def test_a_policy_that_is_noted_and_can_not_be_read_leaves_the_former(
    open_site: Console, caplog: pytest.LogCaptureFixture
) -> None:
    with Session(open_site.engine) as db, db.begin():
        db.get_one(Noted, policy_file.HELD).digest = bytes(32)
    held = open_site.world.sites[SITE]._held
    assert held.look().policy == OPEN and held.look().policy == OPEN
    assert len(caplog.records) == 1, "it is said once"
    write_private(open_site.home / "policy.toml", b"kinds = [")
    with Session(open_site.engine) as db, db.begin():
        db.get_one(Noted, policy_file.HELD).digest = bytes([1]) * 32
    assert held.look().policy == OPEN


def test_a_crash_between_the_file_and_the_commit_leaves_a_decision_that_is_worked_off_again(
    open_site: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doing, "WAIT_SECONDS", 0.0)
    act = doing.setting_policy(
        open_site.home, "sue", written(replace(OPEN, kinds=("table",))), policy_file.digest_of(written(OPEN))
    )
    signed = doing.sign(open_site.home, act, open_site.world.now, secret("sue").encode())
    doing.hand_in(open_site.home, signed, open_site.world.now)

    def dies(*_given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(policy_file, "note", dies)
        open_site.world.sites[SITE].decide(open_site.world.now)
    assert read_settings(open_site.home).policy.kinds == ("table",)
    assert open_site.world.sites[SITE]._held.look().policy == OPEN
    open_site.world.sites[SITE].decide(open_site.world.now)
    with Session(open_site.engine) as db:
        assert people.outcome(db, people.key_of(signed.data)) == ""
    assert open_site.world.sites[SITE]._held.look().policy.kinds == ("table",)
    assert (open_site.home / "policy.toml.before").read_text() == written(OPEN)


def test_a_policy_in_site_toml_is_replaced_where_it_stands(open_site: Console) -> None:
    home = open_site.home
    (home / "policy.toml").unlink()
    with (home / "site.toml").open("a") as file:
        file.write('[policy]\nkinds = ["summary"]\n')
    where, text = policy_file.text_of(home)
    assert where == "site.toml" and text == 'kinds = ["summary"]\n'
    assert do(open_site, doing.setting_policy(home, "sue", 'kinds = ["table"]', policy_file.digest_of(text)))
    assert not (home / "policy.toml").exists()
    settings = read_settings(home)
    assert settings.policy.kinds == ("table",) and settings.name == SITE and settings.table[0].name == "numbers"
    assert (home / "policy.toml.before").read_text() == text


def test_a_changed_policy_is_tried_on_earlier_questions_before_and_after(open_site: Console) -> None:
    run = open_site.ask()
    open_site.world.finish(run)
    [tried] = showing.tried(OpenedSite(open_site.home), 'kinds = ["table"]', open_site.world.now)
    assert (tried.run, tried.now) == (run, "") and "does not allow the kind 'histogram'" in tried.then


def test_a_database_of_an_earlier_version_is_not_shown(open_site: Console) -> None:
    from sqlalchemy import text

    with open_site.engine.begin() as connection:
        connection.execute(text("DROP TABLE sent"))
    with pytest.raises(Refused, match="start the site"):
        OpenedSite(open_site.home)
