"""A document of headings, paragraphs, tables and plots, as one HTML file that asks nobody for anything.

No script, no font, no style and no picture from elsewhere; plots are inside it, as images, which can't run anything.
All text goes through one serialiser that escapes it, so a name that looks like markup is shown as it is.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from msgspec import Struct

_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_STYLE: Final = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; color: #16242c; background: #fff;
  font: 11pt/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; border-bottom: 1px solid #d5dde2; padding-bottom: .2rem; }
p { margin: .4rem 0; }
.lead { color: #47565f; }
.warning { border-left: 3px solid #c2660c; padding-left: .7rem; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #47565f; padding-bottom: .3rem; }
th, td { border: 1px solid #d5dde2; padding: .2rem .55rem; text-align: left; vertical-align: top; }
th { background: #f2f5f7; font-weight: 600; }
td.number { text-align: right; white-space: nowrap; }
figure { margin: .8rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #47565f; font-size: .9rem; }
pre { background: #f2f5f7; padding: .5rem .7rem; white-space: pre-wrap; font-size: .85rem; margin: .4rem 0; }
@media print { body { margin: 0; max-width: none; font-size: 9.5pt; } h2 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; } th { background: none; } @page { margin: 18mm; } }
"""


class Text(Struct, frozen=True):
    """A paragraph; `sort` is the class that it is styled by."""

    text: str
    sort: str = ""


class Code(Struct, frozen=True):
    text: str


class Listing(Struct, frozen=True):
    items: tuple[str, ...]


class Grid(Struct, frozen=True):
    """Cells as they are to be read. Columns of which every cell is a number stand to the right."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


class Figure(Struct, frozen=True):
    """An SVG, and what it shows."""

    svg: str
    says: str


Block = Text | Code | Listing | Grid | Figure


class Chapter(Struct, frozen=True):
    heading: str
    blocks: tuple[Block, ...]


_NUMBER = re.compile(r"[-−+]?[\d,.]+(e[-+]?\d+)?( ± [\d,.e+-]+)?|not shown|")


def html(title: str, lead: Sequence[str], chapters: Sequence[Chapter]) -> bytes:
    root = Element("html", lang="en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _put(head, "title", title)
    SubElement(head, "style").text = _STYLE
    body = SubElement(root, "body")
    _put(body, "h1", title)
    for line in lead:
        _put(body, "p", line, "lead")
    for chapter in chapters:
        section = SubElement(body, "section")
        _put(section, "h2", chapter.heading)
        for block in chapter.blocks:
            _block(section, block)
    return b"<!doctype html>\n" + tostring(root, encoding="unicode", method="html").encode() + b"\n"


def _put(parent: Element, tag: str, text: str, sort: str = "") -> Element:
    made = SubElement(parent, tag, {"class": sort} if sort else {})
    made.text = _CONTROL.sub("\ufffd", text)
    return made


def _block(parent: Element, block: Block) -> None:
    match block:
        case Text():
            _put(parent, "p", block.text, block.sort)
        case Code():
            _put(parent, "pre", block.text)
        case Listing():
            listing = SubElement(parent, "ul")
            for item in block.items:
                _put(listing, "li", item)
        case Grid():
            _grid(parent, block)
        case Figure():
            _figure(parent, block)


def _grid(parent: Element, grid: Grid) -> None:
    table = SubElement(parent, "table")
    if grid.caption:
        _put(table, "caption", grid.caption)
    heads = SubElement(SubElement(table, "thead"), "tr")
    for name in grid.heads:
        _put(heads, "th", name).set("scope", "col")
    numbers = [all(_NUMBER.fullmatch(row[place]) for row in grid.rows) for place in range(len(grid.heads))]
    body = SubElement(table, "tbody")
    for row in grid.rows:
        line = SubElement(body, "tr")
        for cell, number in zip(row, numbers, strict=True):
            _put(line, "td", cell, "number" if number else "")


def _figure(parent: Element, figure: Figure) -> None:
    made = SubElement(parent, "figure")
    content = base64.b64encode(figure.svg.encode("utf-8", "replace")).decode()
    SubElement(made, "img", src=f"data:image/svg+xml;base64,{content}", alt=_CONTROL.sub("\ufffd", figure.says))
    _put(made, "figcaption", figure.says)
