"""An answer as a file: CSV, Parquet, and plots as SVG and PNG. Nothing is fetched from anywhere to make one."""

import io
import threading
from typing import Any, Final

import pandas as pd

from hansa_dashboard.drawing.picture import Chart

WIDTH: Final = 640  # of a plot in a file, in pixels before `SCALE`
SCALE: Final = 2
_DRAWING = threading.BoundedSemaphore(1)  # the renderer holds a JavaScript engine: one plot at a time
_ON_PAPER: Final[dict[str, Any]] = {
    "background": "white",
    "font": "sans-serif",
    "padding": 12,
    "view": {"stroke": "#d5dde2"},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e6ebee"},
    "legend": {"labelFontSize": 12},
}


def csv(table: pd.DataFrame) -> bytes:
    """UTF-8. A text that a spreadsheet would run as a formula is preceded by an apostrophe."""
    safe = table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell)
    return safe.to_csv(index=False).encode()


def parquet(table: pd.DataFrame) -> bytes:
    """Types as they are; what is left out is null."""
    file = io.BytesIO()
    table.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def png(chart: Chart) -> bytes:
    import vl_convert

    with _DRAWING:
        return bytes(vl_convert.vegalite_to_png(_on_paper(chart), scale=SCALE, allowed_base_urls=[]))


def svg(chart: Chart) -> str:
    import vl_convert

    with _DRAWING:
        return str(vl_convert.vegalite_to_svg(_on_paper(chart), allowed_base_urls=[]))


def _on_paper(chart: Chart) -> dict[str, Any]:
    """The plot with a width of its own, on white."""
    spec: dict[str, Any] = chart.to_dict()
    spec["width"] = WIDTH
    spec["config"] = {**spec.get("config", {}), **_ON_PAPER}
    return spec
