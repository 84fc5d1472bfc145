"""Files that a command names. An export is a folder (`hansa.export_folder`)."""

from pathlib import Path

from hansa.errors import Refused
from hansa.export_folder import read_file


def needed(path: Path | None) -> bytes | None:
    """A file that was named; Refused where it is not there."""
    if path is None:
        return None
    found = read_file(path)
    if found is None:
        raise Refused(f"there is no file {path}")
    return found
