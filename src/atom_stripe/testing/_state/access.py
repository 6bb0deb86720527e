"""
Who asks: API keys, accounts and API versions.

Any test key opens the sandbox, which keeps no list of keys; a live key never does. Source: https://docs.stripe.com/keys
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atom_stripe.config import API_VERSION
from atom_stripe.testing._state.errors import Refusal, invalid, unsupported
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


def is_live(key: str) -> bool:
    """Return whether *key* could move real money."""
    return "_live_" in key


def find_account(headers: Mapping[str, str], own: Account, accounts: Mapping[str, Account]) -> Account:
    """Return the account that a request works in: the key's own, or one that is connected to it."""
    wanted = headers.get("stripe-account") or headers.get("stripe-context")
    if not wanted:
        return own
    if "/" in wanted:
        raise unsupported("A Stripe-Context of several accounts")
    if wanted not in accounts:
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
