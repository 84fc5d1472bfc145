"""What noise has cost of each table's privacy budget, and what is left."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa_dashboard.at_site.paging import MOMENT
from hansa_dashboard.words import moment, plain
from hansa_site import showing
from hansa_site.showing import BudgetView, OpenedSite

_UNITS = {"row": "single rows", "member": "all that this member gives"}


def show(site: OpenedSite, person: Person) -> None:
    del person  # whoever is one of the site's people may see its budgets
    st.title("Privacy budgets")
    st.write(
        "All answers under noise over a table may cost together what the policy says. The site keeps count, and "
        "refuses what is not left. What is spent does not come back; what a job set aside and did not use does."
    )
    found = showing.budgets(site)
    if not found:
        st.info("The policy gives no table a privacy budget, so nothing is answered under noise.")
    for budget in found:
        with st.container(border=True):
            _budget(budget)


def _budget(found: BudgetView) -> None:
    of = found.standing
    st.subheader(plain(of.table))
    unit = _UNITS.get(of.unit, f"persons, by the column {of.id_column}")
    st.caption(plain(f"ε {of.epsilon}, δ {of.delta} in all; it protects {unit}."))
    left = max(0.0, 1 - found.spent - found.reserved)
    st.progress(
        min(1.0, found.spent + found.reserved),
        f"{found.spent:.1%} spent, {found.reserved:.1%} set aside for jobs that run, {left:.1%} left",
    )
    if not found.lines:
        st.caption("Nothing has been asked under noise over it.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Job": [line.run for line in found.lines],
                "At": [moment(line.at) for line in found.lines],
                "Set aside": [line.reserved for line in found.lines],
                "Spent": [line.spent for line in found.lines],
                "Runs still": [line.is_open for line in found.lines],
            }
        ),
        hide_index=True,
        key=f"lines/{of.table}",
        column_config={"At": MOMENT},
    )
