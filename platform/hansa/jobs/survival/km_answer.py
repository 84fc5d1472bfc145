"""What Kaplan and Meier's curves give, what of them may be shown, and how."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from hansa.jobs.base import Answer
from hansa.jobs.exhibit import Cell, Curves, Exhibit, Line, Sheet
from hansa.jobs.survival import curve, grouping
from hansa.jobs.survival.curve import Counts, Curve
from hansa.jobs.survival.logrank import LogRank
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules


class Group(Struct, frozen=True):
    """One curve, and its rows at risk at the answer's `marks`. A count that is left out is None, and then the curve may
    have no steps."""

    name: str
    n: int | None
    events: int | None
    censored: int | None
    at_risk: tuple[int | None, ...]
    curve: Curve


class KaplanMeierAnswer(Answer, frozen=True, tag="kaplan_meier", kw_only=True):
    """A curve for each group. Steps without an event are there for the rows at risk. `horizon` is where follow-up
    ends: `horizon_given`, or the longest time. `width_note` says what became of the times."""

    time: str
    by: str
    groups: tuple[Group, ...]
    marks: tuple[float, ...]
    logrank: LogRank | None
    horizon: float
    horizon_given: bool
    width_note: str
    dropped: int | None

    def disclosed(self, rules: Rules) -> "KaplanMeierAnswer":
        """Steps are counted together until each is of enough rows (`grouping.py`), and the estimates computed from what
        is left. The log-rank test is None if a group's curve can't be shown, or if counts are rounded."""
        found = [grouping.grouped(group.curve, self.marks, rules) for group in self.groups]
        horizon = self.horizon if rules.minimum_cell == 1 else self._shown_until(found)
        groups = []
        for group, counts in zip(self.groups, found, strict=True):
            if counts is None:
                n, nothing = disclosure.shown(group.n or 0, rules), curve.estimate(grouping.NOTHING, horizon)
                groups.append(Group(group.name, n, None, None, (None,) * len(self.marks), nothing))
                continue
            cells, n = disclosure.line([group.events or 0, group.censored or 0], rules)
            groups.append(Group(group.name, n, cells[0], cells[1], counts[1], curve.estimate(counts[0], horizon)))
        dropped = disclosure.shown(self.dropped or 0, rules)
        whole = None not in found and rules.round_to == 1
        changed = tuple(groups) != self.groups
        return replace(
            self,
            groups=tuple(groups),
            logrank=self.logrank if whole else None,
            horizon=horizon,
            dropped=dropped,
            notes=notes(self.width_note, dropped, rules.minimum_cell if changed else 1)
            + disclosure.note(rules, changed or dropped is None),
        )

    def _shown_until(self, found: Sequence[tuple[Counts, tuple[int | None, ...]] | None]) -> float:
        """A horizon that the question gave, if no curve ends before. The longest time is somebody's, so else it is the
        last time that all curves show."""
        shown = [counts for counts, _ in filter(None, found) if counts.times]
        pairs = zip(found, self.groups, strict=True)
        whole = [counts and sum(counts[0].events) == group.events for counts, group in pairs]
        if self.horizon_given and all(whole):
            return self.horizon
        return min((counts.times[-1] for counts in shown), default=0.0)

    def exhibit(self) -> Exhibit:
        drawn = [group for group in self.groups if group.curve.times]
        plots = (self._plot(drawn),) if drawn else ()
        sheets = [self._steps(), self._table()]
        if self.logrank:
            names = [group.name for group in self.groups]
            rows = tuple(zip(names, self.logrank.observed, self.logrank.expected, strict=True))
            sheets.append(Sheet("Log-rank test", ("group", "observed events", "expected events"), rows))
        return Exhibit(self._facts(), tuple(sheets), plots)

    def _facts(self) -> tuple[tuple[str, str], ...]:
        facts = [(f"Median, {group.name}", _short(group.curve.median)) for group in self.groups[:4]]
        if self.logrank:
            facts += [("Log-rank chi-squared", f"{self.logrank.chi_squared:.4g}"), ("p", f"{self.logrank.p:.3g}")]
        return tuple(facts)

    def _steps(self) -> Sheet:
        headings = (
            "group",
            self.time,
            "at risk",
            "events",
            "censored",
            "survival",
            "std error",
            "95 % from",
            "95 % to",
        )
        rows: list[tuple[Cell, ...]] = []
        for group in self.groups:
            own = group.curve
            estimates = (own.survival, own.std_errors, own.lows, own.highs)
            columns = (own.times, own.at_risk, own.events, own.censored, *estimates)
            rows += [(group.name, *row) for row in zip(*columns, strict=True)]
        return Sheet("Survival", headings, tuple(rows))

    def _table(self) -> Sheet:
        headings = ("group", "rows", "events", "median", "95 % from", "95 % to", "restricted mean", "its std error")
        rows = tuple(
            (
                group.name,
                group.n,
                group.events,
                own.median,
                own.median_low,
                own.median_high,
                own.mean,
                own.mean_std_error,
            )
            if (own := group.curve).times
            else (group.name, group.n, group.events, None, None, None, None, None)
            for group in self.groups
        )
        return Sheet(f"Groups; mean restricted to {self.horizon:g}", headings, rows)

    def _plot(self, drawn: Sequence[Group]) -> Curves:
        rows = tuple((group.name, *group.at_risk) for group in drawn)
        beneath = Sheet("At risk", (self.by or "rows", *(f"{mark:g}" for mark in self.marks)), rows)
        return Curves(
            says="The share of each group without the event, over time, with 95 % intervals; rows at risk beneath.",
            x=self.time,
            y="survival",
            lines=tuple(_line(group) for group in drawn),
            stairs=True,
            y_range=(0.0, 1.0),
            beneath=beneath,
        )


def notes(width_note: str, dropped: int | None, minimum: int = 1) -> tuple[str, ...]:
    found = [width_note]
    if dropped:
        found.append(f"rows left out because they miss a value or enter after the horizon: {dropped}")
    if minimum > 1:
        found.append(
            f"events, entries and censored rows are counted in groups of at least {minimum}: a step stands at its last "
            "event, half of those censored within it count as at risk, and the curve ends where fewer are at risk"
        )
    else:
        found.append("each step is exact, so whoever knows that somebody had the event in an interval finds the step")
    return tuple(found)


def _line(group: Group) -> Line:
    """From 1 at time 0. Where everybody had the event there is no interval, and the last one goes on."""
    own = group.curve
    lows, highs = [1.0], [1.0]
    for low, high in zip(own.lows, own.highs, strict=True):
        lows.append(lows[-1] if low is None else low)
        highs.append(highs[-1] if high is None else high)
    return Line(group.name, (0.0, *own.times), (1.0, *own.survival), tuple(lows), tuple(highs))


def _short(value: float | None) -> str:
    return "not reached" if value is None else f"{value:g}"
