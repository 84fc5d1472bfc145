"""An answer as its figures, plots and table, before or after its release."""

import msgspec
import streamlit as st

from hansa.errors import ProtocolViolation
from hansa.jobs import decode_answer
from hansa_dashboard import drawing
from hansa_dashboard.words import plain


def draw(data: bytes, about: str, key: str) -> None:
    """`data` is its JSON; `about` names what was asked, for an axis; `key` is one of this page."""
    try:
        answer = decode_answer(data)
        picture = drawing.draw(answer, about)
    except ProtocolViolation:
        st.caption("This version has no table or plot for answers of this kind; here is all that stands in it.")
        st.code(msgspec.json.format(data, indent=2).decode(), language="json")
        return
    with st.container(horizontal=True):
        for label, value in picture.facts:
            st.metric(label, value, width=180)
    places = st.columns(min(2, len(picture.plots)) or 1)
    for number, plot in enumerate(picture.plots):
        with places[number % len(places)]:
            st.caption(plain(plot.says))
            st.altair_chart(plot.chart, width="stretch", key=f"{key}/plot/{number}", alt=plot.says)
    for place, (title, table) in enumerate((("", picture.table), *picture.more)):
        if title:
            st.caption(plain(title))
        numbers = table.select_dtypes("float")
        formats = {str(name): st.column_config.NumberColumn(format="%.6g") for name in numbers}
        st.dataframe(table, hide_index=True, column_config=formats, key=f"{key}/table/{place}")
    for note in answer.notes:
        st.caption(f"Note: {plain(str(note))}.")
