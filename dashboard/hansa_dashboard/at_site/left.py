"""What left this site: every letter and every piece of a contribution, by job and in all."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa_dashboard.at_site.letters import meaning, title
from hansa_dashboard.at_site.paging import MOMENT, NUMBER, paged
from hansa_dashboard.words import clock, moment, plain, size, some
from hansa_site import showing
from hansa_site.showing import OpenedSite, Sort

AT_ONCE = 50
_KEPT = (
    "Every letter is signed by this site and sealed to the hub, and padded to a size class. A letter that is not "
    "acknowledged is sent again, the same bytes, and counts once. Nothing else is sent but what the connection to the "
    "mailbox itself takes."
)
_SPOKEN = "Letters without a row of their own are counted only: nobody keeps them, and nothing of the rows is in them."


def show(site: OpenedSite, person: Person) -> None:
    del person  # whoever is one of the site's people may see what left it
    st.title("What left this site")
    sorts, since = showing.left(site), showing.since(site)
    if since is None:
        st.info("Nothing has left this site since it began to keep count.")
        return
    count, total = sum(sort.count for sort in sorts), sum(sort.size for sort in sorts)
    st.markdown(f"**{some(count, 'letter')}** and pieces, **{size(total)}** in all, since {clock(since)}.")
    st.caption(_KEPT)
    _sorts(sorts, "all")
    st.subheader("By job")
    jobs = paged("left by job", AT_ONCE, lambda most, after: showing.by_job(site, most, after))
    names = [_name(job.run) for job in jobs]
    st.dataframe(
        pd.DataFrame(
            {
                "Job": names,
                "Letters and pieces": [job.count for job in jobs],
                "Bytes": [job.size for job in jobs],
                "Last": [moment(job.last_at) for job in jobs],
            }
        ),
        hide_index=True,
        column_config={"Bytes": NUMBER, "Last": MOMENT},
    )
    chosen = st.selectbox("Letters of", [job.run for job in jobs], None, format_func=_name, placeholder="Choose a job")
    if chosen:
        of_job(site, chosen)


def _name(run: str) -> str:
    return "no job" if run.startswith("0" * 24) else run


def of_job(site: OpenedSite, run: str) -> None:
    """The same on the page of a job."""
    sorts = showing.left(site, run)
    total = sum(sort.size for sort in sorts)
    if before := showing.uncounted(site, run):
        st.markdown(f"{size(before)} of letters left for this job before the site kept a row for each.")
        return
    if not sorts:
        st.write("Nothing has left this site for this job.")
        return
    st.markdown(f"**{total:,} bytes** left this site for this job.")
    _sorts(sorts, run)
    fetch = lambda most, after: showing.letters(site, run, most, after)  # noqa: E731
    letters = paged(f"letters/{run}", AT_ONCE, fetch, "Page of letters")
    st.dataframe(
        pd.DataFrame(
            {
                "At": [moment(letter.at) for letter in letters],
                "To": [letter.receiver for letter in letters],
                "What": [title(letter.kind, letter.holds) for letter in letters],
                "Bytes": [letter.size for letter in letters],
                "SHA-256, or name of the piece": [letter.digest for letter in letters],
            }
        ),
        hide_index=True,
        key=f"letters/{run}/table",
        column_config={"At": MOMENT, "Bytes": NUMBER},
    )


def _sorts(sorts: Sequence[Sort], key: str) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "What": [title(sort.kind, sort.holds) for sort in sorts],
                "How many": [sort.count for sort in sorts],
                "Bytes": [sort.size for sort in sorts],
                "What it means": [meaning(sort.kind, sort.holds).says for sort in sorts],
            }
        ),
        hide_index=True,
        key=f"sorts/{key}",
        column_config={"Bytes": NUMBER, "What it means": st.column_config.TextColumn(width="large")},
    )
    if not all(sort.kept for sort in sorts):
        st.caption(plain(_SPOKEN))
