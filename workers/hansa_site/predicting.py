"""A fitted model applied to a site's own rows, into a file there. No letter, no log: nothing leaves the machine."""

import csv
import io
from pathlib import Path

import msgspec
import numpy as np

from hansa.errors import ProtocolViolation, Refused
from hansa.files import write_private
from hansa.jobs import decode_answer
from hansa.jobs.base import Answer
from hansa_site.settings import TableSource
from hansa_site.tables import load


def predict(source: TableSource, base: Path, answer: Path, out: Path) -> tuple[int, int]:
    """Writes a row for each of the table's, empty where it misses a value; gives (rows, rows without a prediction)."""
    model = _read(answer)
    rows = load(source, base, model.predictors())
    found = model.predict(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found)
    for values in zip(*(column.tolist() for column in found.values()), strict=True):
        writer.writerow(["" if value != value else repr(value) for value in values])  # noqa: PLR0124  # NaN
    write_private(out, text.getvalue().encode())
    missing = np.isnan(np.column_stack(list(found.values()))).any(axis=1)
    return rows.rows, int(missing.sum())


def _read(path: Path) -> Answer:
    """An answer as the page gives it, or as `hansa job run --json` does, with what stands around it."""
    try:
        raw = msgspec.json.decode(path.read_bytes(), type=dict)
        if isinstance(raw.get("answer"), dict):
            raw = {"kind": raw.get("kind"), **raw["answer"]}
        return decode_answer(msgspec.json.encode(raw))
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ProtocolViolation) as error:
        raise Refused(f"{path} holds no answer of a kind that is known here") from error
