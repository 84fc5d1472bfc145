"""The answer of k-means: clusters, and what is left out of those that hold few rows."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from hansa.jobs.base import Answer
from hansa.jobs.exhibit import Bars, Exhibit, Heat, Plot, Sheet
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules


class Cluster(Struct, frozen=True, kw_only=True):
    """`centre` in the columns' own units. `within`: squared distances of its rows to it, in standard deviations if the
    question standardises. All None if too few rows are in it to be shown; of no rows there is no centre."""

    size: int | None
    centre: tuple[float, ...] | None
    within: float | None


class KMeansAnswer(Answer, frozen=True, tag="k_means", kw_only=True):
    """Clusters by falling size. `inertia` = Σ within; `between`: squared distances of centres to the mean, times their
    sizes; the sum of both is the total. `sds`: what distances are divided by, column by column; 1 if as they are."""

    columns: tuple[str, ...]
    clusters: tuple[Cluster, ...]
    sds: tuple[float, ...]
    inertia: float | None
    between: float | None
    n: int | None
    dropped: int | None
    iterations: int
    converged: bool

    def disclosed(self, rules: Rules) -> "KMeansAnswer":
        """A cluster of few rows is not shown, nor any sum over all clusters that it could be computed from."""
        disclosure.refuse_few(sum(one.size or 0 for one in self.clusters), "the clustering", rules)
        sizes, n = disclosure.line([one.size or 0 for one in self.clusters], rules)
        nothing = Cluster(size=None, centre=None, within=None)
        found = tuple(
            nothing if size is None else replace(one, size=size) for one, size in zip(self.clusters, sizes, strict=True)
        )
        dropped, whole = disclosure.shown(self.dropped or 0, rules), None not in sizes
        return replace(
            self,
            clusters=found,
            inertia=self.inertia if whole else None,
            between=self.between if whole else None,
            n=n,
            dropped=dropped,
            notes=self.notes + disclosure.note(rules, not whole or dropped is None),
        )

    def exhibit(self) -> Exhibit:
        shown = [(f"cluster {place}", one) for place, one in enumerate(self.clusters, 1)]
        rows = tuple((name, one.size, one.within, *(one.centre or (None,) * len(self.columns))) for name, one in shown)
        plots: list[Plot] = [
            Bars(
                says="How many rows are nearest to each centre.",
                x="rows",
                labels=tuple(name for name, _ in shown),
                values=tuple(one.size for _, one in shown),
            )
        ]
        seen = [(name, np.array(one.centre)) for name, one in shown if one.centre is not None]
        if seen:
            every = np.array([centre for _, centre in seen])
            middle, scale = every.mean(axis=0), np.maximum(np.ptp(every, axis=0), 1e-300)
            plots.append(
                Heat(
                    says="Where each centre lies between the others, column by column: from the middle of the centres, "
                    "in units of their range.",
                    rows=tuple(name for name, _ in seen),
                    columns=self.columns,
                    values=tuple(tuple(row) for row in ((every - middle) / scale).tolist()),
                    diverging=True,
                )
            )
        share = None if self.inertia is None or self.between is None else self.between / (self.inertia + self.between)
        return Exhibit(
            (
                ("Rows", "not shown" if self.n is None else str(self.n)),
                ("Clusters", str(len(self.clusters))),
                ("Between clusters", "not shown" if share is None else f"{100 * share:.1f} %"),
            ),
            (Sheet("clusters", ("cluster", "rows", "within", *self.columns), rows),),
            tuple(plots),
        )
