"""`hansa audit verify`, `compare`, `fork` and `lost`: offline, and with no code of the hub's."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli.exports import needed
from hansa.errors import ProtocolViolation, Refused
from hansa.export_folder import replay_of, source_of

if TYPE_CHECKING:
    from hansa.verify.authors import Due
    from hansa.verify.compare import Copy
    from hansa.verify.tiles import Source
    from hansa.verify.verdict import Verdict

CODES = {"holds": 0, "open": 1, "false": 2}
_SHOWN = 20  # findings of a severity; --json has them all
_WAITING = 8  # batches under way for each process
Export = Annotated[Path, typer.Argument(metavar="EXPORT", help="A folder that `hansa audit export` wrote.")]
Own = Annotated[
    Path | None, typer.Option("--charter", help="Your own signed charter: the file 'charter' in a site's home.")
]


def register(app: typer.Typer) -> None:
    for command in (verify, compare, fork, lost):
        app.command()(command)


def verify(
    export: Export,
    charter: Own = None,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON.")] = False,
) -> None:
    """Hold an export to everything that it says. Exit code 0: all holds; 1: something is missing, or a person should
    look at it; 2: something is false."""
    import msgspec

    source, own = source_of(export), needed(charter)
    with Signatures() as signatures:
        verdict = _held(export, source, own, signatures)
        former = {began: _former(export, source, began, signatures) for began in verdict.former}
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(verdict) | {"former": msgspec.to_builtins(former)}, indent=1))
    else:
        print_verdict(verdict, verdict.own_charter)
        for began, one in former.items():
            typer.echo(f"\nThe log before, which began with version {began} of the charter:")
            print_verdict(one, True) if not isinstance(one, str) else typer.echo(one)
    outcomes = ["open" if isinstance(one, str) else one.outcome for one in (verdict, *former.values())]
    raise typer.Exit(max(CODES[outcome] for outcome in outcomes))


def held(export: Path, charter: Path | None) -> "Verdict":
    """Of the log that goes on."""
    with Signatures() as signatures:
        return _held(export, source_of(export), needed(charter), signatures)


def _held(export: Path, source: "Source", charter: bytes | None, signatures: "Signatures") -> "Verdict":
    from hansa.verify.verdict import verify

    return verify(source, charter, partial(replay_of, export), signatures.check)


def _former(export: Path, source: "Source", began: int, signatures: "Signatures") -> "Verdict | str":
    """Of a log that is over, or in a sentence why there is nothing to judge. Its charters are those of the one that is
    not, which was held to the reader's."""
    from hansa.verify.former import FOLDER
    from hansa.verify.former import source_of as source_of_former

    try:
        return _held(export / FOLDER / str(began), source_of_former(source, began), None, signatures)
    except ProtocolViolation as violation:
        return str(violation)


class Signatures:
    """Looks at signatures in a process for each core. A log of a few thousand entries isn't worth the processes."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def check(self, batches: "Iterable[list[Due]]") -> Iterator[list[int]]:
        from hansa.verify.authors import check_signatures

        waiting: deque[Callable[[], list[int]]] = deque()
        cores = cpu_count() or 1
        for number, batch in enumerate(batches):
            if number < 4:
                waiting.append(partial(check_signatures, batch))
            else:
                self._pool = self._pool or ProcessPoolExecutor(cores)
                sent: Future[list[int]] = self._pool.submit(check_signatures, batch)
                waiting.append(sent.result)
            if len(waiting) >= _WAITING * cores:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def print_verdict(verdict: "Verdict", own: bool) -> None:
    """`own`: whether the reader's own charter was given."""
    from hansa.verify.entries import about

    first = verdict.first_failure
    if first is not None:
        typer.echo(f"FALSE, first at {first.where}: {first.sentence}")
    else:
        open_ = verdict.outcome == "open"
        typer.echo("Nothing is false, but not everything is shown." if open_ else "Everything holds.")
    typer.echo(
        f"log {about(verdict.origin)} of '{about(verdict.consortium)}': {verdict.size} entries, head {verdict.root}"
    )
    final = "final" if verdict.final else f"not final, {verdict.quorum} must"
    who = ", ".join(f"{site} ({when(seconds)})" for site, seconds in sorted(verdict.cosigned.items())) or "nobody"
    typer.echo(f"cosigned by {who}: {len(verdict.cosigned)} of {verdict.quorum}, {final}")
    typer.echo(f"{verdict.jobs} jobs, {verdict.releases} releases, {len(verdict.replayed)} recomputed from evidence")
    if verdict.releases > len(verdict.replayed):
        typer.echo(
            f"{verdict.releases - len(verdict.replayed)} releases are not recomputed: there is no evidence of them"
        )
    typer.echo(f"payloads: {verdict.payloads_opened} open, {verdict.payloads_erased} erased")
    typer.echo("acts: " + ", ".join(f"{act} {count}" for act, count in sorted(verdict.acts.items())))
    for severity, count in verdict.counts.items():
        shown = [finding for finding in verdict.findings if finding.severity == severity][:_SHOWN]
        for finding in shown:
            typer.echo(f"{severity}: {finding.where}: {finding.sentence}")
        if count > len(shown):
            typer.echo(f"{severity}: and {count - len(shown)} more")
    typer.echo(f"charter version {verdict.charter}, digest {verdict.charter_digest}")
    if not own:
        typer.echo("THIS CHARTER CAME WITH THE EXPORT. Compare its digest with that of your own charter, or give yours")
        typer.echo("with --charter: who makes up a consortium can make up its log.")


def when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="An export, or a file that holds a checkpoint.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another member's.")],
    charter: Own = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where a fork's evidence is written.")] = None,
) -> None:
    """Tell whether two members hold one log. Exit code 0: they do; 2: the hub told them two stories, or left out in a
    new log how far the one before had gone."""
    from hansa.verify.compare import compare as compared

    found = compared(_copy(one), _copy(other), needed(charter))
    typer.echo(found.sentence)
    if found.fork is not None and out is not None:
        out.write_bytes(found.fork)
        typer.echo(f"{out}: proves it to whoever has the charter; to check it, anywhere: hansa audit fork {out}")
    if found.outcome in ("forked", "lost"):
        raise typer.Exit(2)


def _copy(path: Path) -> "Copy":
    from hansa.verify.compare import copy_of_export, copy_of_note

    if path.is_dir():
        return copy_of_export(str(path), source_of(path))
    note = needed(path)
    if note is None:
        raise Refused(f"there is no file {path}")
    return copy_of_note(str(path), note)


def fork(file: Annotated[Path, typer.Argument(metavar="FILE")], charter: Own = None) -> None:
    """Check evidence that a hub told two stories. Exit code 0: it did, and the file proves it."""
    from hansa.verify.forks import prove

    proven = prove(needed(file) or b"", needed(charter))
    typer.echo(f"The hub of the log {proven.origin} told two stories, and signed both:")
    for size, root, cosigned in zip(proven.sizes, proven.roots, proven.cosigned, strict=True):
        typer.echo(f"  {size} entries, root {root}, cosigned by {', '.join(sorted(cosigned)) or 'nobody'}")
    typer.echo(f"charter digest {proven.charter}")
    if not proven.own_charter:
        typer.echo("THIS CHARTER CAME WITH THE FILE. Compare its digest with that of your own, or give --charter.")


def lost(
    export: Export,
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="A member's, as `hansa site kept` wrote it.")],
    charter: Own = None,
) -> None:
    """List what the hub has lost of a member's entries, where a new log was begun. Exit code 0: nothing; 1: some."""
    from hansa.verify.lost import find

    found = find(source_of(export), needed(copy) or b"", needed(charter))
    typer.echo(
        f"'{found.site}' had cosigned {found.size} entries of {found.log}; of its own the hub holds {found.held}"
    )
    for entry in found.entries:
        job = f", job {entry.run[:8]}" if entry.run else ""
        typer.echo(f"  lost: its entry {entry.sequence}, {when(entry.milliseconds // 1000)}: {entry.act}{job}")
    if charter is None:
        typer.echo("THE CHARTER CAME WITH THE EXPORT. Compare its digest with that of your own, or give --charter.")
    raise typer.Exit(1 if found.entries else 0)
