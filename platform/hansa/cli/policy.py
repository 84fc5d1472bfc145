"""`hansa site policy`: what the institution's site would answer, tried before it counts."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hansa.errors import Refused

app = typer.Typer(help="Look at, check and try a site's policy.", no_args_is_help=True)
Home = Annotated[Path, typer.Option("--home", envvar="HANSA_SITE_HOME", help="The site's home folder.")]
File = Annotated[Path | None, typer.Option("--policy", help="A policy file to try in place of the one that holds.")]


@app.command()
def example(like: Annotated[str, typer.Option(help="datashield or opensafely: the rules of these.")] = "") -> None:
    """Print a policy with every key explained, at its default; or one that says what another system's rules are."""
    from hansa_site.policy import LIKE, example

    if like and like not in LIKE:
        raise Refused(f"there is no example like '{like}'; there are {', '.join(LIKE)}")
    typer.echo(example(like), nl=False)


@app.command()
def kinds() -> None:
    """Print the kinds, with the SHA-256 of the code that is installed here for `kind_digests`; other houses' last."""
    from hansa import installed
    from hansa.jobs import KINDS
    from hansa_site.consent import code_digest

    for kind in KINDS:
        typer.echo(f"{kind:20} {code_digest()}")
    for kind, one in installed.found().items():
        typer.echo(f"{kind:20} {one.digest or one.trouble}  {one.package} {one.version}")


@app.command()
def check(
    home: Home,
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml")],
    policy: File = None,
    proposer: Annotated[str, typer.Option(help="The member who would ask.")] = "",
) -> None:
    """Say what each rule makes of a question; exit code 1 if the site would refuse it."""
    from hansa.cli.job import read_plan
    from hansa.cli.pending import opinions
    from hansa_site import pending
    from hansa_site.trying import plan_for

    settings, charter = _settings(home, policy)
    asked = plan_for(settings, charter, home, read_plan(plan), proposer)
    found = pending.opinions(pending.ground_of(settings, charter, home), asked, time.time())
    for line in opinions(found):
        typer.echo(line)
    raise typer.Exit(1 if any(one.why for one in found) else 0)


@app.command()
def replay(home: Home, policy: File = None) -> None:
    """Try a policy on the jobs that this site took part in before: which it would refuse now, and by which rule."""
    from hansa_site import pending
    from hansa_site.trying import past

    settings, charter = _settings(home, policy)
    plans, ground = past(settings, charter), pending.ground_of(settings, charter, home)
    refused = 0
    for plan in plans:
        no = [one for one in pending.opinions(ground, plan, time.time()) if one.why and one.rule != "expires"]
        refused += bool(no)
        for one in no[:1]:
            typer.echo(f"{plan.run}  {plan.kind} over {plan.table}: no, {one.why}")
    typer.echo(f"{len(plans)} jobs; it would refuse {refused} of them")


def _settings(home: Path, policy: Path | None) -> tuple[Any, Any]:
    """The site's settings with that policy, and its charter."""
    from msgspec.structs import replace

    from hansa_site import policy as policies
    from hansa_site.settings import read_settings
    from hansa_site.vault import read_charter

    settings = read_settings(home)
    if policy is not None:
        tables = frozenset(source.name for source in settings.table)
        try:
            settings = replace(settings, policy=policies.read(policy, tables))
        except FileNotFoundError as error:
            raise Refused(f"there is no file {policy}") from error
    return settings, read_charter(home, settings.name)
