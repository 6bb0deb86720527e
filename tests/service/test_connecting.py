"""The OAuth routes, in both frameworks, against the sandbox's consent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from atom_stripe.service import ServiceConfig
from tests.service.conftest import PREFIX

if TYPE_CHECKING:
    from tests.service.conftest import Reply, Visitor, World

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture
def user(world: World) -> Visitor:
    """A user of a service whose users connect their accounts."""
    manager = world.manager()
    return world.mount(client=world.client(oauth=manager), oauth=manager, user="user_1")


def begin(user: Visitor) -> str:
    answer = user.get("/oauth/authorize")
    assert answer.status == 200, answer.body
    return str(answer.json["url"])


def consent(world: World, url: str, **choice: object) -> str:
    """What the browser is sent back to, from its query on."""
    return "?" + urlsplit(world.sandbox.oauth.consent(url, **choice)).query  # type: ignore[arg-type]


def connect(world: World, user: Visitor) -> Reply:
    return user.get("/oauth/callback" + consent(world, begin(user)))


def test_a_script_gets_the_url_and_a_browser_goes_there(world: World, user: Visitor) -> None:
    """JSON for a script, 302 for a browser; the cookie that binds the way back is one that no script reads and that goes over https only."""
    script, browser = user.get("/oauth/authorize"), user.get("/oauth/authorize", headers=BROWSER)
    assert (script.status, browser.status) == (200, 302)
    for answer, url in ((script, script.json["url"]), (browser, browser.headers["location"])):
        assert parse_qs(urlsplit(url).query)["client_id"] == [world.sandbox.oauth.client_id]
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("__host-stripe_oauth=")
        assert {"httponly", "secure", "path=/", "samesite=lax"} <= {part.strip() for part in cookie.split(";")}
    # A second authorization belongs to the same browser session.
    assert script.headers["set-cookie"].split(";")[0] == browser.headers["set-cookie"].split(";")[0]


def test_a_fetch_of_a_page_gets_json(user: Visitor) -> None:
    """A script in a browser cannot follow a redirect to another site, so it is not given one, whatever it accepts."""
    assert user.get("/oauth/authorize", headers={"Accept": "*/*"}).status == 200
    assert user.get("/oauth/authorize", headers={**BROWSER, "Sec-Fetch-Mode": "cors"}).status == 200


def test_a_user_connects_and_calls_go_to_their_account(world: World, user: Visitor) -> None:
    """After the way to Stripe and back, the user's payments are in the user's account, and nobody else's."""
    assert user.get("/oauth/status").json == {"connected": False, "connection": None}
    refused = user.get("/payments")
    assert (refused.status, refused.kind) == (409, "not_connected")
    made = connect(world, user)
    assert (made.status, made.json["connected"], made.json["state"]) == (200, True, "active")
    assert user.get("/oauth/status").json["connection"] == made.json
    payment = user.post("/payments", {"amount": 2000, "currency": "usd"}).json["id"]
    assert [one["id"] for one in user.get("/payments").json["data"]] == [payment]
    assert user.get("/payments", user="platform").json["data"] == []
    assert user.get("/payments", user="user_2").kind == "not_connected"


def test_no_answer_holds_a_token(world: World, user: Visitor) -> None:
    """What a user learns of the connection has neither of its tokens."""
    made = connect(world, user)
    assert b"sk_" not in made.body
    assert b"rt_" not in made.body
    assert {"access_token", "refresh_token"}.isdisjoint(made.json)


def test_the_callback_belongs_to_the_browser_that_began(world: World, user: Visitor) -> None:
    """The same redirect in another browser, or with another state, is refused, and the code is not used up by that."""
    back = consent(world, begin(user))
    kept = dict(user.client.cookies)
    user.client.cookies.clear()
    stranger = user.get("/oauth/callback" + back)
    assert (stranger.status, stranger.kind) == (400, "state_mismatch")
    user.client.cookies.update(kept)
    forged = user.get("/oauth/callback" + back.replace("state=", "state=x"))
    assert (forged.status, forged.kind) == (400, "state_mismatch")
    assert user.get("/oauth/callback" + back).status == 200


def test_a_page_hands_over_code_and_state(world: World, user: Visitor) -> None:
    """A page that posts what came in its URL connects its user."""
    back = parse_qs(consent(world, begin(user))[1:])
    made = user.post("/oauth/callback", {"code": back["code"][0], "state": back["state"][0]})
    assert (made.status, made.json["connected"]) == (200, True)


def test_a_page_that_posts_the_code_alone(world: World, user: Visitor) -> None:
    """The state is taken from the page's own URL, as the browser names it, and only beside the same code."""
    back = consent(world, begin(user))
    code = parse_qs(back[1:])["code"][0]
    for referer in ("", "https://evil.example/" + back, "https://shop.example/?code=ac_other&state=x", "https://[broken"):
        refused = user.post("/oauth/callback", {"code": code}, headers={"Referer": referer})
        assert (refused.status, refused.kind) == (400, "state_missing")
    made = user.post("/oauth/callback", {"code": code}, headers={"Referer": f"https://shop.example/connected{back}"})
    assert (made.status, made.json["connected"]) == (200, True)


def test_a_user_who_says_no(world: World, user: Visitor) -> None:
    """A refusal on Stripe's page is a problem with OAuth's word for it, and nothing is connected."""
    answer = user.get("/oauth/callback" + consent(world, begin(user), deny=True))
    assert (answer.status, answer.kind, answer.json["code"]) == (400, "authorization_denied", "access_denied")
    assert user.get("/oauth/status").json["connected"] is False


def test_browsers_are_sent_on(world: World) -> None:
    """With a page to go to, a browser ends up there with what became of it; a script still gets JSON."""
    manager = world.manager()
    config = ServiceConfig(connected_url="/settings?tab=payments")
    user = world.mount(client=world.client(oauth=manager), oauth=manager, config=config, user="user_1")
    denied = user.get("/oauth/callback" + consent(world, begin(user), deny=True), headers=BROWSER)
    assert (denied.status, denied.headers["location"]) == (302, "/settings?tab=payments&stripe_error=authorization_denied")
    done = user.get("/oauth/callback" + consent(world, begin(user)), headers=BROWSER)
    assert (done.status, done.headers["location"]) == (302, "/settings?tab=payments&stripe=connected")


def test_a_user_disconnects(world: World, user: Visitor) -> None:
    """A connection is ended once, however often it is asked for; without one there is nothing to end."""
    assert user.post("/oauth/disconnect").kind == "not_connected"
    connect(world, user)
    assert [user.post("/oauth/disconnect").json["connected"] for _ in range(2)] == [False, False]
    assert user.get("/payments").kind == "not_connected"


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_a_user_who_disconnected_at_stripe(world: World, profile: str) -> None:
    """Whoever ended the connection in Stripe's Dashboard is asked to connect again, before any webhook came; the service is not to blame."""
    manager = world.manager(profile=profile)
    user = world.mount(client=world.client(oauth=manager), oauth=manager, user="user_1")
    account = connect(world, user).json["account"]
    end = {"connect": world.sandbox.oauth.deauthorize, "stripe_app": world.sandbox.oauth.uninstall}[profile]
    end(account)
    ended = user.get("/payments")
    assert (ended.status, ended.kind) == (409, "reauthorization_required")
    assert user.get("/payments", user="platform").status == 200


@pytest.mark.parametrize("query", ["", "?code=ac_1", "?state=x", "?code=%00&state=x", f"?code={'x' * 600}&state=x"])
def test_a_callback_without_what_it_needs(user: Visitor, query: str) -> None:
    """A redirect that lacks something, or is no redirect of Stripe's, is a problem that says what to do."""
    answer = user.get("/oauth/callback" + query)
    assert answer.status in {400, 422}
    assert answer.json["detail"] or answer.json["errors"]


def test_the_routes_are_there_with_a_manager_only(visitor: Visitor) -> None:
    """Without a manager nothing of OAuth is mounted."""
    assert visitor.get("/oauth/status").status == 404
    assert not [path for path in visitor.get("/").json["endpoints"].values() if "/oauth/" in path["path"]]
    assert visitor.get("/").json["endpoints"]["get_payment"]["path"] == f"{PREFIX}/payments/{{id}}"
