"""A question, and who would learn what from it, before it is sent."""

import streamlit as st

from hansa.errors import NotEnoughSites, Refused
from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import MemberView
from hansa.jobs import KINDS, parse
from hansa.jobs import form as fields
from hansa.jobs.base import Column, Job, Schema
from hansa.plan import Question
from hansa_dashboard.session import Person
from hansa_dashboard.views import form
from hansa_dashboard.views.jobs import open_job
from hansa_dashboard.words import listed, plain, some

EXACT = (
    "The totals are exact up to rounding. No noise is added, and small counts are not suppressed in this version: a "
    "number that few rows stand behind may tell something about a person. Masking protects what each site sends, not "
    "what the answer says."
)


def show(hub: Hub, person: Person) -> None:
    st.title("Propose")
    st.write(
        f"A question to the consortium, in the name of **{plain(person.member)}**. Its site signs the plan before "
        "anybody else is asked, and each participant's site consents or refuses by its own policy."
    )
    members = queries.members(hub)
    tables = sorted({schema.table for member in members for schema in member.tables})
    if not tables:
        st.info("No site has said yet which tables it has.")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        question, job = _question(hub, members, tables)
    with right:
        borne = _consequences(hub, question, job)
        if st.button("Send the proposal", type="primary", disabled=job is None or not borne, width="stretch"):
            _send(hub, person, question)


def _question(hub: Hub, members: list[MemberView], tables: list[str]) -> tuple[Question, Job | None]:
    """What the form says so far, and the job that it means once it is complete."""
    kind = st.selectbox("Kind", list(KINDS), format_func=lambda kind: KINDS[kind].title)
    table = st.selectbox("Table", tables)
    schemas = {member.site: schema for member in members for schema in member.tables if schema.table == table}
    sites = st.multiselect("Participants", list(schemas), list(schemas), key=f"participants/{table}")
    named = [schemas[site] for site in sites]
    with st.container(border=True):
        st.markdown(f"**{KINDS[kind].title}**")
        parameters = form.ask(kind, _shared(named))
    floor = queries.charter(hub).rules.minimum_sites
    minimum = int(
        st.number_input(
            "Minimum sites",
            min_value=floor,
            max_value=max(floor, len(sites)),
            help="With fewer sites left there is no answer. The charter asks for at least "
            f"{floor}; the protection may ask for more.",
        )
    )
    question = Question(kind, table, parameters, tuple(sorted(sites)), "masked", minimum)
    return question, _job(question, schemas)


def _shared(schemas: list[Schema]) -> dict[str, Column]:
    """The columns that every participant declares, as the first of them describes them."""
    names = [{column.name for column in schema.columns} for schema in schemas]
    first = schemas[0].columns if schemas else ()
    return {column.name: column for column in first if all(column.name in have for have in names)}


def _job(question: Question, schemas: dict[str, Schema]) -> Job | None:
    """The job of a complete question; says in one sentence what still stands against it."""
    missing = [
        field.title for field in fields(question.kind) if field.required and field.name not in question.parameters
    ]
    if missing:
        st.info(plain(f"Still to fill in: {listed(missing)}."))
        return None
    try:
        job = parse(question.kind, question.parameters)
        for site in question.sites:
            job.check(schemas[site])
    except Refused as refusal:
        st.info(plain(f"Not ready yet: {refusal}."))
        return None
    return job


def _consequences(hub: Hub, question: Question, job: Job | None) -> bool:
    """Who learns what, and how many may drop out; False if these participants can't compute safely."""
    st.subheader("Protection")
    st.markdown(
        "**Masked**, the one protection in this version: each site hides its numbers under masks that cancel only in "
        "the total over those who take part."
    )
    st.subheader("Who learns what")
    count = len(question.sites)
    try:
        floors = queries.floors(hub, count, question.minimum_sites)
    except (Refused, NotEnoughSites) as refusal:
        st.error(plain(f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."))
        return False
    st.markdown(hub_learns(floors.corrupt))
    learns = type(job).learns if job is not None else KINDS[question.kind].learns
    st.markdown(f"- Beyond the answer, the totals of this kind tell **{plain(learns)}**.")
    st.markdown("- Everybody who can sign in at this hub sees the answer.")
    st.subheader("Drop-outs")
    who = (
        ""
        if floors.committee == count
        else f" of a committee of {floors.committee}, picked by lot when keys are agreed,"
    )
    st.markdown(
        f"With {some(count, 'site')}, **{_may_vanish(floors.borne(count))}** once the keys are agreed: at least "
        f"{floors.survivors} must stay to the end, and {floors.threshold}{who} must sign who takes part. A site that "
        "is silent before that is left out and the keys are agreed again. What a site gave to the steps before it left "
        "stays in their totals, and the hub can estimate its part from what changes."
    )
    st.warning(EXACT)
    return True


def hub_learns(corrupt: int) -> str:
    """The same sentence before a job and after it."""
    if corrupt == 0:
        unless = "any site colludes"
    else:
        unless = f"more than {some(corrupt, 'site')} {'colludes' if corrupt == 1 else 'collude'}"
    return (
        "- The hub, and every site that takes part, learns each step's total over those who are in it. "
        f"The hub learns no site's numbers, unless {unless} with it. Of a site that leaves between two steps, or that "
        "the hub makes leave, it can estimate the part of the totals."
    )


def _may_vanish(borne: int) -> str:
    if borne == 0:
        return "no site may drop out"
    return f"{some(borne, 'site')} may drop out"


def _send(hub: Hub, person: Person, question: Question) -> None:
    try:
        run = actions.propose(hub, person.name, question)
    except (Refused, NotEnoughSites) as refusal:
        st.error(plain(f"Refused: {refusal}."))
        return
    open_job(run)
