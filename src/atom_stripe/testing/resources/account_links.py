"""
Account links: where a platform sends the owner of a connected account to set it up. Each can be opened once, for five minutes.

Source: https://docs.stripe.com/api/account_links
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atom_stripe.testing._state.errors import exclusive, invalid, missing, no_such
from atom_stripe.testing._state.params import Choice, Hash, Id, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.courier import is_local
from atom_stripe.testing.resources.account import row_of

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

ACCOUNT_LINK = Kind("account_link", "")
LINK = "_account_link"
"""Where links are kept in the platform's account: by what their URLs end with, which no list shows."""

_LIFETIME = 5 * 60
_FIELDS = Choice(("currently_due", "eventually_due"))


@route(
    "POST",
    "/v1/account_links",
    {
        "account": Id(required=True),
        "collect": _FIELDS,
        "collection_options": Hash({"fields": _FIELDS, "future_requirements": Choice(("include", "omit"))}),
        "refresh_url": Text(unsettable=False),
        "return_url": Text(unsettable=False),
        "type": Choice(("account_onboarding", "account_update"), required=True),
    },
)
def create(call: Call) -> Row:
    params = call.params
    if "collect" in params and "collection_options" in params:
        raise exclusive("collect", "collection_options")
    for name in ("refresh_url", "return_url"):
        if name not in params:
            raise missing(name)
        check_url(params[name], name)
    account = call.machine.accounts.get(params["account"])
    if account is None or account.platform is None or account.platform != call.account.id:
        raise no_such("account", params["account"], "account")
    if not account.controller:
        raise invalid(
            "The owner of this account sets it up in the Dashboard; links are for accounts that the platform made.", "account"
        )
    row = row_of(account)
    if params["type"] == "account_update" and row["controller"]["requirement_collection"] != "application":
        message = "account_update is for accounts whose requirements the platform collects; send type=account_onboarding."
        raise invalid(message, "type")
    link = call.add(
        {
            "id": call.ids.token("account_link", 32),
            "object": LINK,
            "account": account.id,
            "expires_at": call.now + _LIFETIME,
            "refresh_url": params["refresh_url"],
            "return_url": params["return_url"],
            # From new to opened, when the owner came, to closed, when the owner was sent back.
            "status": "new",
        }
    )
    if not row["_linked"]:
        call.after(_note, account.id)
    return {
        "object": "account_link",
        "created": call.now,
        "expires_at": link["expires_at"],
        "url": f"{call.origin}/setup/s/{link['id']}",
    }


def _note(work: Transaction) -> None:
    work.change(row_of(work.account))["_linked"] = True


def check_url(url: str, name: str) -> None:
    """Refuse where a browser cannot be sent. Without TLS it stays on this machine."""
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname) and (parts.scheme == "https" or is_local(url))
    except ValueError:
        complete = False
    if not complete or not url.isprintable() or " " in url:
        message = f"{name} must be a complete URL with https://; http:// is for this machine only, such as http://localhost:8000/."
        raise invalid(message, name, code="url_invalid")
