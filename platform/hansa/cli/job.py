"""`hansa job`: put a question, watch it, read its answer."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hansa.errors import Refused

app = typer.Typer(help="Ask questions and read answers.", no_args_is_help=True)
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="HANSA_HOME", help="The hub's home; default: the consortium that is up here."),
]
As = Annotated[str, typer.Option("--as", help="The person who asks.")]
DEFAULT_PERSON = "analyst"
OVERDUE_SECONDS = 30.0  # after a round's deadline, by which a hub that runs has closed it


def open_hub(home: Path | None) -> Any:
    from hansa.cli.consortium import find_running
    from hansa.hub.actions import Hub

    root = home or find_running()
    return Hub(root / "hub" if (root / "hub" / "hub.toml").exists() else root)


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="PLAN.toml")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the job has ended, and print its answer.")] = False,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the answer as JSON.")] = None,
    home: Home = None,
    person: As = DEFAULT_PERSON,
) -> None:
    """Propose the plan to the consortium that is up."""
    from hansa.cli.printing import write_json

    hub = open_hub(home)
    run_id, started = ask(hub, person, read_plan(plan)), time.monotonic()
    if not (wait or json_out):
        typer.echo(run_id)
        return
    outcome = follow(hub, run_id, started)
    write_json(json_out, outcome)
    finish(outcome)


@app.command("list")
def list_jobs(home: Home = None) -> None:
    """The jobs of the hub, newest first."""
    from hansa.cli.printing import print_jobs
    from hansa.hub import queries

    print_jobs(queries.jobs(open_hub(home)))


@app.command()
def show(run_id: Annotated[str, typer.Argument(metavar="RUN")], home: Home = None) -> None:
    """One job: who took part, its timeline, its answer."""
    from hansa.cli.printing import print_detail
    from hansa.hub import queries

    detail = queries.job(open_hub(home), run_id)
    if detail is None:
        raise Refused(f"there is no job {run_id}")
    print_detail(detail)


@app.command()
def cost(plan: Annotated[Path, typer.Argument(help="PLAN.toml")], home: Home = None) -> None:
    """Show what a plan under noise would take of each site's privacy budget, and what is left there."""
    from hansa.cli.answers import table
    from hansa.hub import queries

    question = read_plan(plan)
    if question.noise is None:
        raise Refused("the plan has no [noise], so it costs no privacy budget; its answer is exact")
    found = queries.costs(open_hub(home), question)
    rows = [
        [one.site, f"{one.cost:.1f} %", f"{one.left:.1f} %", f"ε {one.epsilon}, δ {one.delta}, by {one.unit}"]
        for one in found
    ]
    table("privacy budgets", ["site", "this costs", "left", "of"], rows)
    short = [one.site for one in found if not one.fits]
    if short or not found:
        raise Refused(f"the budget does not bear it at {', '.join(short)}" if short else "no site has told of a budget")


@app.command()
def cancel(
    run_id: Annotated[str, typer.Argument(metavar="RUN")], home: Home = None, person: As = DEFAULT_PERSON
) -> None:
    """End a job that is open; its sites erase what they hold for it."""
    from hansa.hub import actions

    actions.cancel(open_hub(home), person, run_id)
    typer.echo("cancelled")


def read_plan(path: Path) -> Any:
    from hansa.plan import read_question

    try:
        return read_question(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} can't be read") from error


def ask(hub: Any, person: str, question: Any) -> str:
    from hansa.hub import actions

    return actions.propose(hub, person, question)


def follow(hub: Any, run_id: str, started: float) -> dict[str, Any]:
    """Shows where every site is until the job has ended; gives what OUT holds."""
    from hansa.cli.printing import Progress
    from hansa.hub import models, queries

    with Progress() as progress:
        while True:
            detail = queries.job(hub, run_id)
            if detail is None:
                raise Refused(f"there is no job {run_id}")
            progress.show(detail)
            if detail.view.status not in models.OPEN:
                break
            if detail.deadline is not None and time.time() > detail.deadline + OVERDUE_SECONDS:
                raise Refused("the hub does not work: a round that was due is still open; is it running?")
            time.sleep(0.05)
    state = queries.log_state(hub)
    return {
        "kind": detail.view.kind,
        "status": detail.view.status,
        "reason": detail.view.reason,
        "answer": {name: value for name, value in (detail.answer or {}).items() if name != "kind"},
        "participants": [site.site for site in detail.sites if site.took_part],
        "remarks": list(detail.remarks),
        "seconds": round(time.monotonic() - started, 3),
        "bytes_per_site": {site.site: site.bytes_moved for site in detail.sites},
        "audit": {"size": state.size, "head": state.root, "final": state.final},
        "run": run_id,
    }


def finish(outcome: dict[str, Any]) -> None:
    """Prints the answer, or ends with exit code 2 and the one sentence that says why there is none."""
    from hansa.cli.printing import print_outcome

    if outcome["status"] == "done":
        print_outcome(outcome)
        return
    raise Refused(f"{outcome['status']}: {outcome['reason']}" if outcome["reason"] else outcome["status"])
