"""What stands before a page: without a session nobody gets past it, over HTTP or the websocket.

The gate answers the addresses of signing in and out itself, lets a request through whose cookie opens a session that
is still good, and refuses all others. A host that isn't ours is refused, and so is whatever changes something or opens
a websocket with an Origin that is foreign or missing. Every answer carries the headers of `HEADERS`.

The session's token is 32 random bytes in a `__Host-` cookie (RFC 6265bis): Secure, HttpOnly, SameSite=Strict, without
a lifetime of its own. Browsers take Secure cookies from this machine's own address without TLS too.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from hansa.errors import Refused
from hansa_dashboard import forms
from hansa_dashboard.forms import SIGN_IN, Form

SIGN_OUT = "/auth/logout"  # where Streamlit's own `st.logout` sends the browser
ELSEWHERE, BACK = "/sign-in/elsewhere", "/sign-in/back"
STATE = "__Host-hansa-state"
MOST_BYTES = 8192  # of a form that is sent
STATE_SECONDS = 600
_SAFE = ("GET", "HEAD")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Away(Protocol):
    """Signing in at an identity provider. `begin` gives the address there and what `finish` must be given again."""

    label: str

    def begin(self) -> tuple[str, str]: ...

    def finish(self, query: str, kept: str) -> bytes: ...


class Doors(Protocol):
    """What a page's own house knows of sessions. `enter` takes a filled form and gives a new token; each may raise
    Refused. `name` is part of the cookie's name: pages on one machine share their cookies, whatever the port."""

    @property
    def name(self) -> str: ...

    @property
    def forms(self) -> Mapping[str, Form]: ...  # by address; `SIGN_IN` is one

    @property
    def away(self) -> Away | None: ...

    def enter(self, path: str, given: Mapping[str, str], address: str) -> bytes: ...

    def holds(self, token: bytes) -> bool: ...

    def sign_out(self, token: bytes) -> None: ...


class Place(NamedTuple):
    """Under which addresses browsers reach the page: scheme, host and port, as an Origin says them."""

    origins: Sequence[str]

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(urlsplit(origin).netloc for origin in self.origins)


def cookie(name: str) -> str:
    return f"__Host-hansa-{name}"


def token_in(cookies: Mapping[str, str], name: str) -> bytes | None:
    """The token that a browser sent; None for what can't be one."""
    given = str(cookies.get(cookie(name)))
    return bytes.fromhex(given) if re.fullmatch(r"[0-9a-f]{64}", given) else None


class Gate:
    """ASGI middleware. `page`: the HTML of the page behind it, whose inline scripts alone may run."""

    def __init__(self, app: App, doors: Doors, place: Place, page: str) -> None:
        self._app, self._doors, self._place = app, doors, place
        self._policy = _content_policy(page, place)
        self._hashing = CapacityLimiter(2)  # a password's hash takes 64 MiB and a core

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if scope["type"] == "websocket":
            if self._at_home(asked) and self._own_origin(asked) and await self._session(asked):
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await self._http(Request(scope, receive), self._with_headers(scope, send))

    async def _http(self, asked: Request, send: Send) -> None:
        answer = await self._answer(asked)
        await (answer or self._app)(asked.scope, asked.receive, send)

    async def _answer(self, asked: Request) -> Response | None:
        """The gate's own answer; None lets the request through."""
        if not self._at_home(asked):
            return PlainTextResponse("no page of this name is here", 421)
        if asked.method not in _SAFE and not self._own_origin(asked):
            return PlainTextResponse("this came from a page that is not ours", 403)
        own = await self._own(asked)
        if own is not None or await self._session(asked):
            return own
        if asked.method in _SAFE and "text/html" in asked.headers.get("accept", ""):
            return RedirectResponse(SIGN_IN, 303)
        return PlainTextResponse("sign in first", 401)

    async def _own(self, asked: Request) -> Response | None:
        """Of the addresses that are there for who has no session, and of signing out."""
        path = asked.url.path
        if path in forms.ASSETS:
            return forms.asset(path)
        if path in self._doors.forms:
            return await self._form(asked, path)
        if self._doors.away is not None and path in (ELSEWHERE, BACK):
            return await self._elsewhere(asked, path, self._doors.away)
        return await self._out(asked) if path == SIGN_OUT else None

    async def _form(self, asked: Request, path: str) -> Response:
        form = self._doors.forms[path]
        if asked.method in _SAFE:
            if path == SIGN_IN and await self._session(asked):
                return RedirectResponse("/", 303)
            return self._shown(path, form)
        if asked.method != "POST":
            return PlainTextResponse("a form is sent by POST", 405)
        try:
            given = await _filled(asked)
            address = asked.client.host if asked.client else ""
            token = await to_thread.run_sync(self._doors.enter, path, given, address, limiter=self._hashing)
        except Refused as refusal:
            return self._shown(path, form, str(refusal))
        return self._let_in(RedirectResponse("/", 303), token)

    def _shown(self, path: str, form: Form, wrong: str = "") -> Response:
        others = {other: one.link for other, one in self._doors.forms.items() if other != path}
        if self._doors.away is not None:
            others[ELSEWHERE] = self._doors.away.label
        return HTMLResponse(forms.html(path, form, others, wrong), 400 if wrong else 200)

    async def _elsewhere(self, asked: Request, path: str, away: Away) -> Response:
        """A cookie binds the way there to the way back. After it the browser goes on by itself: a redirect that began
        at another site would not send a Strict cookie."""
        if path == ELSEWHERE:
            address, kept = await to_thread.run_sync(away.begin)
            answer: Response = RedirectResponse(address, 303)
            answer.set_cookie(STATE, kept, STATE_SECONDS, path="/", secure=True, httponly=True, samesite="lax")
            return answer
        try:
            token = await to_thread.run_sync(away.finish, asked.url.query, asked.cookies.get(STATE, ""))
        except Refused as refusal:
            return self._shown(SIGN_IN, self._doors.forms[SIGN_IN], str(refusal))
        answer = self._let_in(HTMLResponse(forms.onward("/")), token)
        answer.delete_cookie(STATE, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    def _let_in(self, answer: Response, token: bytes) -> Response:
        name = cookie(self._doors.name)
        answer.set_cookie(name, token.hex(), path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def _out(self, asked: Request) -> Response:
        token = token_in(asked.cookies, self._doors.name)
        if token is not None:
            await to_thread.run_sync(self._doors.sign_out, token)
        answer = RedirectResponse(SIGN_IN, 303)
        name = cookie(self._doors.name)
        answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def _session(self, asked: HTTPConnection) -> bool:
        token = token_in(asked.cookies, self._doors.name)
        return token is not None and await to_thread.run_sync(self._doors.holds, token)

    def _at_home(self, asked: HTTPConnection) -> bool:
        """Whether it is addressed to a name of ours, and not to one that somebody tied to this machine."""
        return asked.headers.get("host", "").lower() in self._place.hosts

    def _own_origin(self, asked: HTTPConnection) -> bool:
        return asked.headers.get("origin") in self._place.origins

    def _with_headers(self, scope: Message, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS | {"Content-Security-Policy": self._policy})
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return with_headers


async def _filled(asked: Request) -> dict[str, str]:
    """The fields of a form; refuses what is too long to be one, or is something else."""
    if asked.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
        raise Refused("a form is sent as a form")
    content = b""
    async for chunk in asked.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise Refused("what was filled in is too long")
    try:
        return {name: values[0] for name, values in parse_qs(content.decode(), max_num_fields=20).items()}
    except ValueError as error:
        raise Refused("what was filled in can't be read") from error


def _content_policy(page: str, place: Place) -> str:
    """CSP Level 3. Scripts: ours, and the page's own inline ones by their digest. Streamlit writes the styles of its
    parts into the document, so styles may be inline; they can fetch nothing from elsewhere."""
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(sha256(script.encode()).digest()).decode() for script in inline]
    sockets = [origin.replace("http", "ws", 1) for origin in place.origins]
    parts = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'wasm-unsafe-eval'", *(f"'sha256-{digest}'" for digest in digests)],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'", *sockets],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in parts.items())
