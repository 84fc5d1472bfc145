"""The printed report: it says everything that a reader needs, loads nothing, and shows hostile text as text."""

import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from hansa.hub.job_detail import JobDetail, SiteProgress
from hansa.hub.looking import JobView
from hansa.hub.pace import Progress
from hansa.jobs import EXAMPLES
from hansa.plan import Disclosure, Noise
from hansa_dashboard import drawing, paper
from hansa_dashboard.methods import method
from hansa_dashboard.paper import Chapter, Code, Grid, Listing, Text
from hansa_dashboard.report import MOST_ROWS, Beside, report
from hansa_dashboard.telling import hub_learns, protects
from hansa_dashboard.words import bare, plain

RUN = "0123456789abcdef" * 2
HOSTILE = (
    "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\"'&lt;\x00\x1b[31m\ud800 ]]> --> {x}"
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>drawn</text></svg>'


def job(kind: str = "histogram", **more: Any) -> JobDetail:
    asked: dict[str, Any] = {"histogram": {"column": "age", "bins": 4}, "glm": {"formula": "ill ~ age", "family": "x"}}
    view = JobView(
        RUN, kind, "heart", "east", "ada", "done", "", 1_795_000_000.0, 1_795_000_009.0, "", asked.get(kind, {})
    )
    sites = (
        SiteProgress("east", "took part", "", True, True, 50_000, 0.0),
        SiteProgress("west", "did not answer in time", "", True, False, 20_000, 0.0),
    )
    made = JobDetail(
        view=view, plan_digest="a1" * 32, protection="masked", minimum_sites=3, deadline=None,
        parameters=view.parameters, sites=sites, timeline=(), rounds=(), progress=Progress(status="done"),
        answer={"kind": kind, "notes": ["rows not counted: 1"]}, remarks=("west is not in the answer.",),
        answer_digest="b2" * 32, recipients=("east", "south"), purpose="to know", disclosure=Disclosure(), noise=None,
        withheld=False, may=(),
    )  # fmt: skip
    return replace(made, **more)


BESIDE = Beside(
    consortium="hearts", charter="version 3", software="Hansa 0.2.0", reader="ada of east", made_at=1_795_000_100.0,
    learned=(hub_learns(1), protects(Disclosure(), None)), evidence="c3" * 32,
)  # fmt: skip


class Reader(HTMLParser):
    """What a browser would meet: tags with their attributes, and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(detail: JobDetail, beside: Beside = BESIDE, plots: tuple[str, ...] = (SVG,)) -> Reader:
    picture = drawing.draw(EXAMPLES[detail.view.kind].answer, "age")
    return Reader(report(detail, picture, plots, beside))


def test_a_report_says_what_was_asked_by_whom_what_came_out_who_is_in_it_and_how_to_check_it() -> None:
    said = read(job()).text
    for part in (
        "Histogram of a column: age", "Table heart, asked by ada of east on 2026-11-18 11:06:40 UTC for: to know.",
        "Consortium hearts, charter version 3", "Made by Hansa 0.2.0 for ada of east",
        "How many rows have a number of age", "west is not in the answer.",
        "The answer holds the numbers of east: 1 of 2 that were asked.", "Recipients: east and south.",
        "Note: rows not counted: 1.", "edge(i) ≤ x < edge(i+1)", "Bonawitz et al.", "No noise was added",
        "unless more than 1 site colludes with it", "a1" * 32, "b2" * 32, "c3" * 32,
        f"hansa audit evidence {RUN} --out evidence.zip", "hansa audit replay --file evidence.zip",
        "hansa audit verify EXPORT", "proves nothing by itself",
    ):  # fmt: skip
        assert part in said, part


def test_a_report_asks_nobody_for_anything_and_runs_nothing() -> None:
    page = read(job())
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "iframe", "object", "embed", "link", "form", "base", "a"}
    )
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert tag == "img" and (value or "").startswith("data:image/svg+xml;base64,")
    policy = [attributes for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes]
    assert policy[0]["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_hostile_text_in_every_field_is_shown_as_text() -> None:
    hostile_sites = tuple(SiteProgress(HOSTILE, HOSTILE, HOSTILE, True, True, 1, 0.0) for _ in range(2))
    view = replace(
        job().view, run=HOSTILE, table=HOSTILE, proposer=HOSTILE, person=HOSTILE, reason=HOSTILE,
        parameters={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}], "column": HOSTILE},
    )  # fmt: skip
    detail = job(
        view=view, parameters=view.parameters, plan_digest=HOSTILE, sites=hostile_sites, remarks=(HOSTILE,),
        answer={"notes": [HOSTILE]}, answer_digest=HOSTILE, recipients=(HOSTILE,), purpose=HOSTILE,
    )  # fmt: skip
    beside = Beside(
        consortium=HOSTILE, charter=HOSTILE, software=HOSTILE, reader=HOSTILE, made_at=0.0,
        learned=(plain(HOSTILE),), evidence=HOSTILE,
    )  # fmt: skip
    cell = HOSTILE.replace("\ud800", "")  # a table holds none
    table = pd.DataFrame({cell: [cell]})
    harmless = drawing.draw(EXAMPLES["histogram"].answer, HOSTILE)
    picture = replace(harmless, table=table, facts=((HOSTILE, HOSTILE),))
    page = Reader(report(detail, picture, (HOSTILE,), beside))
    allowed = {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "table", "thead", "tbody", "tr",
        "th", "td", "figure", "img", "figcaption", "ul", "li", "pre", "caption",
    }  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    assert [tag for tag, _ in page.tags].count("img") == 1
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "\x00" not in page.text and "\x1b" not in page.text


def test_a_report_of_noise_says_what_it_hides_and_how_loud_it_is() -> None:
    noise = Noise(1_500_000, 10**6, "person", "who", 2)
    told = {"deviations": {"cells": 12.5}}
    said = read(job(noise=noise, answer={"notes": [], "noise": told})).text
    for part in ("1.5", "0.000001", "the rows of one 'who' at one site", "12.5", "Discrete Gaussian", "below zero"):
        assert part in said, part
    assert "No noise was added" not in said


def test_a_report_for_who_may_not_see_the_evidence_has_no_digest_of_it() -> None:
    assert "Digest" in read(job(), replace(BESIDE, evidence="")).text
    assert "SHA-256 of the file `evidence`" not in read(job(), replace(BESIDE, evidence="")).text


def test_a_report_of_a_plan_of_the_last_version_says_that_there_were_no_rules_and_no_recipients() -> None:
    said = read(job(disclosure=None, recipients=())).text
    assert "small counts are shown" in said and "The plan names no recipients" in said


def test_a_long_table_is_cut_on_paper_and_the_report_says_so() -> None:
    table = pd.DataFrame({"n": range(MOST_ROWS + 7)})
    picture = replace(drawing.draw(EXAMPLES["histogram"].answer, "age"), table=table)
    page = Reader(report(job(), picture, (SVG,), BESIDE))
    assert f"the first {MOST_ROWS} of {MOST_ROWS + 7} rows" in page.text
    assert sum(tag == "tr" for tag, _ in page.tags) < MOST_ROWS + 60


def test_a_left_out_count_stands_in_the_report_as_not_shown() -> None:
    hidden = replace(EXAMPLES["histogram"].answer, counts=(12, None, 30, 11), n=None)  # type: ignore[call-overload]
    page = Reader(report(job(), drawing.draw(hidden, "age"), (SVG,), BESIDE))
    assert page.text.count("not shown") >= 2


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_of_the_catalogue_has_its_method_told(kind: str) -> None:
    told = method(kind, {}, None)
    assert told is not None and told.text and (told.formulas or told.sources)
    assert method("of another house", {}, None) is None


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_a_regression_under_noise_has_a_method_of_its_own(family: str) -> None:
    noisy = method("glm", {"family": family}, Noise(10**6, 10**6))
    bare_one = method("glm", {"family": family}, None)
    assert noisy is not None and bare_one is not None
    assert "noise" in noisy.text and "noise" not in bare_one.text and family in bare_one.text


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    page = paper.html("t", (), [Chapter("c", (Grid(("a", "b"), (("1,234", "x"), ("-5.5e-03", "2"))),))]).decode()
    assert re.findall(r'<td class="number">([^<]*)</td>', page) == ["1,234", "-5.5e-03"]


def test_our_own_markdown_is_taken_back_to_its_characters() -> None:
    for text in ("a-b_c*d", "**", "\\ and `x`", "[no](http://x)", HOSTILE.replace("\x1b", "")):
        assert bare(plain(text)) == " ".join(text.split())
    assert bare(f"- Beyond **{plain('x*y')}**.") == "Beyond x*y."


def test_paper_is_light_and_breaks_no_figure_when_printed() -> None:
    page = paper.html("t", ("lead",), [Chapter("c", (Text("x"), Code("y"), Listing(("z",))))]).decode()
    assert "color-scheme: light" in page and "@media print" in page and "break-inside: avoid" in page
    assert page.startswith('<!doctype html>\n<html lang="en">')
