"""Keys, certificates and people of this site, with their age."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa_dashboard.at_site import session
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.words import ago, clock, moment, plain, some
from hansa_site import showing
from hansa_site.showing import CertificateView, OpenedSite

SOON_SECONDS = 30 * 86_400
_DAY = 86_400
_STORES = {
    "file": "a passphrase",
    "keyring": "a secret in the operating system's keyring",
    "pkcs11": "a key in a PKCS#11 token",
}


def show(site: OpenedSite, person: Person) -> None:
    st.title("Keys and people")
    _keys(site)
    st.subheader("Certificates")
    found = showing.certificates_of(site)
    if not found:
        st.caption("This site reaches its mailbox on this machine, without TLS.")
    for certificate in found:
        _certificate(certificate)
    _people(site, person)


def _keys(site: OpenedSite) -> None:
    key, now = showing.key(site), session.now()
    st.subheader("The site's keys")
    since = f", accepted here {ago(key.accepted_at, now)}" if key.accepted_at is not None else ""
    st.markdown(f"The charter names them since version **{key.version}**{since}. Their fingerprint, to be read aloud:")
    st.code(key.words, language=None)
    if key.wrapped:
        written = f"; the file was written {ago(key.written_at, now)}" if key.written_at is not None else ""
        st.markdown(f"They lie wrapped under {_STORES.get(key.wrapped, plain(key.wrapped))}{written}.")
    else:
        st.error("They lie bare in their file: whoever reads it has them. `hansa site protect-keys` wraps them.")
    st.caption("`hansa site new-keys` draws new ones, and `hansa site rewrap-keys` wraps them under another secret.")


def _certificate(found: CertificateView) -> None:
    if found.begins is None or found.ends is None:
        st.error(plain(f"{found.what}: {found.wrong}."))
        return
    now = session.now()
    age, rest = (now - found.begins) / _DAY, (found.ends - now) / _DAY
    text = f"{found.what}: {age:.0f} days old, until {clock(found.ends)}"
    if now >= found.ends:
        st.error(plain(f"{text}: it has expired. The hub's operator makes a new kit."))
    elif found.ends - now < SOON_SECONDS:
        st.warning(plain(f"{text}, {rest:.0f} days from now. Ask the hub's operator for a new kit before."))
    else:
        st.markdown(f"- {plain(f'{text}, {rest:.0f} days from now.')}")


def _people(site: OpenedSite, person: Person) -> None:
    st.subheader("People")
    found, now = showing.everybody(site), session.now()
    here = [one for one in found if one.removed_at is None]
    keys = {one.name: one for one in showing.keys_of_people(site, [one.name for one in here])}
    st.dataframe(
        pd.DataFrame(
            {
                "Name": [one.name for one in found],
                "Roles": [one.roles for one in found],
                "Here since": [moment(one.added_at) for one in found],
                "Age of the key": [some(round((now - one.added_at) / _DAY), "day") for one in found],
                "Removed": ["" if one.removed_at is None else clock(one.removed_at) for one in found],
                "In the log": [one.pseudonym for one in found],
                "Public key": [f"{one.key[:16]}…" for one in found],
            }
        ),
        hide_index=True,
        column_config={"Here since": st.column_config.DatetimeColumn(format="YYYY-MM-DD")},
    )
    for name, key in keys.items():
        if not key.takes_passphrase:
            where = "lies under no passphrase" if key.is_here else "is not in this home"
            st.caption(plain(f"The key of {name} {where}: {name} can't sign in here, and decides at the command line."))
    if allowed(site, person, "manage people"):
        st.markdown("People are added and removed at the site's machine, where the new person types a passphrase:")
        st.code(
            "hansa site add-person --home HOME NAME --roles approver --as YOU\n"
            "hansa site remove-person --home HOME NAME --as YOU",
            language="bash",
        )
    else:
        st.caption("An administrator adds and removes people, at the command line.")
