"""The privacy budget of each table, kept by the site that owns it: reserved, spent, given back.

    consent ──reserve──► reserved ──each total──► spent so far ──end──► spent; the rest is void

A line stands in the transaction of the letter that it belongs to. Amounts are whole nano-ρ of zCDP
(`privacy/accounting.py`), whose sums are what several answers cost together. What is left is the budget less what is
reserved or spent, and never below zero: one writer at a time looks and reserves. A total counts as spent as soon as
this site's share of it is stored, whether or not anybody hears of it.

The same question again is refused, and told where its answer is: new noise on it would cost, and tell more.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.jobs.under_noise.noisy import Noisy
from hansa.mail.letters import Budgets, Standing
from hansa.plan import Plan
from hansa.privacy import accounting
from hansa_site.deeds import Deed
from hansa_site.journal import BudgetLine
from hansa_site.policy import Budget, Policy

_LEDGER = 0x68616E7363  # the advisory lock's number


def total_of(budget: Budget) -> int:
    """nano-ρ that the (ε, δ) of a budget allow in all."""
    return accounting.rho_of(accounting.parse_epsilon(budget.epsilon), accounting.parse_delta(budget.delta))


def standing(db: Session, table: str, budget: Budget) -> Standing:
    spent = func.coalesce(func.sum(BudgetLine.spent), 0)
    reserved = func.coalesce(func.sum(BudgetLine.reserved - BudgetLine.spent), 0)
    of_table = BudgetLine.table_name == table
    used = db.scalar(select(spent).where(of_table)) or 0
    held = db.scalar(select(reserved).where(of_table, BudgetLine.closed_at.is_(None))) or 0
    names = budget.epsilon, budget.delta, budget.unit, budget.id_column
    return Standing(table, total_of(budget), int(used), int(held), *names)


def shown(db: Session, policy: Policy) -> Budgets:
    """What the other members see of this site's budgets."""
    return Budgets(tuple(standing(db, table, budget) for table, budget in sorted(policy.budget.items())))


def refuse_unaffordable(db: Session, policy: Policy, plan: Plan) -> Standing | None:
    """Whether the table's budget bears this plan now; None of one without noise. Refuses one that it does not."""
    if plan.noise is None:
        return None
    budget = policy.budget.get(plan.table)
    if budget is None:
        raise Refused(f"the policy gives the table '{plan.table}' no privacy budget, so nothing is asked under noise")
    if budget.unit == "member" and plan.noise.unit != "member":
        raise Refused(f"the budget of '{plan.table}' counts members, and the plan's noise not")
    persons = (plan.noise.unit, plan.noise.id_column) == ("person", budget.id_column) or plan.noise.unit == "member"
    if budget.unit == "person" and not persons:
        raise Refused(f"the budget of '{plan.table}' counts persons by '{budget.id_column}', and the plan's noise not")
    before = select(BudgetLine.run).where(BudgetLine.question == plan.question, BudgetLine.spent > 0)
    if (run := db.scalar(before.where(BudgetLine.run != plan.run).limit(1))) is not None:
        raise Refused(f"this very question was answered in job {run}: that answer costs nothing, new noise would")
    found = standing(db, plan.table, budget)
    if plan.noise.nano_rho > found.left:
        raise Refused(f"the privacy budget of '{plan.table}' does not bear this question: {words(found, plan)}")
    return found


def words(found: Standing, plan: Plan) -> str:
    """What the question costs of what is left, as shares of the whole: ρ itself tells few people anything."""
    cost = plan.noise.nano_rho if plan.noise is not None else 0
    return f"it costs {percent(cost, found.total)} of the budget, and {percent(found.left, found.total)} is left"


def percent(part: int, whole: int) -> str:
    """To a tenth, a cost never rounded down to nothing."""
    tenths = -(-1000 * part // max(whole, 1))
    return f"{tenths // 10}.{tenths % 10} %"


def reserve(db: Session, policy: Policy, plan: Plan, now: float) -> tuple[Deed, ...]:
    """Sets the whole cost aside; refuses what is not there. Of a plan without noise it does nothing."""
    if plan.noise is None:
        return ()
    _lock(db)
    refuse_unaffordable(db, policy, plan)
    job = plan.job()
    if not isinstance(job, Noisy):
        raise TypeError("a plan with noise gives a job under noise")
    cost = plan.noise.nano_rho
    db.add(
        BudgetLine(
            run=plan.run,
            table_name=plan.table,
            question=plan.question,
            totals=job.totals,
            reserved=cost,
            spent=0,
            at=now,
            closed_at=None,
        )
    )
    db.flush()
    return (_deed("budget reserved", plan.table, cost),)


def spend(db: Session, run: str) -> tuple[Deed, ...]:
    """One more total of this job carries this site's noise: its part of the cost is gone."""
    line = db.get(BudgetLine, run, with_for_update=True)
    if line is None:
        return ()
    if line.closed_at is not None:
        raise Refused("the job's part of the privacy budget was given back")
    part = min(-(-line.reserved // line.totals), line.reserved - line.spent)
    line.spent += part
    return (_deed("budget spent", line.table_name, part),)


def close(db: Session, run: str, now: float) -> tuple[Deed, ...]:
    """The job has ended here: what it did not use is there for others."""
    line = db.get(BudgetLine, run, with_for_update=True)
    if line is None or line.closed_at is not None:
        return ()
    line.closed_at = now
    rest = line.reserved - line.spent
    return (_deed("budget given back", line.table_name, rest),) if rest else ()


def _deed(act: str, table: str, amount: int) -> Deed:
    return Deed(act, {"table": table, "nano-rho": str(amount)})


def _lock(db: Session) -> None:
    """One writer at a time; SQLite has no other."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_LEDGER)))
