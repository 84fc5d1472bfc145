"""`hansa audit`: the log of acts."""

from pathlib import Path
from typing import Annotated

import typer

from hansa.cli.job import open_hub

app = typer.Typer(help="Read and check the log.", no_args_is_help=True)
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="HANSA_HOME", help="The hub's home; default: the consortium that is up here."),
]


@app.command()
def show(
    home: Home = None,
    run: Annotated[str, typer.Option(help="Only the acts of this job.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
) -> None:
    """The newest acts, oldest of them first."""
    from hansa.cli.printing import print_log
    from hansa.hub import queries

    print_log(queries.log(open_hub(home), limit, run))


@app.command()
def check(home: Home = None) -> None:
    """Recompute every link of the hub's log."""
    from hansa.hub import queries

    size, head = queries.check_log(open_hub(home))
    typer.echo(f"{size} entries, every link holds; head {head}")
    typer.echo("This shows that the log was not changed after you noted an earlier head. The hub alone writes it:")
    typer.echo("it does not show that the hub wrote everything, or the same for everybody.")
