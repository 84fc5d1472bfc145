"""Signing in at the hub's page, as the gate asks for it. Without Streamlit: the gate runs before it."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from hansa.errors import Refused
from hansa.hub import accounts, actions, queries
from hansa.hub.actions import Hub
from hansa_dashboard.forms import SIGN_IN, WELCOME, Field, Form
from hansa_dashboard.gate import BACK, Away
from hansa_dashboard.words import some

NAME = "hub"  # in the cookie's name


class HubDoors:
    def __init__(self, home: Path) -> None:
        self.hub, self.name = Hub(home), NAME
        self.away: Away | None = None

    def open_page(self, local: str) -> str:
        """The address under which people reach the page from elsewhere, if one is set; with an identity provider, a way
        there and back."""
        page = accounts.page_of(self.hub)
        if page.provider is not None:
            if importlib.util.find_spec("authlib") is None:
                raise Refused("an identity provider is set, and needs hansa[oidc]")
            from hansa_dashboard.oidc import Oidc

            secret = page.secret(self.hub.home)
            self.away = Oidc(self.hub, page.provider, secret, f"{page.url.rstrip('/') or local}{BACK}")
        return page.url

    @property
    def forms(self) -> Mapping[str, Form]:
        charter = queries.charter(self.hub)
        about = (
            f"The consortium {charter.consortium}: {some(len(charter.members), 'institution')} that compute together "
            "without showing one another their rows."
        )
        return {
            SIGN_IN: Form(
                "Sign in",
                about,
                (
                    Field("name", "Name", fills="username"),
                    Field("password", "Password", "password", "current-password"),
                    Field("code", "Code from your app", fills="one-time-code", needed=False, told="If you use one."),
                ),
                "Sign in",
                "I have a name and a password",
                "A session ends after 15 minutes without use, after 8 hours, and when you sign out.",
            ),
            WELCOME: Form(
                "Welcome",
                "You were given a token that lets you in once, within a day of being made. Choose your password now.",
                (
                    Field("token", "Token"),
                    Field("name", "Name", fills="username", told="The one that you were invited under."),
                    Field("password", "New password", "password", "new-password", told="At least 12 characters."),
                ),
                "Come in",
                "I was invited, and have a token",
            ),
        }

    def enter(self, path: str, given: Mapping[str, str], address: str) -> bytes:
        name, password = given.get("name", "").strip(), given.get("password", "")
        if path == WELCOME:
            return accounts.accept(self.hub, given.get("token", ""), name, password, address)
        return accounts.sign_in(self.hub, name, password, given.get("code", "").strip(), address)

    def holds(self, token: bytes) -> bool:
        return queries.session_holds(self.hub, token)

    def sign_out(self, token: bytes) -> None:
        actions.sign_out(self.hub, token)
