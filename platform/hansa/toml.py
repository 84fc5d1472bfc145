"""TOML that people write, read so that nothing in it takes long: `tomllib` alone needs seconds for a key of ten
thousand dots, gives up on lists in lists with a RecursionError, and on a number of 5 000 digits with a ValueError."""

import tomllib
from pathlib import Path
from typing import Any, Final

from hansa.errors import Refused

LONGEST: Final = 2**22  # characters; a consortium of a thousand sites has a few hundred thousand
MOST_DOTS: Final = 500  # in a line


def parse(text: str, where: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise Refused(f"{where}: longer than {LONGEST} characters")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > MOST_DOTS:
            raise Refused(f"{where}: line {number} has more than {MOST_DOTS} dots; write it in several lines")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise Refused(f"{where}: not a TOML file: too deeply nested") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is what Python says of a number too long
        raise Refused(f"{where}: not a TOML file: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """FileNotFoundError stays, for whoever knows what the file should have been."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} can't be read") from error
    return parse(text, str(path))
