"""Documents from an export: they say what the log says, and what it can't know they leave to people."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hansa.documents import crate, impact, record
from hansa.documents.measures import plain
from hansa.documents.told import Log as Told
from hansa.documents.told import read
from hansa.errors import Refused
from hansa.export_folder import replay_of, source_of
from hansa.messages import HUB, encode
from hansa.verify.verdict import verify
from tests import exports
from tests.exports import RUN, Files, files, good, source
from tests.test_verify_compare import Command, hansa, written
from tests.test_verify_exports import replayed, told

__all__ = ["hansa", "replayed"]  # fixtures


def told_by(found: Files) -> Told:
    return read(source(found), verify(source(found)))


def busy() -> exports.Log:
    """A job that ended, one that was refused, and one of which a site left between two steps."""
    log = good()
    plan = exports.plan_for(log, "6" * 32, "b")
    exports.play_plan(log, plan, encode(plan))
    log.add("c", "refused", plan.run, b"too few rows", plan=plan.digest.hex())
    log.add(HUB, "ended", plan.run, status="refused")
    return log


def left() -> exports.Log:
    log = exports.new_log(names="abcd")
    plan = exports.plan_for(log)
    exports.play_plan(log, plan, encode(plan))
    log.add(HUB, "setup complete", RUN, session="7" * 64, plan=plan.digest.hex(), sites="a, b, c, d")
    exports.play_step(log, RUN, "abcd", 0, "1" * 64, "2" * 64)
    exports.play_step(log, RUN, "abc", 1, "3" * 64, "4" * 64)
    log.add(HUB, "released", RUN, answer=exports.ANSWER, sites="a, b, c")
    log.add(HUB, "ended", RUN, status="done")
    return log


def test_the_record_names_controllers_purposes_categories_and_retention() -> None:
    log = busy()
    found = record.data(told_by(files(log)))
    assert [one["name"] for one in found["joint controllers"]] == ["Institution a", "Institution b", "Institution c"]
    assert found["joint controllers"][0]["tables"] == ["numbers"]
    assert found["processing"] == [
        {
            "purpose": "Summary of columns",
            "kind": "summary",
            "table": "numbers",
            "categories of data": ["x"],
            "plans erased": 0,
            "members": ["a", "b", "c"],
            "asked by": {"a": 1, "b": 1},
            "jobs": 2,
            "answers released": 1,
            "first": "2027-01-15T08:00:13+00:00",
            "last": found["processing"][0]["last"],
        }
    ]
    assert found["retention"].startswith("6 years")
    assert found["log"]["root"] == exports.root(log.leaves).hex()
    assert "legal basis" in found["to be added by the controllers"]["purpose"]
    text = record.markdown(told_by(files(log)))
    assert "| Summary of columns | numbers | x | a, b, c | a 1, b 1 | 2 | 1 |" in text


def test_a_withdrawn_table_is_no_longer_the_members() -> None:
    log = good()
    log.add("b", "table withdrawn", table="numbers")
    tables = [one["tables"] for one in record.data(told_by(files(log)))["joint controllers"]]
    assert tables == [["numbers"], [], ["numbers"]]


def test_where_plans_were_erased_the_documents_say_so() -> None:
    found = {name: data for name, data in files(good()).items() if not name.startswith("payloads/")}
    log = told_by(found)
    assert record.data(log)["processing"][0]["plans erased"] == 1
    assert "(1 plans erased)" in record.markdown(log)
    assert impact.data(log, log.job(RUN))["parameters"] == "erased"
    assert "The plan was erased" in impact.markdown(log, log.job(RUN))
    with pytest.raises(Refused, match="was erased"):
        crate.files(log, log.job(RUN), {})


def test_the_impact_pack_says_who_learns_what_and_what_is_left_out() -> None:
    log = told_by(files(good()))
    found = impact.data(log, log.job(RUN))
    assert found["floors"] == {
        "least members in a total": 3,
        "members that may collude with the hub": 0,
        "cosignatures that make the log final": 3,
    }
    assert set(found["consents"]) == {"a", "b", "c"}
    assert found["steps"][1]["survivors"] == ["a", "b", "c"]
    assert "quantiles" in found["learns"]["the hub"]
    assert any("a count or a total over few people" in risk for risk in found["remaining risks"])
    assert found["answer as shown"] == "no noise; counts below 10, and totals that hold them, left out"
    text = impact.markdown(log, log.job("5"))
    assert "| its recipients | the answer |" in text
    assert "left between two steps" not in text


def test_the_impact_pack_names_who_left_between_two_steps() -> None:
    log = told_by(files(left()))
    assert impact.data(log, log.job(RUN))["left between steps"] == ["d"]
    assert "**d** left between two steps" in impact.markdown(log, log.job(RUN))


def test_documents_are_made_of_nothing_that_is_false() -> None:
    log = good()
    log.change(11, details={"table": "other"})
    with pytest.raises(Refused, match="does not hold"):
        told_by(files(log))
    log = good()
    with pytest.raises(Refused, match="no jobs 'f'"):
        told_by(files(log)).job("f")
    with pytest.raises(Refused, match="no jobs ''"):
        told_by(files(log)).job("")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("a|b", "a\\|b"), ("<script>", "\\<script\\>"), ("a\nb\x1b", "a b "), ("# [x](y)", "\\# \\[x\\](y)")],
)
def test_what_somebody_typed_is_no_markdown(typed: str, shown: str) -> None:
    assert plain(typed) == shown


# ---- crate ----


def entities(found: Files, name: str = "ro-crate-metadata.json") -> dict[str, dict[str, Any]]:
    graph = json.loads(found[name])["@graph"]
    by_id = {entity["@id"]: entity for entity in graph}
    assert len(by_id) == len(graph)
    return by_id


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["@id"]} if set(value) == {"@id"} else set().union(*map(references, value.values()), set())
    return set().union(*map(references, value), set()) if isinstance(value, list) else set()


def made() -> Files:
    found = files(good())
    log = told_by(found)
    beside = {name: found[name] for name in ("checkpoint", "policy", "charters/1")}
    return crate.files(log, log.job(RUN), {**beside, "answer.json": b"{}"})


def test_a_crate_says_what_the_profile_asks_for() -> None:
    """Five Safes RO-Crate 0.4: responsible project, requesting agent, workflow, run, sign-offs, checks."""
    found = made()
    told = entities(found)
    root = told["./"]
    assert told["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.2"}
    assert root["conformsTo"] == {"@id": "https://w3id.org/5s-crate/0.4"}
    assert told[root["sourceOrganization"]["@id"]]["@type"] == "Project"
    workflow = told[root["mainEntity"]["@id"]]
    assert workflow["@type"] == "Dataset"
    assert workflow["conformsTo"]["@id"].startswith("https://w3id.org/workflowhub/workflow-ro-crate")
    mentioned = [told[one["@id"]] for one in root["mentions"]]
    runs = [one for one in mentioned if one["@type"] == "CreateAction"]
    assert [run["instrument"]["@id"] for run in runs] == ["workflow/"]
    asked = told[runs[0]["agent"]["@id"]]
    assert asked["@type"] == "Person"
    assert told[asked["affiliation"]["@id"]]["name"] == "Institution a"
    kinds = [one["additionalType"]["@id"].split("#")[1] for one in mentioned if one["@type"] == "AssessAction"]
    assert sorted(kinds) == ["CheckValue", "DisclosureCheck", "SignOff", "SignOff", "SignOff"]
    signed = told["#signoff-b"]
    assert {one["@id"] for one in signed["object"]} == {"./", "workflow/", "#project"}
    assert told[signed["instrument"]["@id"]]["@type"] == "CreativeWork"
    assert told["#disclosure"]["actionStatus"].endswith("PotentialActionStatus")


@pytest.mark.parametrize("name", ["ro-crate-metadata.json", "workflow/ro-crate-metadata.json"])
def test_every_reference_in_a_crate_leads_somewhere(name: str) -> None:
    found = made()
    told = entities(found, name)
    outside = {one for one in references(list(told.values())) - set(told) if not one.startswith("https://w3id.org/")}
    assert outside <= {"https://w3id.org/shp#SignOff"}
    folder = name.rpartition("/")[0]
    for entity in told.values():
        if "File" in entity["@type"]:
            content = found[f"{folder}/{entity['@id']}" if folder else entity["@id"]]
            assert entity.get("sha256", hashlib.sha256(content).hexdigest()) == hashlib.sha256(content).hexdigest()
            assert int(entity.get("contentSize", len(content))) == len(content)


def test_the_crates_plan_is_the_one_that_was_signed() -> None:
    found = made()
    plan = exports.plan_for(good())
    assert found["workflow/plan"] == encode(plan)
    assert json.loads(found["workflow/plan.json"])["digest"] == plan.digest.hex()
    assert msgspec.msgpack.decode(found["workflow/plan"])[1] == RUN


def test_a_job_without_an_answer_makes_a_crate_that_says_why() -> None:
    found = files(busy())
    log = told_by(found)
    told = entities(crate.files(log, log.job("6"), {}))
    assert told[f"#run-{'6' * 32}"]["error"] == "the job ended as 'refused'"
    assert "result" not in told[f"#run-{'6' * 32}"]
    assert told["#signoff-c"]["actionStatus"].endswith("CompletedActionStatus")


# ---- commands ----


def test_the_commands_print_and_write(tmp_path: Path, hansa: Command) -> None:
    log = good()
    export, out = written(tmp_path / "export", files(log)), tmp_path / "crate"
    code, said = hansa("audit", "record", export)
    assert (code, said.split("\n")[0]) == (0, "# Record of processing: hospitals")
    assert json.loads(hansa("audit", "record", export, "--json")[1])["consortium"] == "hospitals"
    code, said = hansa("audit", "impact", export, "555")
    assert (code, said.split("\n")[0]) == (0, "# Impact of a job: Summary of columns over numbers")
    assert json.loads(hansa("audit", "impact", export, RUN, "--json")[1])["job"] == RUN
    assert hansa("audit", "crate", export, RUN, "--out", out)[0] == 0
    assert (out / "charters" / "1").read_bytes() == log.signed[1]
    assert not (out / "answer.json").exists()
    code, said = hansa("audit", "crate", export, RUN, "--out", out)
    assert code == 2
    assert "is there already" in said


def test_a_crate_holds_the_answer_of_evidence_that_was_replayed(replayed: Any, tmp_path: Path, hansa: Command) -> None:
    world, run, evidence, folder = replayed
    log = told(world, run, evidence, replay_of(folder, run))
    export = written(tmp_path / "export", files(log))
    (export / "evidence").mkdir()
    (export / "evidence" / run).write_bytes((folder / "evidence" / run).read_bytes())
    assert verify(source_of(export), replay=partial(replay_of, export)).replayed == (run,)
    assert hansa("audit", "verify", export)[0] == 0
    assert hansa("audit", "crate", export, run, "--out", tmp_path / "crate")[0] == 0
    assert (tmp_path / "crate" / "answer.json").read_bytes() == evidence.answer
