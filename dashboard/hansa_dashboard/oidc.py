"""Signing in at an identity provider: OpenID Connect's code flow with PKCE, then a session of our own.

OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3; RFC 7636 (S256). State, nonce and verifier are 32 random bytes each
and wait in the browser's own cookie. Of the ID token, signature, issuer, audience, nonce and expiry are checked; who it
is follows from issuer and subject alone, which an administrator has tied to a name here. Nothing of the provider's is
kept: neither tokens nor claims.
"""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hansa.errors import Refused
from hansa.hub import accounts
from hansa.hub.actions import Hub
from hansa.hub.page import Provider

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
SECONDS = 10  # that the provider has for an answer
SLACK_SECONDS = 60  # that its clock may be off
_AWAY = "the identity provider does not answer as it should: try again, or ask who operates this hub"


class Oidc:
    """`back`: the address under which the provider sends the browser back to us."""

    def __init__(self, hub: Hub, provider: Provider, secret: str, back: str) -> None:
        self.label = f"Sign in with {provider.name}"
        self._hub, self._provider, self._secret, self._back = hub, provider, secret, back

    def begin(self) -> tuple[str, str]:
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        address, _ = self._client().create_authorization_url(
            self._described()["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
        )
        return address, ".".join((state, nonce, verifier))

    def finish(self, query: str, kept: str) -> bytes:
        """A session for who comes back with `query`, in the browser that was sent away with `kept`."""
        parts = kept.split(".")
        if len(parts) != 3:
            raise Refused("this browser was not sent to the identity provider from here, or too long ago")
        state, nonce, verifier = parts
        described = self._described()
        try:
            token = self._client(state).fetch_token(
                described["token_endpoint"],
                authorization_response=f"{self._back}?{query}",
                code_verifier=verifier,
                timeout=SECONDS,
            )
            subject = self._subject(str(token.get("id_token", "")), nonce, described)
        except (AuthlibBaseError, JoseError, requests.RequestException, ValueError) as error:
            raise Refused("the identity provider's answer does not hold: sign in again") from error
        return accounts.sign_in_as(self._hub, f"{self._provider.issuer} {subject}")

    def _client(self, state: str | None = None) -> Any:
        return OAuth2Session(
            self._provider.client_id,
            self._secret,
            scope="openid",
            redirect_uri=self._back,
            state=state,
            code_challenge_method="S256",
        )

    def _described(self) -> Mapping[str, str]:
        """What the provider says of itself (OpenID Connect Discovery 1.0), if it is the issuer that we trust."""
        issuer = self._provider.issuer
        found = _json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found.get("issuer") != issuer or not all(_safe(found.get(name)) for name in wanted):
            raise Refused(_AWAY)
        return found

    def _subject(self, token: str, nonce: str, described: Mapping[str, str]) -> str:
        keys = KeySet.import_key_set(_json(described["jwks_uri"]))  # type: ignore[arg-type]
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        jwt.JWTClaimsRegistry(
            leeway=SLACK_SECONDS,
            iss={"essential": True, "value": self._provider.issuer},
            aud={"essential": True, "value": self._provider.client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
        return str(claims["sub"])


def _json(address: str) -> dict[str, Any]:
    if not _safe(address):
        raise Refused(_AWAY)
    try:
        answer = requests.get(address, timeout=SECONDS, allow_redirects=False)
        answer.raise_for_status()
        found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise Refused(_AWAY) from error
    if not isinstance(found, dict):
        raise Refused(_AWAY)
    return found


def _safe(address: object) -> bool:
    """TLS, or this very machine."""
    parts = urlsplit(address) if isinstance(address, str) else None
    return parts is not None and (parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost"))
