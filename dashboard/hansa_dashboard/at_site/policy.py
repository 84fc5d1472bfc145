"""The site's policy: as it is written, checked, tried on earlier questions, set by a steward or an administrator."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa.errors import Refused
from hansa_dashboard.at_site import session, signing
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.words import clock, plain, some, title
from hansa_site import doing, showing
from hansa_site.showing import OpenedSite, PolicyView

CHECK, TRY, SAVE, AGAIN = "Check", "Try on earlier questions", "Save the policy", "Take the text as it is written now"
_TEXT, _FORMER = "policy text", "policy former"  # what is being changed, and the digest of what it began from
_HOLDS = {
    True: "The site goes by this policy.",
    False: "The site goes by another policy than this: the file was changed by hand, which counts from its next start.",
    None: "The site has not run yet; it goes by this policy from its start on.",
}


def show(site: OpenedSite, person: Person) -> None:
    st.title("Policy")
    signing.told()
    found = showing.policy(site)
    st.write(
        f"What this site answers, and what it leaves to people, as it stands in `{found.where}`. {_HOLDS[found.holds]}"
    )
    if allowed(site, person, "set policy"):
        _edit(site, person, found)
    else:
        st.code(found.text or "# no key is written, so each has its default", language="toml")
        st.caption("Stewards and administrators may change it.")
    with st.expander("Every key, explained, at its default"):
        st.code(found.explained, language="toml")
    _changes(site)


def _edit(site: OpenedSite, person: Person, found: PolicyView) -> None:
    if st.button(AGAIN) or not {_FORMER, _TEXT} <= st.session_state.keys():
        st.session_state[_TEXT], st.session_state[_FORMER] = found.text or found.explained, found.digest
    former = st.session_state[_FORMER]
    if former != found.digest:
        st.warning("The policy was changed since you began: nothing is saved until you take the text as it is now.")
    text = st.text_area("The policy, in TOML", key=_TEXT, height=480)
    with st.container(horizontal=True):
        check, trying = st.button(CHECK), st.button(TRY)
    if check or trying:
        _look(site, text, trying)
    st.markdown(
        "**Save**: the site goes by it from its next letter on. The log says that the policy changed, and by whom, "
        "under a pseudonym; the former text stays beside it, in `policy.toml.before`."
    )
    wish = signing.ask("policy", [SAVE])
    if wish is not None:
        make = lambda: doing.setting_policy(site.home, person.name, text, former)  # noqa: E731
        if signing.carry_out(site, person, make, wish, "Saved: the site goes by this policy now."):
            del st.session_state[_FORMER]  # the next run takes the text as it is written
        st.rerun()


def _look(site: OpenedSite, text: str, trying: bool) -> None:
    if wrong := showing.wrong_with(site, text):
        st.error(plain(f"This is no policy: {wrong}."))
    elif trying:
        _try(site, text)
    else:
        st.success("This is a policy that this site can go by.")


def _try(site: OpenedSite, text: str) -> None:
    try:
        with st.spinner("Trying …"):
            found = showing.tried(site, text, session.now())
    except Refused as refusal:
        st.error(plain(signing.sentence(refusal)))
        return
    changed = [one for one in found if bool(one.now) != bool(one.then)]
    st.markdown(
        f"Of {some(len(found), 'earlier job')} that this site took part in, this policy would answer "
        f"**{sum(not one.then for one in found)}**; **{len(changed)}** differently than the one that is written."
    )
    st.dataframe(
        pd.DataFrame(
            {
                "Job": [one.run[:8] for one in found],
                "Kind": [title(one.plan.kind) for one in found],
                "Table": [one.plan.table for one in found],
                "Asked by": [one.plan.proposer for one in found],
                "Now": [one.now or "yes" for one in found],
                "With this text": [one.then or "yes" for one in found],
                "Differs": [bool(one.now) != bool(one.then) for one in found],
            }
        ),
        hide_index=True,
    )
    st.caption("Hours and tables are as they are now; that a plan has expired by now does not count.")


def _changes(site: OpenedSite) -> None:
    found = showing.changes(site)
    if not found:
        return
    st.subheader("Set by people here")
    lines = []
    for one in found:
        why = f", which counts for nothing: {one.refusal}" if one.refusal else ""
        lines.append(f"- {clock(one.at)}: {plain(one.person + why)}")
    st.markdown("\n".join(lines))
