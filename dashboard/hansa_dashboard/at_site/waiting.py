"""What waits for a person here, with all that it takes to say yes or no in a minute."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa.errors import Refused
from hansa_dashboard.at_site import answer, asked, session, signing
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.telling import hub_learns, protects, receives
from hansa_dashboard.words import clock, listed, plain, some, subject
from hansa_site import doing, showing
from hansa_site.doing import Act
from hansa_site.showing import Marks, OpenedSite, Pending

REFUSE, FIGURES = "Refuse", "Show the exact figures"
LABELS = {"sign proposal": "Sign the proposal", "consent": "Consent", "release": "Agree to the release"}
REFRESH_SECONDS = 2
_HELD = "exact figures"
_EXACT = (
    "Before the plan's rules of disclosure, from the total that the hub and every site that takes part have seen. The "
    "log names you, under your pseudonym, as having seen them. Once you leave this page they are not kept."
)


def show(site: OpenedSite, person: Person) -> None:
    st.title("Waiting for a person")
    signing.told()
    _watch(site, showing.marks(site))
    found = showing.waiting(site, session.now())
    for gone in set(_figures()) - {one.run for one in found if one.what == "release"}:
        del _figures()[gone]
    if not found:
        st.info("Nothing waits for a person here. The policy answers by itself what it does not leave to people.")
    for one in found:
        _one(site, person, one)


@st.fragment(run_every=REFRESH_SECONDS)
def _watch(site: OpenedSite, drawn: Marks) -> None:
    """Looks whether the page is still what it shows, and draws nothing: what is being typed stays."""
    if not session.still_good() or showing.marks(site) != drawn:
        st.rerun()


def _one(site: OpenedSite, person: Person, one: Pending) -> None:
    with st.container(border=True):
        st.subheader(asked.HEADS[one.what])
        st.markdown(asked.headline(one.plan, one.parameters))
        st.markdown(asked.purpose(one.plan))
        if one.what == "release":
            _answer(site, person, one)
        left, right = st.columns(2, gap="large")
        with left:
            _who(one)
        with right:
            _policy(one)
        with st.expander("Everything in the plan"):
            _plan(one)
        st.markdown(asked.follows(one.what))
        st.markdown(f"{asked.standing(one)} {asked.deadline(one, session.now())}")
        _decide(site, person, one)


def _who(one: Pending) -> None:
    st.markdown("**Who learns what**")
    st.markdown(asked.whose(one.plan, one.stay))
    st.markdown(f"- {receives(one.plan.recipients)}")
    st.markdown(hub_learns(one.corrupt))
    if one.learns:
        st.markdown(f"- Beyond the answer, the totals tell **{plain(one.learns)}**.")
    st.caption(protects(one.plan.disclosure, one.plan.noise))


def _policy(one: Pending) -> None:
    st.markdown("**What your policy says**")
    no = asked.against(one.opinions)
    if one.what == "release":
        st.markdown("Your site has computed this answer itself, and it keeps the plan's rules of disclosure.")
    elif no:
        st.error(f"No, by {some(len(no), 'rule')} of {len(one.opinions)}:\n\n" + "\n".join(f"- {line}" for line in no))
    else:
        st.success(f"Yes, by all of its {len(one.opinions)} rules.")
    if one.plan.noise is not None:
        cost = f": {one.cost}" if one.cost else ""
        st.markdown(plain(f"Noise hides {one.plan.noise.hides}{cost}."))
    st.markdown("**Similar jobs before**")
    if one.similar:
        lines = [f"- {plain(run[:8])}: {plain(status)}" for run, status in one.similar]
        st.markdown("\n".join(lines))
    else:
        st.markdown("None of this kind over this table.")


def _plan(one: Pending) -> None:
    plan = one.plan
    rows = [
        *asked.parameters(plan.kind, one.parameters),
        ("Table", plan.table),
        ("Participants", listed(plan.sites)),
        ("Recipients", listed(plan.recipients) or "everybody at the hub"),
        ("Minimum sites", str(plan.minimum_sites)),
        ("Protection", f"{plan.protection}: each site's numbers under masks that cancel in the total only"),
        ("Consents may be given until", clock(float(plan.expires))),
    ]
    if plan.noise is not None:
        epsilon, delta = plan.noise.written
        rows += [("Noise, ε", epsilon), ("Noise, δ", delta), ("Noise hides", plan.noise.hides)]
    table = pd.DataFrame(rows, columns=["What", "As it was asked"])
    st.dataframe(table, hide_index=True, key=f"plan/{one.run}/{one.what}")
    st.markdown("\n".join(f"- {rule}" for rule in asked.rules(plan.disclosure)))
    st.markdown("What a decision is about, by its digest:")
    st.code(one.digest.hex(), language=None)
    st.caption(plain(f"Job {one.run}; asked {clock(one.asked_at)}."))


def _answer(site: OpenedSite, person: Person, one: Pending) -> None:
    """The answer as it would be released, for who decides about it."""
    if not (allowed(site, person, "release") or allowed(site, person, "refuse")):
        st.info("The answer is shown to those here who decide about its release.")
        return
    st.markdown(f"**The answer, as its recipients would see it**; it holds the rows of {plain(listed(one.sites))}:")
    about = subject(one.plan.kind, one.parameters)
    answer.draw(one.answer, about, f"answer/{one.run}")
    if allowed(site, person, "see figures"):
        _exact(site, person, one, about)


def _exact(site: OpenedSite, person: Person, one: Pending, about: str) -> None:
    held = _figures().get(one.run)
    if held is not None:
        with st.container(border=True):
            st.markdown("**The exact figures**")
            st.caption(_EXACT)
            answer.draw(held, about, f"exact/{one.run}")
        return
    with st.expander("The exact figures"):
        st.caption(_EXACT)
        wish = signing.ask(f"figures/{one.run}", [FIGURES])
    if wish is None:
        return
    try:
        with st.spinner("Signing; the site's process enters it in the log …"):
            signed = signing.sign(site, person, Act(person.name, "see figures", one.digest, one.run), wish)
            _figures()[one.run] = doing.see_figures(site.home, signed, session.now())
    except Refused as refusal:
        signing.tell("error", signing.sentence(refusal))
    st.rerun()


def forget() -> None:
    """Of exact figures nothing stays in the tab once another page is shown."""
    st.session_state.pop(_HELD, None)


def _figures() -> dict[str, bytes]:
    """What this tab shows of exact figures, by run, until it is closed or somebody else signs in."""
    held: dict[str, bytes] = st.session_state.setdefault(_HELD, {})
    return held


def _decide(site: OpenedSite, person: Person, one: Pending) -> None:
    labels = _labels(site, person, one)
    if not labels:
        return
    wish = signing.ask(f"{one.what}/{one.run}", labels, "Reason of a refusal, for the other members")
    if wish is None:
        return
    what = "refuse" if wish.label == REFUSE else asked.YES[one.what]
    reason = wish.reason if what == "refuse" else ""
    act = Act(person.name, what, one.digest, one.run, reason)  # type: ignore[arg-type]  # one of `What`
    done = "Refused." if what == "refuse" else "Done: your yes counts."
    signing.carry_out(site, person, lambda: act, wish, done)
    st.rerun()


def _labels(site: OpenedSite, person: Person, one: Pending) -> list[str]:
    """The buttons that this person is offered; says why one is missing that the role would allow."""
    yes, found = asked.YES[one.what], list[str]()
    if allowed(site, person, yes):  # type: ignore[arg-type]  # one of `Action`
        if reason := _why_not(person, one):
            st.caption(reason)
        else:
            found.append(LABELS[yes])
    if allowed(site, person, "refuse"):
        found.append(REFUSE)
    if not found:
        st.caption("You may look at this, and others here decide: approvers, and stewards who refuse or release.")
    return found


def _why_not(person: Person, one: Pending) -> str:
    if person.name in one.said:
        return "You have said yes."
    if one.what != "proposal" and one.proposed == person.name:
        return "You signed this proposal, so somebody else must say yes here."
    if one.what == "consent" and any(opinion.why for opinion in one.opinions):
        return "Nobody here can say yes to what the policy refuses."
    return ""
