"""Tables of a site: their schema for everybody, their rows for this process alone.

CSV and Parquet through Polars, anything else through an SQLAlchemy URL and a query. A schema is names, types,
declared categories and units; categories are never read from the rows.
"""

import csv
import re
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from hansa.errors import Refused
from hansa.jobs.base import Column, Schema, Table
from hansa_site.settings import TableSource

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# What a damaged Parquet file makes of Polars is no Exception, and would end the site's thread.
_POLARS_ERRORS = pl.exceptions.PolarsError, pl.exceptions.PanicException
MISSING = ["", "NA", "N/A", "?", "NaN", "nan", "null", "NULL", "."]


def schema(source: TableSource, base: Path) -> Schema:
    """What others may know of the table; refuses a file that can't be read as one, or has no rows."""
    frame = _read(source, base, None)
    if not frame.height:
        raise Refused(f"table '{source.name}' has no rows")
    columns = tuple(_column(source, frame[name]) for name in frame.columns)
    declared = set(source.categories) | set(source.units)
    unknown = sorted(declared - set(frame.columns))
    if unknown:
        raise Refused(f"table '{source.name}' has no column '{unknown[0]}' to declare categories or a unit for")
    return Schema(source.name, columns)


def load(source: TableSource, base: Path, names: tuple[str, ...], lenient: bool = False) -> Table:
    """The rows of `names`, as `jobs.base.Table` wants them; of those that there are, for a kind that is lenient."""
    frame = _read(source, base, names, lenient)
    columns = tuple(_column(source, frame[name]) for name in frame.columns)
    values = {column.name: _values(frame[column.name], column) for column in columns}
    return Table(Schema(source.name, columns), frame.height, values)


def _column(source: TableSource, series: pl.Series) -> Column:
    """A column that nobody filled in is one of numbers, unless its categories are declared: a file can't tell."""
    name, type_ = series.name, series.dtype
    number = type_.is_numeric() or type_ in (pl.Boolean, pl.Null)
    number = number or (series.null_count() == len(series) and name not in source.categories)
    if not number and type_ not in (pl.String, pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Time):
        raise Refused(f"column '{name}' of table '{source.name}' holds neither numbers nor text")
    return Column(name, "number" if number else "text", source.units.get(name, ""), source.categories.get(name, ()))


def _values(series: pl.Series, column: Column) -> "np.ndarray[tuple[int], np.dtype[np.generic]]":
    if column.type == "number":
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    return np.array(series.cast(pl.String).to_list(), dtype=object)


def _read(source: TableSource, base: Path, names: tuple[str, ...] | None, lenient: bool = False) -> pl.DataFrame:
    frame = _query(source) if source.url else _file(source, base)
    if lenient and names is not None:
        names = tuple(name for name in names if name in frame.columns)
    for name in names or ():
        if name not in frame.columns:
            raise Refused(f"table '{source.name}' has no column '{name}'")
    # Not `select`: it takes the name "*" for every column, and "^…$" for a pattern.
    return frame if names is None else pl.DataFrame([frame.get_column(name) for name in names])


def _file(source: TableSource, base: Path) -> pl.DataFrame:
    path = Path(source.path) if Path(source.path).is_absolute() else base / source.path
    if not path.is_file():
        raise Refused(f"table '{source.name}': there is no file {source.path}")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        with path.open("rb") as file:
            if b"\0" in file.read(65_536):
                raise Refused(f"table '{source.name}': {source.path} is not a CSV file (it holds binary data)")
        with path.open(encoding="utf-8", newline="") as lines:
            _check_names(source, next(csv.reader(lines), []))
        return pl.read_csv(path, infer_schema_length=None, null_values=MISSING)
    except (*_POLARS_ERRORS, UnicodeDecodeError, csv.Error, OSError) as error:
        what = "Parquet" if path.suffix.lower() in (".parquet", ".pq") else "CSV"
        raise Refused(f"table '{source.name}': {source.path} is not a {what} file that can be read") from error


def _query(source: TableSource) -> pl.DataFrame:
    try:
        engine = create_engine(source.url)
        with engine.connect() as connection:
            result = connection.execute(text(source.query))
            names, rows = list(result.keys()), [tuple(row) for row in result]
        engine.dispose()
        _check_names(source, names)
        return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    except (SQLAlchemyError, ImportError, pl.exceptions.PolarsError, TypeError) as error:
        raise Refused(f"table '{source.name}': its query can't be run ({type(error).__name__})") from error


def _check_names(source: TableSource, names: list[str]) -> None:
    """Column names are shown to everybody: a first line that may be a row is not taken for names."""
    for name in names:
        bare = name.strip()
        if _NUMBER.fullmatch(bare) or (bare and bare in MISSING):  # R writes its row names under an empty one
            raise Refused(f"table '{source.name}': its first line holds no column names, as a header would")
    if len(set(names)) != len(names):
        raise Refused(f"table '{source.name}' has a column name twice")
