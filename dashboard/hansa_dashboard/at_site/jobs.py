"""This site's part in each job: what it agreed to, where it stands, what left for it; and stop."""

import json

import pandas as pd
import streamlit as st

from hansa.access import Action, Person, Thing, may
from hansa_dashboard.at_site import answer, asked, left, session, signing
from hansa_dashboard.at_site.paging import MOMENT, paged
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.telling import hub_learns, protects, receives
from hansa_dashboard.words import badge, clock, listed, moment, plain, size, subject, title
from hansa_site import doing, showing
from hansa_site.showing import JobDetail, JobView, OpenedSite

AT_ONCE = 25
STOP = "Stop this job here"
REFRESH_SECONDS = 2
_WIDTHS = (4, 1.4, 1.6, 2, 1.2, 2)
_HEADS = ("Job", "Table", "Asked by", "Here since", "Left", "Status")


def show(site: OpenedSite, person: Person) -> None:
    run = st.query_params.get("run", "")
    if run:
        _job(site, person, run)
        return
    st.title("Jobs")
    page = paged("jobs", AT_ONCE, lambda most, after: showing.jobs(site, most, after))
    found = [view for view in page if _may(person, "see job", site, view)]
    if not found:
        st.info("This site has been asked for no job yet that concerns you.")
        return
    with st.container(border=True, gap="small"):
        for place, head in zip(st.columns(_WIDTHS), _HEADS, strict=True):
            place.caption(head)
        for view in found:
            _row(view)


def _may(person: Person, action: Action, site: OpenedSite, view: JobView) -> bool:
    """A question that was refused at once is known by its run alone; it was put to this member."""
    plan = view.plan
    thing = Thing(member=site.name, sites=(site.name,))
    if plan is not None:
        thing = Thing(site.name, plan.proposer, plan.sites, plan.recipients)
    return may(person, action, thing)


def _name(view: JobView) -> tuple[str, str]:
    """(title, what it is about)."""
    if view.plan is None:
        return "A question that was refused at once", ""
    return title(view.plan.kind), subject(view.plan.kind, view.parameters)


def _row(view: JobView) -> None:
    name, table, asker, since, size_, status = st.columns(_WIDTHS, vertical_alignment="center")
    what, about = _name(view)
    if name.button(f"**{plain(what)}**  {plain(about)}", key=f"job/{view.run}", type="tertiary"):
        st.query_params["run"] = view.run
        st.rerun()
    texts = (
        (table, "" if view.plan is None else view.plan.table),
        (asker, "" if view.plan is None else view.plan.proposer),
        (since, clock(view.began_at)),
        (size_, size(view.left)),
    )
    for place, text in texts:
        place.markdown(f":small[{plain(text)}]")
    with status:
        _badge(view)


def _badge(view: JobView) -> None:
    """The status in a word; its reason stands on the job's own page."""
    badge(view.status.removeprefix("ended: ").partition(":")[0] or "asked")


def _job(site: OpenedSite, person: Person, run: str) -> None:
    if st.button("All jobs", icon=":material/arrow_back:"):
        del st.query_params["run"]
        st.rerun()
    signing.told()
    detail = showing.job(site, run)
    if detail is None or not _may(person, "see job", site, detail.view):
        st.info("This site knows no such job, or it does not concern your institution.")
        return
    view = detail.view
    what, about = _name(view)
    st.title(plain(what))
    if view.plan is not None:
        st.markdown(asked.headline(view.plan, view.parameters))
        st.markdown(asked.purpose(view.plan))
    st.caption(plain(f"Job {run}; asked here {clock(view.began_at)}."))
    _status(view)
    if view.is_open:
        _watch(site, run, (view.status, view.totals, len(detail.acts)))
        _stop(site, person, view)
    tabs = st.tabs(["This site's part", "What left", "Who learns what", "In the log", "Plan"])
    with tabs[0]:
        _part(detail)
    with tabs[1]:
        left.of_job(site, run)
    with tabs[2]:
        _learned(detail)
    with tabs[3]:
        _log(site, view)
    with tabs[4]:
        _plan(view)
    if detail.answer and _may(person, "see answer", site, view):
        st.subheader("The answer, as this site agreed to it")
        st.caption(plain(f"It holds the rows of {listed(detail.answered_by)}."))
        answer.draw(detail.answer, about, "answer")


def _status(view: JobView) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        _badge(view)
        st.caption(plain(view.status))
    if view.ended_at is not None:
        st.caption(f"Over here since {clock(view.ended_at)}; seeds and states of it are erased.")


@st.fragment(run_every=REFRESH_SECONDS)
def _watch(site: OpenedSite, run: str, drawn: tuple[str, int, int]) -> None:
    """As in `waiting.py`: draws nothing, and runs the page again when the job has gone on."""
    detail = showing.job(site, run) if session.still_good() else None
    if detail is None or (detail.view.status, detail.view.totals, len(detail.acts)) != drawn:
        st.rerun()


def _stop(site: OpenedSite, person: Person, view: JobView) -> None:
    if not allowed(site, person, "stop") or view.plan is None:
        return
    with st.expander(STOP):
        st.markdown(
            "Ends this site's part, and erases what it holds for the job. What it contributed to totals that are open "
            "already stays in them. If too few sites are left, the job ends for all."
        )
        wish = signing.ask(f"stop/{view.run}", [STOP], "Reason, for the other members")
    if wish is not None:
        digest = view.plan.digest
        act = doing.stopping(person.name, view.run, digest, wish.reason)
        signing.carry_out(site, person, lambda: act, wish, "Stopped.")
        st.rerun()


def _part(detail: JobDetail) -> None:
    view = detail.view
    st.markdown(f"This site contributed to **{view.totals}** totals.")
    if detail.spent:
        st.markdown(f"Of the table's privacy budget: {plain(detail.spent)}.")
    if detail.said:
        st.markdown("**What people here decided**")
        st.dataframe(
            pd.DataFrame(
                {
                    "At": [moment(said.at) for said in detail.said],
                    "Who": [said.person for said in detail.said],
                    "What": [said.what for said in detail.said],
                    "Counts": ["not yet" if not said.done else "no" if said.refusal else "yes" for said in detail.said],
                    "Why not": [said.refusal for said in detail.said],
                    "Decision": [f"{said.digest[:16]}…" for said in detail.said],
                }
            ),
            hide_index=True,
        )
    st.markdown("**What the site noted**")
    acts = {"At": [moment(at) for at, _ in detail.acts], "What": [text for _, text in detail.acts]}
    columns = {"At": MOMENT, "What": st.column_config.TextColumn(width="large")}
    st.dataframe(pd.DataFrame(acts), hide_index=True, column_config=columns)


def _learned(detail: JobDetail) -> None:
    plan = detail.view.plan
    if plan is None:
        st.write("Nothing was given: the question was refused at once.")
        return
    if not detail.view.totals:
        st.write("This site has contributed to no total, so nobody has learnt anything of its rows.")
    st.markdown(hub_learns(detail.corrupt))
    if detail.learns:
        st.markdown(f"- Beyond the answer, the totals tell **{plain(detail.learns)}**.")
    st.markdown(f"- {receives(plan.recipients)}")
    st.caption(protects(plan.disclosure, plan.noise))


def _log(site: OpenedSite, view: JobView) -> None:
    found = showing.entries_of(site, view.run, view.began_at, view.ended_at)
    st.caption("What this site entered in the hub's log about the job, and where it stands there.")
    st.dataframe(
        pd.DataFrame(
            {
                "Entry": [entry.sequence for entry in found],
                "At": [moment(entry.at) for entry in found],
                "Act": [entry.act for entry in found],
                "Number in the log": ["no receipt yet" if one.number is None else str(one.number) for one in found],
                "Says": [entry.says for entry in found],
            }
        ),
        hide_index=True,
        column_config={"At": MOMENT},
    )


def _plan(view: JobView) -> None:
    if view.plan is None:
        st.write("The site kept no plan of it.")
        return
    rows = asked.parameters(view.plan.kind, view.parameters)
    st.dataframe(pd.DataFrame(rows, columns=["What", "As it was asked"]), hide_index=True)
    st.markdown("\n".join(f"- {rule}" for rule in asked.rules(view.plan.disclosure)))
    st.code(json.dumps(view.parameters, indent=2, ensure_ascii=False), language="json")
    st.write("Digest of the plan:")
    st.code(view.plan.digest.hex(), language=None)
