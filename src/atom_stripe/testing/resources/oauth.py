"""
OAuth: codes and refresh tokens for access tokens, and the end of a connection.

Connect's endpoints are at connect.stripe.com, that of Stripe Apps is at api.stripe.com; here all are at the sandbox. Sources:
https://docs.stripe.com/connect/oauth-reference and https://docs.stripe.com/stripe-apps/api-authentication/oauth
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state import grants
from atom_stripe.testing._state.grants import OAuthRefusal
from atom_stripe.testing._state.routing import endpoint

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row


@endpoint("/oauth/token", issues=True, restricted=True)
def connect_token(call: Call) -> Row:
    """Connect: access tokens do not expire, and the refresh token stays."""
    applications = call.machine.applications
    clients = (applications.client_id, applications.live_client_id)
    if _grant_type(call) == "authorization_code":
        code = grants.redeem(call, applications, clients, _required(call, "code"))
        client, account, scope = code["client"], code["account"], code["scope"]
        refresh = grants.issue_refresh(call, client, account, scope)
        call.after(grants.admitted(call.account.id, applications, client), account)
    else:
        row = grants.refreshable(call, clients, _required(call, "refresh_token"))
        client, account, refresh = row["client"], row["account"], row["id"]
        scope = call.params.get("scope") or row["scope"]
        if not grants.covers(row["scope"], scope):
            raise OAuthRefusal("invalid_scope", "The scope must be that of the refresh token or less.")
        grants.end_access(call, client, account, scope)
    return _answer(call, account, scope, grants.issue_access(call, client, account, scope), refresh)


@endpoint("/v1/oauth/token", issues=True, restricted=False)
def app_token(call: Call) -> Row:
    """Stripe Apps: access tokens live for an hour, and each refresh token for one use."""
    applications = call.machine.applications
    client = applications.app_client_id
    if _grant_type(call) == "authorization_code":
        account = grants.redeem(call, applications, (client,), _required(call, "code"), call.params.get("code_verifier"))["account"]
    else:
        row = grants.refreshable(call, (client,), _required(call, "refresh_token"))
        account = row["account"]
        grants.end(call, row)
    access = grants.issue_access(call, client, account, grants.APP_SCOPE, applications.access_token_lifetime)
    refresh = grants.issue_refresh(call, client, account, grants.APP_SCOPE, grants.REFRESH_LIFETIME)
    return _answer(call, account, grants.APP_SCOPE, access, refresh)


@endpoint("/oauth/deauthorize", issues=False, restricted=True)
def deauthorize(call: Call) -> Row:
    """
    End a connection.

    ``invalid_client`` has four meanings, which only the descriptions tell apart. Source: https://docs.stripe.com/connect/oauth-reference
    """
    applications = call.machine.applications
    client, identity = _required(call, "client_id"), _required(call, "stripe_user_id")
    if client == applications.live_client_id:
        message = "The API key is of test mode and the client_id of live mode: the modes must be the same."
        raise OAuthRefusal("invalid_client", message)
    if client != applications.client_id:
        raise OAuthRefusal("invalid_client", "No application matches the supplied client identifier.")
    account = call.machine.accounts.get(identity)
    if account is not None and account.controller:
        message = "no_deauth_on_controlled_account: the platform made this account and controls it, so it can be rejected only."
        raise OAuthRefusal("invalid_client", message)
    if account is None or client not in account.applications:
        # The beginning is Stripe's own, because clients can only tell by it that there is nothing left to end.
        message = f"This application is not connected to stripe account {identity[:255]}, or that account does not exist."
        raise OAuthRefusal("invalid_client", message)
    call.after(grants.dismissed(call.account.id, applications, client), identity)
    return {"stripe_user_id": identity}


def _grant_type(call: Call) -> str:
    grant: str = _required(call, "grant_type")
    if grant not in grants.GRANT_TYPES:
        raise OAuthRefusal("unsupported_grant_type", f"The grant_type must be {' or '.join(grants.GRANT_TYPES)}.")
    return grant


def _required(call: Call, name: str) -> str:
    value: str = call.params.get(name, "")
    if not value:
        raise OAuthRefusal("invalid_request", f"The parameter {name} is required.")
    return value


def _answer(call: Call, account: str, scope: str, access: str, refresh: str) -> Row:
    return {
        "access_token": access,
        "livemode": False,
        "refresh_token": refresh,
        "token_type": "bearer",
        "stripe_publishable_key": grants.publishable_key(call, account),
        "stripe_user_id": account,
        "scope": scope,
    }
