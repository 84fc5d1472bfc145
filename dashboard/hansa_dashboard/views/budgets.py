"""What is left of each table's privacy budget, and which jobs spent it."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hansa.hub import consortium
from hansa.hub.actions import Hub
from hansa.hub.consortium import BudgetView
from hansa_dashboard.allowed import admitted, own
from hansa_dashboard.session import Person
from hansa_dashboard.words import moment, plain

KEEPS = (
    "Each table's owner sets its budget and keeps the count, at its own site: a question that the budget does not bear "
    "is refused there, whatever stands here. What is shown is what the site last told."
)
_UNITS = {"row": "one row", "person": "one person", "member": "all that the member gives"}


def show(hub: Hub, person: Person) -> None:
    st.title("Budgets")
    if not admitted(person, "see job", own(person)):
        return
    st.write(KEEPS)
    found = consortium.budgets(hub)
    if not found:
        st.info("No site has told of a budget for any of its tables: nothing can be asked under noise.")
        return
    for table in sorted({one.table for one in found}):
        st.subheader(plain(table))
        _table([one for one in found if one.table == table])
    st.caption(
        "Shares are of the budget as the site counts it: in ρ of zero-concentrated differential privacy, of which "
        "several answers cost the sum. ε and δ say what the whole budget amounts to."
    )


def _table(found: Sequence[BudgetView]) -> None:
    bar = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [one.site for one in found],
                "Left": [one.left for one in found],
                "Spent": [one.spent for one in found],
                "Set aside": [one.reserved for one in found],
                "ε": [one.epsilon for one in found],
                "δ": [one.delta for one in found],
                "Protects": [_protects(one) for one in found],
            }
        ),
        hide_index=True,
        column_config={"Left": bar, "Spent": bar, "Set aside": bar},
    )
    jobs = [(one.site, spent) for one in found for spent in one.jobs]
    if not jobs:
        st.caption("No job has spent anything of it yet, as far as the newest entries of the log tell.")
        return
    with st.expander("What spent it"):
        st.dataframe(
            pd.DataFrame(
                {
                    "Job": [spent.run[:8] for _, spent in jobs],
                    "Member": [site for site, _ in jobs],
                    "Of the budget": [spent.share for _, spent in jobs],
                    "Last": [moment(spent.at) for _, spent in jobs],
                }
            ),
            hide_index=True,
            column_config={
                "Of the budget": st.column_config.NumberColumn(format="percent"),
                "Last": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            },
        )
        st.caption("Jobs under noise, by what each member entered in the log itself.")


def _protects(one: BudgetView) -> str:
    return f"{_UNITS.get(one.unit, one.unit)}{', by ' + one.id_column if one.id_column else ''}"
