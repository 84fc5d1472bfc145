"""What a drawing is, and what all drawings share."""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import pandas as pd
from msgspec import Struct, UnsetType

Chart = alt.Chart | alt.LayerChart | alt.FacetChart
COLOUR: Final = "#2a7f9e"  # these read on white and on near-black, and differ for the colour-blind
NOISE: Final = "#c2660c"
QUIET: Final = "#8a949e"
WORDS: Final = "#727e87"
HEAT: Final = ("#d7ecf2", "#0f4c63")
NORMAL: Final = 1.959963984540054  # the normal's 0.975 quantile
FROM, TO = "noise, 95 % from", "noise, 95 % to"
LEFT_OUT: Final = "left out"


class Plot(Struct, frozen=True):
    """`says` is what it shows, in a sentence or two, for whoever doesn't see it."""

    chart: Chart
    says: str


class Picture(Struct, frozen=True):
    """`facts` stand above the plots: label and value, each a few characters. `more`: further tables, by title."""

    table: pd.DataFrame
    plots: tuple[Plot, ...]
    facts: tuple[tuple[str, str], ...]
    more: tuple[tuple[str, pd.DataFrame], ...] = ()


def counts(numbers: Sequence[int | None]) -> pd.Series:
    """Whole numbers; one that is left out stays so, and makes no float of the others."""
    return pd.Series(pd.array(list(numbers), dtype="Int64"))


def reach(error: float | UnsetType | None) -> float | None:
    """Half the 95 % interval of a standard error; None where the answer has none."""
    return NORMAL * error if isinstance(error, float) else None


def with_noise(table: pd.DataFrame, column: str, wide: float | None) -> pd.DataFrame:
    """With the interval of each number of `column`, where there is noise in it."""
    if wide is None:
        return table
    numbers = table[column].astype("Float64")
    return table.assign(**{FROM: numbers - wide, TO: numbers + wide})


def count(number: int | None, wide: float | None = None) -> str:
    if number is None:
        return "not shown"
    return f"{number:,}" if wide is None else f"{number:,} ± {wide:,.3g}"


def hints(table: pd.DataFrame) -> list[alt.Tooltip]:
    """Every column, numbers to six digits."""
    return [alt.Tooltip(name, format=".6g") if _broken(table[name]) else alt.Tooltip(name) for name in table.columns]


def _broken(column: Any) -> bool:
    return bool(pd.api.types.is_float_dtype(column))


def noise_says(wide: float | None) -> str:
    if wide is None:
        return ""
    return f" Each count carries noise: its line is the 95 % interval of that alone, ± {wide:,.3g} rows."


def left_out_says(numbers: Sequence[int | None], what: str) -> str:
    missing = sum(number is None for number in numbers)
    return f" {missing} of the {len(numbers)} {what} are left out, and marked so." if missing else ""
