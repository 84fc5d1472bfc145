"""The tables, as their owners describe them, and what may be asked over them."""

import pandas as pd
import streamlit as st

from hansa.hub import tables
from hansa.hub.actions import Hub
from hansa.hub.tables import Decided, TableView
from hansa_dashboard.allowed import admitted, own
from hansa_dashboard.session import Person
from hansa_dashboard.words import listed, plain, title

DECIDES = (
    "Whether a question is answered is decided at each site, by its own policy or by a person there; this page knows "
    "no policy. A kind stands here if the charter allows it and its simplest question passes the kind's own check."
)


def show(hub: Hub, person: Person) -> None:
    st.title("Tables")
    if not admitted(person, "see job", own(person)):
        return
    found = {one.table: one for one in tables.tables(hub)}
    if not found:
        st.info("No site has said yet which tables it has.")
        return
    chosen = st.selectbox("Table", list(found), key="tables/table")
    one = found[chosen or next(iter(found))]
    st.write(f"At {plain(listed(one.sites))}. Only this description leaves a site, never a row.")
    _columns(one)
    _differences(one)
    st.subheader("What may be asked")
    _kinds(one)
    st.subheader("How the sites decided lately")
    _decisions(one)


def _columns(one: TableView) -> None:
    first = {name: next(iter(described.values())) for name, described in one.columns.items()}
    st.dataframe(
        pd.DataFrame(
            {
                "Column": list(one.columns),
                "Type": [column.type for column in first.values()],
                "Unit": [column.unit for column in first.values()],
                "Categories": [", ".join(column.categories) for column in first.values()],
                "At": [_at(one, name) for name in one.columns],
                "The same everywhere": [len(set(described.values())) == 1 for described in one.columns.values()],
            }
        ),
        hide_index=True,
        column_config={"Categories": st.column_config.TextColumn(width="medium")},
    )


def _at(one: TableView, column: str) -> str:
    there = tuple(one.columns[column])
    return "all of them" if len(there) == len(one.sites) else ", ".join(there)


def _differences(one: TableView) -> None:
    if not one.differences:
        st.caption("Every site that has the table describes it in the same way.")
        return
    with st.expander(f"The sites' descriptions differ in {len(one.differences)} places", expanded=True):
        for sentence in one.differences:
            st.markdown(f"- {plain(sentence)}")


def _kinds(one: TableView) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Kind": [title(kind) for kind in one.kinds],
                "Of all its sites, about": [", ".join(columns) or "no column" for columns in one.kinds.values()],
            }
        ),
        hide_index=True,
        column_config={"Of all its sites, about": st.column_config.TextColumn(width="large")},
    )
    st.caption(DECIDES)


def _decisions(one: TableView) -> None:
    said = [one.decisions.get(site, Decided()) for site in one.sites]
    if not any(each != Decided() for each in said):
        st.caption("Nothing was asked over this table lately.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Site": list(one.sites),
                "Consented": [each.consented for each in said],
                "Refused": [each.refused for each in said],
                "No answer": [each.unanswered for each in said],
            }
        ),
        hide_index=True,
    )
    st.caption(f"Among the newest {tables.LATELY} jobs at this hub. No answer: not asked, not decided yet, or silent.")
