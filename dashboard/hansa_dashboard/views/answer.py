"""An answer: its figures, plots and table, and all of it as files. What takes time to make is made when asked for."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

import hansa
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail
from hansa.jobs import decode_answer
from hansa_dashboard import drawing, files, session
from hansa_dashboard.drawing import Picture
from hansa_dashboard.report import Beside, report
from hansa_dashboard.session import Person
from hansa_dashboard.telling import protects
from hansa_dashboard.views import told
from hansa_dashboard.words import plain, subject


def show(hub: Hub, person: Person, detail: JobDetail) -> None:
    data = queries.answer_bytes(hub, detail.view.run, person.viewer) or b""
    for remark in detail.remarks:
        st.warning(plain(remark))
    picture = _picture(data, detail)
    name = f"hansa-{detail.view.kind}-{detail.view.run[:8]}"
    if picture is None:
        st.info("This version has no table or plot for answers of this kind.")
        st.json(detail.answer or {})
    else:
        _show(hub, picture, name)
    for note in detail.answer.get("notes", ()) if detail.answer else ():
        st.caption(f"Note: {plain(str(note))}.")
    st.caption(protects(detail.disclosure, detail.noise))
    _files(hub, person, detail, (data, picture, name))


def _picture(data: bytes, detail: JobDetail) -> Picture | None:
    try:
        return drawing.draw(decode_answer(data), subject(detail.view.kind, detail.parameters))
    except ProtocolViolation:
        return None


def _show(hub: Hub, picture: Picture, name: str) -> None:
    with st.container(horizontal=True):
        for label, value in picture.facts:
            st.metric(label, value, width=165)
    places = st.columns(min(2, len(picture.plots)) or 1)
    for index, plot in enumerate(picture.plots):
        with places[index % len(places)]:
            st.caption(plain(plot.says))
            st.altair_chart(plot.chart, width="stretch", key=f"plot {index}", alt=plot.says)
            file = f"{name}.png" if len(picture.plots) == 1 else f"{name}-{index + 1}.png"
            _later(hub, "Download PNG", partial(files.png, plot.chart), file, "image/png")
    st.dataframe(picture.table, hide_index=True, column_config=_formats(picture.table))
    for title, table in picture.more:
        st.caption(plain(title))
        st.dataframe(table, hide_index=True, column_config=_formats(table))


def _formats(table: pd.DataFrame) -> dict[str, Any]:
    numbers = table.select_dtypes("float").columns
    return {name: st.column_config.NumberColumn(format="%.6g") for name in numbers}


def _files(hub: Hub, person: Person, detail: JobDetail, shown: tuple[bytes, Picture | None, str]) -> None:
    data, picture, name = shown
    with st.container(horizontal=True):
        if picture is not None:
            table = picture.table
            st.download_button("Download CSV", files.csv(table), f"{name}.csv", "text/csv", on_click="ignore")
        st.download_button("Download JSON", data, f"{name}.json", "application/json", on_click="ignore")
        if picture is not None:
            parquet = partial(files.parquet, picture.table)
            _later(hub, "Download Parquet", parquet, f"{name}.parquet", "application/vnd.apache.parquet")
        made = partial(_report, hub, person, detail, picture)
        _later(hub, "Download report", made, f"{name}.html", "text/html")


def _later(hub: Hub, label: str, make: Callable[[], bytes], file: str, mime: str) -> None:
    """A download that is made when it is clicked, by a thread of its own: whether the session is still good is asked
    then."""
    good = session.holding(hub)

    def made() -> bytes:
        if not good():
            raise Refused("the session is over: sign in again")
        return make()

    st.download_button(label, made, file, mime, on_click="ignore", key=f"file {file}")


def _report(hub: Hub, person: Person, detail: JobDetail, picture: Picture | None) -> bytes:
    charter = queries.charter(hub)
    beside = Beside(
        consortium=charter.consortium,
        charter=f"version {charter.version}",
        software=f"Hansa {hansa.__version__}",
        reader=f"{person.name} of {person.member}",
        made_at=time.time(),
        learned=(protects(detail.disclosure, detail.noise), *told.learned(hub, detail)),
        evidence=_evidence(hub, person, detail),
    )
    plots = [files.svg(plot.chart) for plot in picture.plots] if picture is not None else []
    return report(detail, picture, plots, beside)


def _evidence(hub: Hub, person: Person, detail: JobDetail) -> str:
    if "see evidence" not in detail.may:
        return ""
    try:
        return queries.evidence(hub, detail.view.run, person.viewer).digest
    except Refused:  # it was erased
        return ""
