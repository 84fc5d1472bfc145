"""Nobody gets past the gate without a session: the real page behind it, over HTTP and the websocket, no browser."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from streamlit.runtime import Runtime
from streamlit.web.server.starlette.starlette_app import create_streamlit_routes

from hansa.errors import Refused
from hansa.hub import accounts, actions
from hansa.hub.actions import Hub
from hansa_dashboard import gate, serving
from hansa_dashboard.gate import HEADERS
from hansa_dashboard.hub_doors import NAME as COOKIE_OF_HUB
from hansa_dashboard.hub_doors import HubDoors
from tests.test_views import NAME, PASSWORD, hub

__all__ = ["hub"]
PORT = 8599
HERE = f"http://127.0.0.1:{PORT}"
STREAM, SOCKET = "/_stcore/stream", f"ws://127.0.0.1:{PORT}/_stcore/stream"
HTML = {"accept": "text/html"}
SENT = {"origin": HERE, "content-type": "application/x-www-form-urlencoded"}


class Switch:
    """Doors that become another hub's for each test: a process has one Streamlit."""

    doors: HubDoors

    def __getattr__(self, name: str) -> object:
        return getattr(self.doors, name)


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[TestClient, Switch]]:
    switch, Runtime._instance = Switch(), None  # whatever AppTest left there
    app = serving.build("hub.py", switch, PORT)  # type: ignore[arg-type]
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield client, switch
    Runtime._instance = None


@pytest.fixture
def page(hub: Hub, behind: tuple[TestClient, Switch]) -> TestClient:
    client, switch = behind
    client.cookies.clear()
    switch.doors = HubDoors(hub.home)
    return client


def cookie_of(token: bytes) -> dict[str, str]:
    return {"cookie": f"{gate.cookie(COOKIE_OF_HUB)}={token.hex()}"}


def signed_in(hub: Hub) -> dict[str, str]:
    return cookie_of(accounts.sign_in(hub, NAME, PASSWORD))


def sign_in(page: TestClient, name: str = NAME, password: str = PASSWORD, code: str = "") -> httpx.Response:
    return page.post("/sign-in", data={"name": name, "password": password, "code": code}, headers={"origin": HERE})


def every_path(page: TestClient) -> list[str]:
    """Of Streamlit's own routes, parameters filled with something."""
    found = ["/", "/log", "/job?run=" + "0" * 32, "/favicon.png"]
    for route in create_streamlit_routes(page.app._runtime):  # type: ignore[attr-defined]
        path = getattr(route, "path", "")
        if isinstance(route, WebSocketRoute):
            continue
        for name in getattr(route, "param_convertors", {}):
            path = path.replace("{" + name + ":path}", "x").replace("{" + name + "}", "x")
        found.append(path or "/static/index.html")
    return [path for path in found if path != gate.SIGN_OUT]


def test_every_route_refuses_who_has_no_session(page: TestClient) -> None:
    paths = every_path(page)
    assert len(paths) > 10
    for path in paths:
        assert page.get(path, headers=HTML).status_code == 303, path
        assert page.get(path, headers=HTML).headers["location"] == "/sign-in"
        assert page.get(path).status_code == 401, path
        for method in ("post", "put", "delete", "patch", "options"):
            assert page.request(method, path).status_code == 403, (method, path)
            assert page.request(method, path, headers={"origin": HERE}).status_code == 401, (method, path)


def test_the_same_routes_are_there_for_who_has_one(page: TestClient, hub: Hub) -> None:
    given = signed_in(hub)
    assert page.get("/", headers=given).status_code == 200
    assert page.get("/_stcore/health", headers=given).status_code == 200
    assert page.get("/sign-in", headers=given).headers["location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": HERE},
        {"origin": HERE, "cookie": f"{gate.cookie(COOKIE_OF_HUB)}={'0' * 64}"},
        {"origin": HERE, "cookie": f"{gate.cookie(COOKIE_OF_HUB)}=x"},
        {"origin": HERE, "x-auth-user": "ada", "remote-user": "ada", "x-forwarded-user": "ada", "x-remote-user": "ada"},
    ],
)
def test_the_websocket_refuses_who_has_no_session(page: TestClient, headers: dict[str, str]) -> None:
    assert not opens(page, headers)


def test_the_websocket_wants_an_origin_of_ours_beside_a_session(page: TestClient, hub: Hub) -> None:
    given = signed_in(hub)
    assert opens(page, given | {"origin": HERE})
    assert not opens(page, given)
    assert not opens(page, given | {"origin": "http://evil.example"})
    assert not opens(page, given | {"origin": f"https://127.0.0.1:{PORT}"})
    assert not opens(page, given | {"origin": HERE + ".evil.example"})
    assert not opens(page, given | {"origin": HERE, "host": "rebound.example"})


def opens(page: TestClient, headers: dict[str, str]) -> bool:
    try:
        with page.websocket_connect(SOCKET, headers=headers, subprotocols=["streamlit"]):
            return True
    except (WebSocketDisconnect, WebSocketDenialResponse):
        return False


def test_spoofed_identity_headers_are_nobody(page: TestClient) -> None:
    for name in ("x-auth-user", "remote-user", "x-forwarded-user", "x-forwarded-email", "authorization"):
        assert page.get("/", headers={name: NAME}).status_code == 401


def test_a_host_that_is_not_ours_finds_no_page(page: TestClient, hub: Hub) -> None:
    for host in ("rebound.example", "127.0.0.1:1", ""):
        assert page.get("/sign-in", headers=signed_in(hub) | {"host": host}).status_code == 421


def test_every_answer_carries_the_headers_that_browsers_hold_to(page: TestClient, hub: Hub) -> None:
    for answer in (page.get("/sign-in"), page.get("/", headers=signed_in(hub)), page.get("/log"), sign_in(page, "x")):
        assert {name: answer.headers.get(name) for name in HEADERS} == dict(HEADERS)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval", "")
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert answer.headers["cache-control"] == "no-store"


def test_signing_in_gives_a_cookie_that_no_script_and_no_other_page_can_use(page: TestClient) -> None:
    answer = sign_in(page)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    given = answer.headers["set-cookie"]
    assert given.startswith("__Host-hansa-hub=")
    assert {part.strip().lower() for part in given.split(";")[1:]} == {
        "path=/",
        "secure",
        "httponly",
        "samesite=strict",
    }
    token = bytes.fromhex(given.split(";")[0].partition("=")[2])
    assert page.get("/", headers=cookie_of(token)).status_code == 200


def test_signing_out_ends_the_session_and_not_only_the_cookie(page: TestClient, hub: Hub) -> None:
    given = signed_in(hub)
    answer = page.get("/auth/logout", headers=given)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert 'hansa-hub=""' in answer.headers["set-cookie"]
    assert page.get("/", headers=given).status_code == 401
    assert not opens(page, given | {"origin": HERE})


def test_a_form_that_comes_from_elsewhere_is_not_looked_at(page: TestClient) -> None:
    filled = {"name": NAME, "password": PASSWORD}
    assert page.post("/sign-in", data=filled).status_code == 403
    assert page.post("/sign-in", data=filled, headers={"origin": "http://evil.example"}).status_code == 403
    assert page.post("/sign-in", data=filled, headers={"origin": "null"}).status_code == 403


def test_what_is_no_form_is_one_sentence(page: TestClient) -> None:
    for content, sort in (
        (b"x" * 9000, "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"\xff=\xfe&" * 30, "application/x-www-form-urlencoded"),
        (b"", "multipart/form-data; boundary=x"),
    ):
        answer = page.post("/sign-in", content=content, headers={"origin": HERE, "content-type": sort})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
    assert page.put("/sign-in", headers={"origin": HERE}).status_code == 405


def test_markup_in_a_field_comes_back_as_text_or_not_at_all(page: TestClient) -> None:
    hostile = '"><script>alert(1)</script>'
    for data in ({"name": hostile, "password": hostile}, {"token": hostile, "name": hostile, "password": hostile}):
        for path in ("/sign-in", "/welcome"):
            assert "<script>" not in page.post(path, data=data, headers={"origin": HERE}).text


def test_guessing_gets_slower_for_an_account_whether_it_is_there_or_not(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts.time, "time", lambda: 1_800_000_000.0)
    for name in (NAME, "nobody"):
        said = [sign_in(page, name, "guess number one")] + [sign_in(page, name, f"guess {n}") for n in range(5)]
        assert ["Name or password is wrong." in answer.text for answer in said] == [True] * 5 + [False]
        assert "Too many attempts: the next is looked at in" in said[-1].text
    assert "Too many attempts" in sign_in(page).text  # the right password waits too


def test_spraying_one_password_over_many_names_gets_slower_by_address(
    page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts.time, "time", lambda: 1_800_000_000.0)
    said = [sign_in(page, f"name{number}", "Winter2026!Winter") for number in range(22)]
    assert sum("Too many attempts" in answer.text for answer in said) == 2
    assert "Too many attempts" in sign_in(page).text


def test_an_invitation_lets_one_person_in_once(page: TestClient, hub: Hub) -> None:
    token = accounts.invite(hub, None, "ann", "east", "administrator")
    filled = {"token": token, "name": "ann", "password": "a password of my own"}
    first = page.post("/welcome", data=filled, headers={"origin": HERE})
    assert first.status_code == 303
    second = page.post("/welcome", data=filled | {"password": "another password"}, headers={"origin": HERE})
    assert "This invitation is not good" in second.text
    assert sign_in(page, "ann", "a password of my own").status_code == 303
    assert sign_in(page, "ann", "another password").status_code == 400


def test_the_identity_provider_lets_in_who_is_tied_to_a_name_and_nobody_else(
    page: TestClient, hub: Hub, behind: tuple[TestClient, Switch]
) -> None:
    with oidc_provider_mock.run_server_in_thread() as server:
        issuer = f"http://localhost:{server.server_port}"
        (hub.home / "oidc.secret").write_text("what we share\n")
        told = (
            f'[page.provider]\nissuer = "{issuer}"\nclient_id = "hansa"\nsecret_file = "oidc.secret"\nname = "Clinic"\n'
        )
        (hub.home / "hub.toml").write_text((hub.home / "hub.toml").read_text() + told)
        accounts.tie(hub, None, "olga", "west", "analyst", f"{issuer} olga@clinic.example")
        behind[1].doors = HubDoors(hub.home)
        behind[1].doors.open_page(HERE)
        assert "Sign in with Clinic" in page.get("/sign-in").text
        came = through(page, "olga@clinic.example")
        assert came.status_code == 200
        assert 'http-equiv="refresh"' in came.text
        token = came.headers["set-cookie"].split(";")[0].partition("=")[2]
        assert actions.who(hub, bytes.fromhex(token)) == ("olga", "west")
        assert "Nobody here is tied to this account" in through(page, "eve@clinic.example").text
        assert "was not sent to the identity provider from here" in through(page, "olga@clinic.example", "").text
        other = ".".join("x" * 43 for _ in range(3))
        assert "does not hold" in through(page, "olga@clinic.example", other).text


def through(page: TestClient, subject: str, kept: str | None = None) -> httpx.Response:
    """To the provider, which is asked to sign `subject` in, and back; with another state cookie if one is given."""
    away = page.get("/sign-in/elsewhere")
    assert away.status_code == 303
    state = away.headers["set-cookie"].split(";")[0].partition("=")[2]
    back = httpx.post(away.headers["location"], data={"sub": subject}, follow_redirects=False).headers["location"]
    assert back.startswith(f"{HERE}/sign-in/back?")
    assert parse_qs(urlsplit(back).query)["state"]
    cookies = {"cookie": f"{gate.STATE}={state if kept is None else kept}"}
    return page.get(back.removeprefix(HERE), headers=cookies)


def test_a_page_under_an_address_without_tls_is_refused(hub: Hub) -> None:
    (hub.home / "hub.toml").write_text((hub.home / "hub.toml").read_text() + '[page]\nurl = "http://hansa.example"\n')
    with pytest.raises(Refused, match=r"'page.url' is https"):
        HubDoors(hub.home).open_page(HERE)


def test_there_is_a_route_that_is_a_websocket(page: TestClient) -> None:
    """What the tests above rest on: the stream is where they knock."""
    routes = create_streamlit_routes(page.app._runtime)  # type: ignore[attr-defined]
    assert [route.path for route in routes if isinstance(route, WebSocketRoute)] == [STREAM]
    assert any(isinstance(route, Route) for route in routes)
