"""`hansa site`: one institution's side, next to its data."""

import time
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import deciding, policy, witnessing
from hansa.cli.console import console
from hansa.cli.processes import follow_parent

app = typer.Typer(help="Run an institution's site.", no_args_is_help=True)
Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]


@app.command()
def run(
    home: Home,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")] = False,
) -> None:
    """Run the site's worker until SIGTERM or Ctrl-C."""
    from hansa_site.app import run_site

    if with_parent:
        follow_parent()
    run_site(home)


@app.command()
def tables(home: Home) -> None:
    """Show what the other members can see of this site's tables."""
    from hansa.cli.printing import print_schema
    from hansa_site.settings import read_settings
    from hansa_site.tables import schema

    for source in read_settings(home).table:
        print_schema(schema(source, home))


@app.command()
def acts(home: Home) -> None:
    """Show what this site agreed to, refused and contributed to."""
    from hansa.cli.printing import print_acts
    from hansa.mail.database import open_engine
    from hansa_site.journal import read_acts
    from hansa_site.settings import read_settings

    print_acts(read_acts(open_engine(read_settings(home).database, reading=True)))


@app.command()
def predict(
    home: Home,
    answer: Annotated[Path, typer.Argument(metavar="ANSWER.json", help="A fitted model, as the page gives it.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="One of this site's tables.")],
    out: Annotated[Path, typer.Option("--out", help="The CSV file to write.")],
) -> None:
    """Apply a fitted model (glm, cox, gradient_boosting) to this site's own rows. Nothing leaves the machine."""
    from hansa_site.predicting import predict
    from hansa_site.settings import read_settings

    rows, without = predict(read_settings(home).source(table), home, answer, out)
    typer.echo(
        f"{out}: {rows} rows in the order of the table" + (f", {without} without a prediction" if without else "")
    )


witnessing.register(app)
deciding.register(app)
app.add_typer(policy.app, name="policy")
app.command()(console)


@app.command()
def doctor(home: Home, as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False) -> None:
    """Say what runs, what waits, what is wrong and how to mend it; exit code 1 if anything is wrong."""
    from hansa.cli.printing import print_findings
    from hansa_site.doctor import look

    raise typer.Exit(print_findings(look(home, time.time()), as_json))
