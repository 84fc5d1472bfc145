"""A question, and who would learn what from it, before it is sent."""

import streamlit as st

from hansa.errors import NotEnoughSites, Refused
from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import MemberView
from hansa.jobs import KINDS, parse
from hansa.jobs import form as fields
from hansa.jobs.base import Column, Job, Schema
from hansa.plan import Noise, Question, noise_from
from hansa_dashboard.session import Person
from hansa_dashboard.telling import hub_learns, protects, receives
from hansa_dashboard.views import choices, form
from hansa_dashboard.views.jobs import open_job
from hansa_dashboard.words import listed, plain, some


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
        question, job = _question(hub, person, members, tables)
    with right:
        borne = _consequences(hub, question, job)
    if job is not None and borne:
        st.subheader("What each choice costs")
        choices.show(hub, question)
    with right:
        if st.button("Send the proposal", type="primary", disabled=job is None or not borne, width="stretch"):
            _send(hub, person, question)


def _question(hub: Hub, person: Person, members: list[MemberView], tables: list[str]) -> tuple[Question, Job | None]:
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
    everybody = [member.site for member in members]
    given = st.multiselect(
        "Recipients",
        everybody,
        sorted({person.member, *sites}),
        key=f"recipients/{table}/{','.join(sites)}",
        help="Members whose people see the answer. Each participant's policy has a say in it.",
    )
    noise = _noise()
    purpose = st.text_input("Purpose", max_chars=200, help="What for, in one line; a site may allow only some.")
    question = Question(
        kind=kind,
        table=table,
        parameters=parameters,
        sites=tuple(sorted(sites)),
        minimum_sites=minimum,
        recipients=tuple(sorted(given)),
        purpose=purpose.strip(),
        noise=noise,
    )
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
        asked = job if question.noise is None else job.under_noise(question.noise)
        for site in question.sites:
            asked.check(schemas[site])
    except Refused as refusal:
        st.info(plain(f"Not ready yet: {refusal}."))
        return None
    return job


def _consequences(hub: Hub, question: Question, job: Job | None) -> bool:
    """Who learns what, and how many may drop out; False if these participants can't compute safely."""
    st.subheader("Who learns what")
    st.markdown(
        "Protection is **masked**, the one of this version: each site hides its numbers under masks that cancel only "
        "in the total over those who take part."
    )
    count = len(question.sites)
    try:
        floors = queries.floors(hub, count, question.minimum_sites)
    except (Refused, NotEnoughSites) as refusal:
        st.error(plain(f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."))
        return False
    st.markdown(hub_learns(floors.corrupt))
    learns = type(job).learns if job is not None else KINDS[question.kind].learns
    st.markdown(f"- Beyond the answer, the totals of this kind tell **{plain(learns)}**.")
    st.markdown(f"- {receives(question.recipients)}")
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
    st.warning(protects(question.disclosure, question.noise))
    return _affordable(hub, question)


def _noise() -> Noise | None:
    """The noise that is asked for; says what it can't be."""
    if not st.toggle("Noise", help="Hides a row, or a person, in the answer itself. Each site's budget pays for it."):
        return None
    epsilon, delta = st.columns(2)
    said: dict[str, object] = {
        "epsilon": epsilon.text_input("ε", "1", help="Smaller hides more. 1 is strong, 10 weak."),
        "delta": delta.text_input("δ", "1e-6", help="Well below one over the number of rows."),
    }
    unit = st.radio("Hides", ("row", "person", "member"), horizontal=True, help="A member: all that one site gives.")
    said["unit"] = unit
    if unit == "person":
        said["id_column"] = st.text_input("Column of a person's id").strip()
    if unit != "row":
        said["rows_per_person"] = int(st.number_input(f"Rows of a {unit} that count", 1, 1000, 1))
    try:
        return noise_from(said, "the form")
    except Refused as refusal:
        st.error(plain(f"{refusal}."))
        st.stop()


def _affordable(hub: Hub, question: Question) -> bool:
    """What the noise costs at each site, and what is left there; False if it is not there."""
    if question.noise is None:
        return True
    found = {cost.site: cost for cost in queries.costs(hub, question)}
    st.subheader("Privacy budget")
    for site in question.sites:
        cost = found.get(site)
        if cost is None:
            st.error(plain(f"{site} has told of no budget for this table, and will refuse."))
            continue
        told = f"{site}: this costs {cost.cost:.1f} % of ε {cost.epsilon}, δ {cost.delta}; {cost.left:.1f} % is left."
        (st.markdown if cost.fits else st.error)(plain(told))
    return all(site in found and found[site].fits for site in question.sites)


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
