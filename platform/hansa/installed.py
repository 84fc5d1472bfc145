"""Kinds of other houses: Python packages that are installed beside this one, by entry point `hansa.jobs`.

Such a package is a wheel that holds one folder of code and an entry point whose name is the kind and whose object is
the module with its `Job`, `Answer` and `EXAMPLE`:

    [project.entry-points."hansa.jobs"]
    median_wage = "acme_kinds.median_wage"

Importing it would run it. So nothing of it is imported before whoever runs this process has allowed its digest: a site
in its policy (`kind_digests`), a hub in `hub.toml`. The digest is SHA-256 over the names and contents of every file
that the package installed, read from the disk; what the package in turn imports is not in it.
"""

import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Final

from msgspec import Struct

from hansa import jobs
from hansa.errors import Refused

GROUP: Final = "hansa.jobs"
_LABEL: Final = b"hansa/kind/1\0"  # what is hashed first, so that the digest is of nothing else
_NO_BYTECODE: Final = "/dev/null/hansa"  # a folder that can't exist
_admitted: dict[str, str] = {}  # of this process: what was imported, with the digest that it had then


class Installed(Struct, frozen=True):
    """A kind that is installed here, imported or not; `trouble` says why it can't be, or is empty."""

    kind: str
    package: str
    version: str
    digest: str
    trouble: str = ""


def found() -> Mapping[str, Installed]:
    """Those of other houses, by kind, without importing any."""
    every = [_looked_at(point) for point in entry_points(group=GROUP)]
    return {one.kind: one for one in sorted(every, key=lambda one: one.kind)}


def admit(allowed: Mapping[str, str]) -> None:
    """Imports the kinds whose installed digest is the one that is allowed. Others, and kinds of our own, stay as they
    are; what was imported before stays imported, and whether it may be used is asked of the policy each time."""
    wanted = {kind: due for kind, due in allowed.items() if kind not in jobs.KINDS}
    if not wanted:
        return
    here = found()
    for kind, due in wanted.items():
        one = here.get(kind)
        if one is None or one.trouble or one.digest != due:
            continue
        (point,) = entry_points(group=GROUP, name=kind)
        # Compiled files are not in the digest, since pip and Python write them; so this process reads none from now on,
        # also for what the kind imports when it is first asked.
        sys.pycache_prefix = _NO_BYTECODE
        jobs.add(kind, import_module(point.module))
        _admitted[kind] = one.digest


def admitted(kind: str) -> str | None:
    """The digest of another house's kind as it was imported into this process; None of our own and of any other."""
    return _admitted.get(kind)


def refuse_unfit(allowed: Mapping[str, str], kinds: tuple[str, ...], where: str) -> None:
    """Refuses a kind that is neither ours nor one that is installed, and another house's without its digest; `where`
    names the file and the key."""
    others = {kind for kind in (*kinds, *allowed) if kind not in jobs.KINDS}
    here = found() if others else {}
    for kind in sorted(others):
        if kind not in here:
            names = ", ".join(jobs.KINDS)
            raise Refused(f"{where} names '{kind}', and no such kind is installed here; there are {names}")
        if here[kind].trouble:
            raise Refused(f"{where} names '{kind}', of the package {here[kind].package}: {here[kind].trouble}")
        if kind not in allowed:
            raise Refused(
                f"{where} names '{kind}', which is another house's: its code wants to be named in 'kind_digests', as "
                "`hansa site policy kinds` prints it"
            )


def _looked_at(point: EntryPoint) -> Installed:
    if point.dist is None:
        return Installed(point.name, point.module, "", "", "it belongs to no package that is installed")
    name, version = point.dist.metadata["Name"], point.dist.version
    same = [other for other in entry_points(group=GROUP) if other.name == point.name]
    try:
        if point.name in jobs.KINDS and point.name not in _admitted:
            raise Refused("its name is that of a kind of Hansa's own")
        if len(same) > 1:
            raise Refused("two packages bring a kind of this name")
        folder = point.module.partition(".")[0]
        digest = _digest(point.dist, folder)
        _refuse_shadowed(point.dist, folder)
        return Installed(point.name, name, version, digest)
    except Refused as refusal:
        return Installed(point.name, name, version, "", str(refusal))


def _refuse_shadowed(package: Distribution, folder: str) -> None:
    """What Python would import by this name must be what was hashed. Finding a folder runs nothing of it."""
    spec = find_spec(folder)
    own = Path(str(package.locate_file(folder))).resolve()
    if spec is None or [Path(place).resolve() for place in spec.submodule_search_locations or ()] != [own]:
        raise Refused(f"another '{folder}' stands before its folder on Python's path")


def _digest(package: Distribution, folder: str) -> str:
    hashed = sha256(_LABEL)
    for name, content in _files(package, folder):
        hashed.update(f"{name}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()


def _files(package: Distribution, folder: str) -> Iterator[tuple[str, bytes]]:
    """Every file, in the order of its name, but for what pip and Python write themselves."""
    if folder in ("hansa", "hansa_site", "hansa_dashboard"):
        raise Refused("its code lies in a folder of Hansa's own")
    for file in sorted(package.files or (), key=lambda file: file.as_posix()):
        path = PurePath(file.as_posix())
        if path.parts[0].endswith(".dist-info") or "__pycache__" in path.parts:
            continue
        if path.parts[0] != folder:
            raise Refused(f"it has a file outside its folder '{folder}', or is installed in place: install its wheel")
        try:
            yield path.as_posix(), Path(str(package.locate_file(file))).read_bytes()
        except OSError as error:
            raise Refused(f"its file {path} can't be read") from error
