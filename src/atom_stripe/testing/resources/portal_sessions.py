"""
Billing-portal sessions: where customers look after their subscriptions. The page is in ``portal_pages``.

Source: https://docs.stripe.com/api/customer_portal/sessions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import missing
from atom_stripe.testing._state.params import Id, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources.account_links import check_url

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row

SESSION = Kind("billing_portal.session", "bps", refuses=frozenset({"configuration"}))
LINK = "_portal_link"
"""Where the sessions' pages are kept, by what their URLs end with, which no list shows."""

# A session is for going there now. Source: https://docs.stripe.com/customer-management/integrate-customer-portal
LIFETIME = 5 * 60


@route("POST", "/v1/billing_portal/sessions", {"customer": Id(), "return_url": Text(unsettable=False)})
def create(call: Call) -> Row:
    if "customer" not in call.params:
        raise missing("customer")
    customer = call.find("customer", call.params["customer"], "customer")
    return_url = call.params.get("return_url")
    if return_url:
        check_url(return_url, "return_url")
    link = call.add(
        {
            "id": call.ids.token("portal", 32),
            "object": LINK,
            "customer": customer["id"],
            "expires_at": call.now + LIFETIME,
            "return_url": return_url,
        }
    )
    # Without one, the configuration of the Dashboard is the default.
    default = call.account.tables.setdefault("_portal_configuration", {})
    if not default:
        call.add({"id": call.ids.new("bpc"), "object": "_portal_configuration"})
    return {
        "id": call.new_id(SESSION),
        "object": "billing_portal.session",
        "configuration": next(iter(default)),
        "created": call.now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": return_url,
        "url": f"{call.origin}/p/session/{link['id']}",
    }
