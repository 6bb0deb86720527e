"""
Who asks: API keys, accounts and API versions.

Any test key opens the sandbox, which keeps no list of keys; a live key never does. Source: https://docs.stripe.com/keys
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atom_stripe.config import API_VERSION
from atom_stripe.testing._state import grants
from atom_stripe.testing._state.errors import Refusal, invalid, unsupported
from atom_stripe.testing._state.grants import OAuthRefusal
from atom_stripe.testing._state.requests import api_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.store import Account

_TEST_KEY = re.compile(r"(?:sk|rk)_test_[A-Za-z0-9_]{1,247}")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z]+)?")
_UNAUTHORIZED = {"WWW-Authenticate": 'Basic realm="Stripe"'}


def check_key(headers: Mapping[str, str]) -> None:
    """Let a test key pass. The key itself is in no answer."""
    key = api_key(headers)
    if key is None:
        raise _unauthorized("There is no API key. Send one as a bearer token: Authorization: Bearer sk_test_…")
    if is_live(key):
        raise _unauthorized(
            "This is a sandbox and takes no live keys. Use a test key, and roll the live one if it does not belong here."
        )
    if key.startswith("pk_"):
        raise _unauthorized("This is a publishable key, and the operation needs a secret one.", code="secret_key_required")
    if not _TEST_KEY.fullmatch(key):
        raise _unauthorized("The API key is not valid. The sandbox takes any key that begins with sk_test_ or rk_test_.")


def key_account(headers: Mapping[str, str], method: str, own: Account, accounts: Mapping[str, Account], now: int) -> Account:
    """Return the account that a test key belongs to: the sandbox's own, or for an access token the one that gave it."""
    key = api_key(headers) or ""
    if not key.startswith(grants.ACCESS_PREFIX):
        return own
    token = own.table(grants.ACCESS).get(key)
    if token is None:
        raise _unauthorized("The access token is not one that this sandbox has given.")
    if token["ended"]:
        raise _unauthorized("The access token is no longer valid: the account has revoked it, or it was replaced by another.")
    if token["expires"] is not None and now >= token["expires"]:
        raise _unauthorized("The access token has expired. Refresh it.", code="api_key_expired")
    if token["scope"] == "read_only" and method != "GET":
        raise Refusal(403, "The access token has the scope read_only, and this operation writes.")
    return accounts[token["account"]]


def check_developer(headers: Mapping[str, str], client_secret: str | None, *, restricted: bool) -> None:
    """Let the platform's own secret key pass, which OAuth's endpoints also take as ``client_secret``. *restricted*: ``rk_`` keys, too."""
    key = api_key(headers) or client_secret
    if key is None:
        raise OAuthRefusal("invalid_client", "There is no API key. Authenticate with the secret key of the platform or of the app.")
    if is_live(key):
        raise OAuthRefusal("invalid_client", "This is a sandbox and takes no live keys.")
    if key.startswith(grants.ACCESS_PREFIX):
        message = "This is an access token. Authenticate with the secret key of the platform or of the app itself."
        raise OAuthRefusal("invalid_client", message)
    if not _TEST_KEY.fullmatch(key) or (key.startswith("rk_") and not restricted):
        raise OAuthRefusal("invalid_client", "This is not a secret key that may do this: it must begin with sk_test_.")


def is_live(key: str) -> bool:
    """Return whether *key* could move real money."""
    return "_live_" in key


def find_account(headers: Mapping[str, str], own: Account, accounts: Mapping[str, Account]) -> Account:
    """Return the account that a request works in: *own*, the key's, or one that is connected to it."""
    wanted = headers.get("stripe-account") or headers.get("stripe-context")
    if not wanted:
        return own
    if "/" in wanted:
        raise unsupported("A Stripe-Context of several accounts")
    if wanted == own.id:
        return own
    if wanted not in accounts or accounts[wanted].platform != own.id:
        message = "The key has no access to the account in Stripe-Account, or there is no such account."
        raise Refusal(403, message, code="account_invalid")
    return accounts[wanted]


def check_version(headers: Mapping[str, str]) -> str:
    """
    Return the API version of a request. Versions of one name (``.endive``) have the same shapes; those of another do not.

    Source: https://docs.stripe.com/api/versioning
    """
    version = headers.get("stripe-version") or API_VERSION
    if not _VERSION.fullmatch(version):
        raise invalid("The Stripe-Version is malformed; versions look like " + API_VERSION + ".")
    if version.partition(".")[2] != API_VERSION.partition(".")[2]:
        raise unsupported(f"Version {version}, which has other shapes than {API_VERSION},")
    return version


def _unauthorized(message: str, code: str | None = None) -> Refusal:
    return Refusal(401, message, code=code, headers=_UNAUTHORIZED)
