"""`hansa audit`: the log of acts, and evidence of totals."""

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli import documents, showing, verifying
from hansa.cli.job import open_hub
from hansa.errors import ProtocolViolation, Refused

if TYPE_CHECKING:
    from hansa.replay import Chunks, Pick, Replayed

app = typer.Typer(help="Read and check the log; recompute totals.", no_args_is_help=True)
app.command()(showing.show)
verifying.register(app)
documents.register(app)
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="HANSA_HOME", help="The hub's home; default: the consortium that is up here."),
]


@app.command()
def check(home: Home = None) -> None:
    """At the hub: make the tree anew from the entries, and hold every checkpoint against it."""
    from hansa.hub import queries

    hub = open_hub(home)
    size, root = queries.check_log(hub)
    state = queries.log_state(hub)
    typer.echo(f"{size} entries, and every checkpoint is of their tree; root {root}")
    if not state.quorum:
        typer.echo("The charter is of Hansa 0.1 and names no witnesses: the hub alone vouches for this log.")
        return
    typer.echo(f"the first {state.final} are final: {state.quorum} members cosigned them")
    for witness in state.witnesses:
        typer.echo(f"  {witness.site:<12} cosigned {witness.size}{': ' + witness.refusal if witness.refusal else ''}")
    typer.echo("To check it without believing this hub: `hansa audit export`, and elsewhere `hansa audit verify`.")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="EXPORT", help="The folder to write; new or empty.")],
    home: Home = None,
    evidence: Annotated[bool, typer.Option(help="With the evidence of every job that was released.")] = True,
) -> None:
    """Write the log as a folder that anybody can verify, offline."""
    from hansa.hub import exports

    hub = open_hub(home)
    size, final = exports.export(hub, out, evidence)
    cosigned = "cosigned by a quorum of the members" if final else "NOT FINAL: too few members have cosigned it"
    typer.echo(f"{out}: {size} entries, {cosigned}")
    typer.echo(f"to check it, anywhere: hansa audit verify {out} --charter YOUR-OWN-CHARTER")


@app.command()
def receipt(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Of the entry, as `hansa audit show` has it.", min=0)],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    home: Home = None,
) -> None:
    """Write the proof that an entry is in the log, as a C2SP tlog-proof: entry, path and cosigned checkpoint."""
    from hansa.hub import exports

    out.write_bytes(exports.receipt(open_hub(home), number))
    typer.echo(f"{out}: {out.stat().st_size} bytes; the export's file 'policy' says whose signatures it needs")


@app.command()
def evidence(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    home: Home = None,
) -> None:
    """Write what anybody needs to recompute a job's totals and its answer. It shows no input."""
    from hansa import evidence_file
    from hansa.hub import queries

    kept = queries.evidence(open_hub(home), run)
    evidence_file.write(out, kept.content, kept.chunks, kept.read)
    typer.echo(f"{out}: {out.stat().st_size} bytes; to check it, anywhere: hansa audit replay --file {out}")


@app.command()
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN")] = "",
    home: Home = None,
    file: Annotated[Path | None, typer.Option("--file", help="Evidence in a file; asks no hub.")] = None,
    charter: Annotated[
        Path | None, typer.Option("--charter", help="Your own signed charter: the file 'charter' in a site's home.")
    ] = None,
    sample: Annotated[
        str, typer.Option(help="Recompute a random share of each total's chunks (4 MiB), such as 1%.")
    ] = "100%",
) -> None:
    """Recompute every total of a job, and its answer; exit code 2 and one sentence where something does not hold."""
    from hansa import charter as charters
    from hansa import replay as replays

    if bool(run) == (file is not None):
        raise Refused("name either a job to replay, or with --file the file that holds its evidence")
    content, chunks = _open_file(file) if file is not None else _at_hub(home, run)
    kept = replays.read(content)
    own = charters.load(kept.charter if charter is None else _read(charter))
    replayed = replays.replay(kept, own, chunks, _picker(sample))
    if run not in ("", replayed.plan.run):
        raise ProtocolViolation(f"the evidence is of another job: {replayed.plan.run}")
    _print_replayed(replayed, kept.answer_digest.hex())
    typer.echo(f"charter of '{own.consortium}', version {own.version}, digest {own.digest.hex()}")
    if charter is None:
        typer.echo("This charter came with the evidence. Compare its digest with that of your own charter, or give")
        typer.echo("yours with --charter: who makes up a consortium can make up its evidence.")


def _open_file(file: Path) -> tuple[bytes, "Chunks"]:
    from hansa.evidence_file import EvidenceFile

    opened = EvidenceFile(file)
    return opened.evidence(), opened.chunk


def _at_hub(home: Path | None, run: str) -> tuple[bytes, "Chunks"]:
    from hansa.hub import queries

    kept = queries.evidence(open_hub(home), run)
    return kept.content, kept.read


def _picker(share: str) -> "Pick":
    """Draws a share of the chunks of each step, rounded up, from the operating system's chance."""
    from secrets import SystemRandom

    try:
        part = float(share.removesuffix("%")) / 100
    except ValueError:
        part = 0.0
    if not (share.endswith("%") and 0 < part <= 1):
        raise Refused(f"a sample is a share such as 1% or 12.5%, above 0% and at most 100%; this is '{share}'")
    return lambda chunks: SystemRandom().sample(range(chunks), ceil(part * chunks))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise Refused(f"{path} is a folder") from error


def _print_replayed(replayed: "Replayed", answer: str) -> None:
    from hansa.cli.answers import table

    headings = ["step", "name", "survivors", "dropped", "recomputed", "verdict"]
    rows = [
        [
            str(number),
            step.name,
            ", ".join(step.survivors),
            ", ".join(step.dropped) or "–",
            "all" if step.recomputed == step.chunks else f"{step.recomputed} of {step.chunks} chunks",
            "holds",
        ]
        for number, step in enumerate(replayed.steps, start=1)
    ]
    table(f"{replayed.plan.kind} over {replayed.plan.table}, run {replayed.plan.run}", headings, rows)
    how = "to the byte" if replayed.exact else "but for the last digits of numbers, as machines differ in them"
    typer.echo(f"the answer follows from the last total {how}; its SHA-256 is {answer}")
