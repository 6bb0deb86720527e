"""The end of access in the sandbox: by the platform, by the merchant, and by a code that is used twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atom_stripe.errors import ConfigurationError
from tests.canary import API_KEY
from tests.sandbox.asking import Asking
from tests.sandbox.connecting import APP, CONNECT, World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.sandbox:
        yield world


def test_deauthorize(world: World) -> None:
    """The platform ends a connection: access and tokens go, and the last event of the account says so."""
    token = world.exchanged()
    account = token["stripe_user_id"]
    reply = world.send("/oauth/deauthorize", client_id=world.oauth.client_id, stripe_user_id=account)
    assert (reply.status, json.loads(reply.body)) == (200, {"stripe_user_id": account})
    assert (world.heard[-1]["type"], world.heard[-1]["account"]) == ("account.application.deauthorized", account)
    assert world.heard[-1]["data"]["object"]["id"] == world.oauth.client_id
    assert (world.status(token["access_token"])[0], world.status(API_KEY, account=account)) == (401, (403, "account_invalid"))
    assert all(delivery.ok for delivery in world.sandbox.webhooks.deliveries)


def test_the_four_meanings_of_invalid_client(world: World) -> None:
    """Their descriptions tell them apart: another client id, another mode, no connection, and an account that the platform controls."""
    account = world.exchanged()["stripe_user_id"]
    made = world.sandbox._machine.open_account()
    made.controller, made.platform = True, world.sandbox.account
    ours = world.oauth.client_id
    asked = [("ca_stranger", account), (world.oauth.live_client_id, account), (ours, "acct_stranger"), (ours, made.id)]
    found = [world.refused("/oauth/deauthorize", client_id=client, stripe_user_id=user) for client, user in asked]
    assert {entry[:2] for entry in found} == {(401, "invalid_client")}
    marks = [
        "No application matches",
        "live mode",
        "not connected to stripe account acct_stranger",
        "no_deauth_on_controlled_account",
    ]
    assert [[mark in entry[2] for mark in marks].index(True) for entry in found] == [0, 1, 2, 3]
    assert world.refused("/oauth/deauthorize", client_id=ours)[1] == "invalid_request"
    assert world.refused("/oauth/deauthorize", stripe_user_id=account)[1] == "invalid_request"
    assert world.refused("/oauth/deauthorize", key=None, client_id=ours, stripe_user_id=account)[:2] == (401, "invalid_client")
    assert world.status(API_KEY, account=account) == (200, None)
    assert world.status(API_KEY, account=made.id) == (200, None)


def test_an_account_that_was_never_asked(world: World) -> None:
    """sandbox.connect() makes a connection like any other, which can be ended and begun again."""
    other, account = (world.sandbox.connect().id for _ in range(2))
    assert world.status(API_KEY, account=account)[0] == 200
    world.oauth.deauthorize(account)
    assert [world.status(API_KEY, account=identity)[0] for identity in (other, account)] == [200, 403]
    world.exchanged(account)
    assert world.status(API_KEY, account=account)[0] == 200


def test_a_merchant_who_removes_everything(world: World) -> None:
    """In the Dashboard the platform goes with its app, and each says goodbye."""
    token = world.exchanged(app=True)
    account = token["stripe_user_id"]
    world.exchanged(account)
    world.heard.clear()
    world.oauth.deauthorize(account)
    assert sorted(world.types) == ["account.application.deauthorized"] * 2 + ["apps.install.deleted"]
    assert world.status(API_KEY, account=account) == (403, "account_invalid")


def test_unused_codes_end_with_the_access(world: World) -> None:
    """A code that was given before the merchant left is worth nothing afterwards."""
    account = world.exchanged()["stripe_user_id"]
    code = world.code(account)
    world.oauth.deauthorize(account)
    assert world.refused(CONNECT, grant_type="authorization_code", code=code)[:2] == (400, "invalid_grant")
    assert world.status(API_KEY, account=account)[0] == 403


def test_an_app_is_installed_by_consent(world: World) -> None:
    """The consent installs the app, and the merchant who uninstalls it ends its tokens; Connect's access is another matter."""
    token = world.exchanged(app=True)
    account = token["stripe_user_id"]
    assert world.types == ["account.application.authorized", "apps.install.created"]
    connected = world.exchanged(account)
    world.oauth.uninstall(account)
    assert world.types[-2:] == ["apps.install.deleted", "account.application.deauthorized"]
    assert world.heard[-1]["data"]["object"]["id"] == world.oauth.app_client_id
    assert [world.status(entry["access_token"])[0] for entry in (token, connected)] == [401, 200]
    assert world.refused(APP, grant_type="refresh_token", refresh_token=token["refresh_token"])[1] == "invalid_grant"
    with pytest.raises(ConfigurationError):
        world.oauth.uninstall(account)


def test_a_code_that_is_used_twice(world: World) -> None:
    """The second use of a code of Connect's ends the connection that the first one gave, with its tokens."""
    code = world.code()
    token = world.token(CONNECT, grant_type="authorization_code", code=code)
    assert world.refused(CONNECT, grant_type="authorization_code", code=code)[:2] == (400, "invalid_grant")
    assert world.types == ["account.application.authorized", "account.application.deauthorized"]
    assert world.status(token["access_token"]) == (401, None)
    assert world.status(API_KEY, account=token["stripe_user_id"]) == (403, "account_invalid")
    assert world.refused(CONNECT, grant_type="refresh_token", refresh_token=token["refresh_token"])[1] == "invalid_grant"


def test_the_owner_of_an_account_that_the_platform_made(world: World) -> None:
    """The test can be the owner who finishes the onboarding, and Stripe which asks for more; each is told to the platform."""
    account = Asking(world.sandbox).post("/v1/accounts", type="express", capabilities={"card_payments": {"requested": True}})["id"]
    assert world.sandbox.complete_onboarding(account)["charges_enabled"]
    row = world.sandbox.require(account, "individual.verification.document")
    assert (row["charges_enabled"], [name for name in row if name.startswith("_")]) == (False, [])
    assert world.types.count("account.updated") == 2
    for wrong in ("acct_stranger", world.sandbox.account):
        with pytest.raises(ConfigurationError):
            world.sandbox.complete_onboarding(wrong)
        with pytest.raises(ConfigurationError):
            world.sandbox.require(wrong, "business_type")
