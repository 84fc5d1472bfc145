"""Files that only their user may read, replaced at once; and settings as TOML, so that nobody has to write it."""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def write_private(path: Path, data: bytes) -> None:
    """Durable when this returns. Who reads the file meanwhile reads the old one or the new."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def write_toml(path: Path, content: Mapping[str, Any]) -> None:
    write_private(path, to_toml(content).encode())


def to_toml(content: Mapping[str, Any]) -> str:
    """Strings, numbers, booleans, lists and nested tables; JSON's spelling of the first four is TOML's too. What is
    None is left out."""
    content = {name: value for name, value in content.items() if value is not None}
    plain = {name: value for name, value in content.items() if not _is_table(value)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    for name, value in content.items():
        for table in value if isinstance(value, list) and _is_table(value) else [value] if _is_table(value) else []:
            head = f"[[{_key(name)}]]" if isinstance(value, list) else f"[{_key(name)}]"
            there = {inner: item for inner, item in table.items() if item is not None}
            lines += ["", head, *(f"{_key(inner)} = {_value(item)}" for inner, item in there.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        there = {name: item for name, item in value.items() if item is not None}
        return "{" + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in there.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
