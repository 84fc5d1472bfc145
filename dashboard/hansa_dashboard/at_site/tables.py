"""This site's tables: what the others see of them, what was answered over them, and withdraw."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa.errors import Refused
from hansa_dashboard.at_site import signing
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.words import clock, plain, some
from hansa_site import doing, showing
from hansa_site.showing import OpenedSite, TableView

LOOK, WITHDRAW = "What the others see", "Withdraw this table"


def show(site: OpenedSite, person: Person) -> None:
    st.title("Tables")
    signing.told()
    st.write(
        "The other members know a table by its schema: names of columns, their types, and the categories and units "
        "that this institution declared. Rows stay here. `hansa site add-table` declares another."
    )
    found = showing.tables(site)
    if not found:
        st.info("No table is declared here yet.")
    for table in found:
        with st.container(border=True):
            _table(site, person, table)


def _table(site: OpenedSite, person: Person, table: TableView) -> None:
    st.subheader(plain(table.name))
    running = f"{some(len(table.running), 'job runs', 'jobs run')} over it"
    answers = f"{some(table.answers, 'answer')} with its rows {'was' if table.answers == 1 else 'were'} agreed to here"
    st.caption(plain(f"From {table.source}. {running}; {answers}."))
    if table.withdrawn_at is not None:
        st.warning(f"Withdrawn {clock(table.withdrawn_at)}: nothing is answered over it any more.")
    if st.button(LOOK, key=f"look/{table.name}"):
        _schema(site, table.name)
    if table.withdrawn_at is None and allowed(site, person, "withdraw"):
        _withdraw(site, person, table)


def _schema(site: OpenedSite, table: str) -> None:
    try:
        with st.spinner("Reading the table …"):
            schema = site.schema(table)
    except Refused as refusal:
        st.error(plain(f"{refusal}."))
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Column": [column.name for column in schema.columns],
                "Type": [column.type for column in schema.columns],
                "Unit": [column.unit for column in schema.columns],
                "Categories": [", ".join(column.categories) for column in schema.columns],
            }
        ),
        hide_index=True,
        key=f"schema/{table}",
    )


def _withdraw(site: OpenedSite, person: Person, table: TableView) -> None:
    with st.expander(WITHDRAW):
        st.markdown(
            "From then on nothing is answered over it, and what runs over it stops here. The other members are told. "
            f"{some(table.answers, 'answer')} that its rows are in can't be recalled. The page does not open it again."
        )
        wish = signing.ask(f"withdraw/{table.name}", [WITHDRAW], "Reason, for the other members")
    if wish is not None:
        reason = wish.reason
        make = lambda: doing.withdrawing(site.home, person.name, table.name, reason)  # noqa: E731
        signing.carry_out(site, person, make, wish, f"The table {table.name} is withdrawn.")
        st.rerun()
