"""What an answer shows: facts, sheets of figures and plots, declared by its kind and drawn by whoever shows it.

Plain values without a drawing library, so a terminal, a page, a CSV file and a printed report show the same figures,
and a third party's kind is shown like one of ours. An exhibit is made from an answer that is already disclosed, and
holds nothing that can't be computed from it.
"""

from msgspec import Struct

Cell = str | int | float | None  # None: left out, or there is none


class Sheet(Struct, frozen=True):
    """A table: one tuple per row, in the order of the headings."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Line(Struct, frozen=True):
    """`x` rises; `low` and `high` are the ends of a band around `y`, or empty."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Curves(Struct, frozen=True, kw_only=True):
    """Lines over one x. `stairs`: y holds until the next x. `beneath`: a sheet under the curve whose first column
    names the lines and whose other headings are values of x (numbers at risk)."""

    says: str
    x: str
    y: str
    lines: tuple[Line, ...]
    stairs: bool = False
    diagonal: bool = False
    y_range: tuple[float, float] | None = None
    beneath: Sheet | None = None


class Intervals(Struct, frozen=True, kw_only=True):
    """A forest plot: an estimate and its interval per label. `null` is where there is no effect; `log`: a ratio."""

    says: str
    x: str
    labels: tuple[str, ...]
    estimates: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    null: float | None = None
    log: bool = False


class Bars(Struct, frozen=True, kw_only=True):
    says: str
    x: str
    labels: tuple[str, ...]
    values: tuple[float | None, ...]


class Heat(Struct, frozen=True, kw_only=True):
    """`values[i][j]` of `rows[i]` and `columns[j]`. `diverging`: coloured on both sides of zero."""

    says: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    diverging: bool = False


class Points(Struct, frozen=True, kw_only=True):
    """Dots with vertical intervals (`lows`, `highs`, or empty); `diagonal`: where x = y."""

    says: str
    x: str
    y: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    diagonal: bool = False


Plot = Curves | Intervals | Bars | Heat | Points


class Exhibit(Struct, frozen=True):
    """`facts`: label and value, a few characters each. The first sheet is what a CSV file holds. Every plot's `says`
    tells in a sentence or two what it shows, for whoever doesn't see it."""

    facts: tuple[tuple[str, str], ...]
    sheets: tuple[Sheet, ...]
    plots: tuple[Plot, ...] = ()


class Method(Struct, frozen=True):
    """What a kind computes, for a printed report. `formulas` and `sources` may be empty. Every text is a paragraph."""

    text: str
    formulas: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
