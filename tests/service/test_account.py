"""Who calls, whose money it is, and how much there is, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.asking import NO_REDIRECTS, Asking

if TYPE_CHECKING:
    from tests.service.conftest import Visitor, World

BRIEF = {"id", "business_name", "country", "default_currency", "charges_enabled", "payouts_enabled", "details_submitted"}


def mounted(world: World, **settings: Any) -> Visitor:
    """A user of a service whose users connect their accounts."""
    manager = world.manager(**settings)
    return world.mount(client=world.client(oauth=manager), oauth=manager, user="user_1")


def connect(world: World, user: Visitor) -> str:
    """Connect the user, and return the account."""
    url = user.get("/oauth/authorize").json["url"]
    made = user.get("/oauth/callback?" + urlsplit(world.sandbox.oauth.consent(url)).query)
    assert made.status == 200, made.body
    return str(made.json["account"])


def test_the_platform(visitor: Visitor) -> None:
    """Without OAuth, whoever calls acts for the platform's own account, which has no connection."""
    profile = visitor.get("/profile", user="user_1")
    account = visitor.get("/account", user="user_1").json
    assert profile.status == 200
    assert (profile.json["user_id"], profile.json["platform"], profile.json["connection"]) == ("user_1", True, None)
    assert profile.json["livemode"] is False
    assert profile.json["account"].keys() == BRIEF
    assert profile.json["account"]["id"] == account["id"]
    assert (account["object"], profile.json["account"]["country"]) == ("account", account["country"])


@pytest.mark.parametrize("profile", ["connect", "stripe_app"])
def test_a_connected_user(world: World, profile: str) -> None:
    """A user sees the connection and the connected account; the platform its own; and neither sees a token."""
    user = mounted(world, profile=profile)
    own = user.get("/profile", user="platform").json["account"]["id"]
    account = connect(world, user)
    found = user.get("/profile")
    assert found.status == 200
    assert (found.json["user_id"], found.json["platform"], found.json["account"]["id"]) == ("user_1", False, account)
    assert (found.json["connection"]["account"], found.json["connection"]["state"]) == (account, "active")
    assert found.json["connection"] == user.get("/oauth/status").json["connection"]
    assert {"access_token", "refresh_token"}.isdisjoint(found.json["connection"])
    assert b"rt_" not in found.body
    assert b"sk_" not in found.body
    whole = user.get("/account")
    assert (whole.status, whole.json["id"], whole.json["object"]) == (200, account, "account")
    assert "capabilities" in whole.json
    assert account != own == user.get("/account", user="platform").json["id"]


def test_a_user_who_is_not_connected(world: World) -> None:
    """The profile of somebody without a connection says so; their account and balance are problems, since there are none."""
    user = mounted(world)
    profile = user.get("/profile")
    assert profile.status == 200
    assert (profile.json["user_id"], profile.json["platform"]) == ("user_1", False)
    assert (profile.json["connection"], profile.json["account"]) == (None, None)
    for path in ("/account", "/balance"):
        refused = user.get(path)
        assert (refused.status, refused.kind) == (409, "not_connected")


def test_a_user_who_left(world: World) -> None:
    """After a disconnection, the profile still tells of the connection that was, and of no account."""
    user = mounted(world)
    account = connect(world, user)
    assert user.post("/oauth/disconnect").status == 200
    profile = user.get("/profile")
    assert (profile.status, profile.json["account"]) == (200, None)
    assert profile.json["connection"]["connected"] is False
    assert user.get("/profile", user="platform").json["account"]["id"] != account


def test_a_user_who_left_an_app(world: World) -> None:
    """Where the user uninstalled the app at Stripe, the profile finds out, and is no error."""
    user = mounted(world, profile="stripe_app")
    world.sandbox.oauth.uninstall(connect(world, user))
    answer = user.get("/profile")
    assert (answer.status, answer.json["account"]) == (200, None)
    assert answer.json["connection"]["state"] == "reauthorization_required"


def test_a_user_who_left_at_stripe(world: World) -> None:
    """Where the user ended the connection at Stripe and no webhook has said so yet, there is no account, and that is no error."""
    user = mounted(world)
    world.sandbox.oauth.deauthorize(connect(world, user))
    answer = user.get("/profile")
    assert (answer.status, answer.json["account"]) == (200, None)


def test_a_refused_key_is_no_lost_connection(world: World) -> None:
    """When Stripe refuses the service's own key, the user's profile is a problem: their connection is as it was."""
    user = mounted(world)
    connect(world, user)
    world.sandbox.faults.next(status=401)
    assert user.get("/profile").kind == "service_misconfigured"
    assert user.get("/profile").status == 200


def test_the_name_of_the_business(world: World, visitor: Visitor) -> None:
    """The name is the one that customers see, and for want of it the one in the Dashboard."""
    assert visitor.get("/profile").json["account"]["business_name"] is None
    named = Asking(world.sandbox).post("/v1/accounts", country="DE", type="standard", business_profile={"name": "Schuhe"})["id"]
    shop = world.mount(client=world.client(stripe_account=named))
    account = shop.get("/profile").json["account"]
    assert (account["business_name"], account["country"], account["default_currency"]) == ("Schuhe", "DE", "eur")
    assert account["charges_enabled"] is False


def test_the_balance_is_of_the_account_that_calls_go_to(world: World) -> None:
    """A user's payment is on the user's balance, in minor units with their currency, and not on the platform's."""
    user = mounted(world)
    account = connect(world, user)
    Asking(world.sandbox, account=account).post(
        "/v1/payment_intents", amount=2000, currency="usd", payment_method="pm_card_visa", **NO_REDIRECTS
    )
    balance = user.get("/balance")
    assert (balance.status, balance.json["object"]) == (200, "balance")
    (pending,) = balance.json["pending"]
    assert (pending["currency"], 0 < pending["amount"] < 2000) == ("usd", True)
    assert [one["amount"] for one in user.get("/balance", user="platform").json["pending"]] == [0]


@pytest.mark.parametrize("path", ["/profile", "/account", "/balance"])
def test_nobody_sees_nothing(visitor: Visitor, path: str) -> None:
    """Without a caller there is no profile, no account and no balance, and parameters that nobody knows are refused."""
    assert visitor.get(path, user=None).status == 401
    refused = visitor.get(f"{path}?account=acct_1")
    assert (refused.status, refused.json["errors"][0]["parameter"]) == (422, "account")


@pytest.mark.parametrize("path", ["/profile", "/account", "/balance"])
def test_a_failure_of_stripe_is_a_problem(world: World, visitor: Visitor, path: str) -> None:
    """When Stripe refuses the key, the caller learns that the service is misconfigured and nothing else."""
    world.sandbox.faults.next(status=401)
    answer = visitor.get(path)
    assert (answer.status, answer.kind) == (502, "service_misconfigured")
    assert b"sk_test" not in answer.body
