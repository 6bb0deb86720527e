"""
The page of a billing-portal session: a customer's subscriptions, invoices and card.

Source: https://docs.stripe.com/customer-management
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.browsing import Shown, escaped, page
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing.resources import payment_methods, subscriptions
from atom_stripe.testing.resources.portal_sessions import LINK
from atom_stripe.testing.resources.subscription_rows import ENDED, period

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.testing._state.browsing import Visit
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction


@page("GET", "/p/session/{token}")
def show(visit: Visit) -> Shown:
    """Show what the customer has."""
    found = _link(visit)
    return _gone() if found is None else _shown(*found, None)


@page("POST", "/p/session/{token}")
def act(visit: Visit) -> Shown:
    """Do what the button says: cancel at the end of the period, go on after all, or pay with another card."""
    found = _link(visit)
    if found is None:
        return _gone()
    account, link = found
    jobs: dict[str | None, Callable[[Transaction], None]] = {
        "cancel": lambda work: _end(work, link, visit, ends=True),
        "resume": lambda work: _end(work, link, visit, ends=False),
        "card": lambda work: _card(work, link, visit),
    }
    job = jobs.get(visit.form.get("action"))
    if job is None:
        return Shown.html(400, "<h1>Nothing was chosen</h1>\n<p>The form has an action: cancel, resume or card.</p>")
    try:
        visit.machine.perform(job, account)
    except Refusal as refusal:
        return _shown(account, link, str(refusal))
    return _shown(account, link, None)


def _end(work: Transaction, link: Row, visit: Visit, *, ends: bool) -> None:
    subscription = work.find("subscription", visit.form.get("subscription", ""))
    if subscription["customer"] != link["customer"] or subscription["status"] in ENDED:
        raise Refusal(404, "There is no such subscription.")
    subscriptions.end_with_period(work, subscription, ends=ends)


def _card(work: Transaction, link: Row, visit: Visit) -> None:
    """Keep another card, as the default of the customer and of the subscriptions that had one."""
    customer = work.find("customer", link["customer"])
    card = {"number": visit.form.get("card", ""), "exp_month": 8, "exp_year": work.clock.now.year + 1, "cvc": "123"}
    method = payment_methods.attach_to(work, payment_methods.create_from(work, {"card": card}), customer["id"])
    work.change(customer)["invoice_settings"]["default_payment_method"] = method["id"]
    work.emit("customer.updated", customer)
    for subscription in list(work.rows("subscription")):
        if subscription["customer"] == customer["id"] and subscription["default_payment_method"]:
            subscriptions.use_method(work, subscription, method["id"])


def _shown(account: Account, link: Row, error: str | None) -> Shown:
    own = [row for row in account.table("subscription").values() if row["customer"] == link["customer"]]
    live = "".join(_subscription(row) for row in own if row["status"] not in ENDED) or "<p>There is no subscription.</p>"
    invoices = "".join(
        f'<li><a href="{escaped(row["hosted_invoice_url"])}">{escaped(row["number"])}</a>, {row["status"]}</li>'
        for row in account.table("invoice").values()
        if row["customer"] == link["customer"] and row["hosted_invoice_url"]
    )
    warning = f'<p id="error" role="alert">{escaped(error)}</p>\n' if error else ""
    back = f'<p><a id="return" href="{escaped(link["return_url"])}">Back</a></p>' if link["return_url"] else ""
    return Shown.html(
        200,
        f"<h1>Your subscriptions</h1>\n{warning}{live}\n<h2>Invoices</h2>\n<ul>{invoices}</ul>\n<h2>Card</h2>\n"
        '<form method="post"><p><label>Card <input id="card" name="card" value="4242424242424242" required></label></p>'
        f'<button id="save" name="action" value="card">Save card</button></form>\n{back}',
        title="Billing portal",
    )


def _subscription(row: Row) -> str:
    ends = row["cancel_at_period_end"]
    day = datetime.fromtimestamp(period(row)[1], UTC).date().isoformat()
    items = ", ".join(
        f"{item['quantity']} at {escaped(str(Money.from_minor(item['price']['unit_amount'], row['currency'])))}"
        for item in row["items"]["data"]
    )
    action, label = ("resume", "Do not cancel") if ends else ("cancel", "Cancel subscription")
    return (
        f"<p>{items}, {row['status']}, {'ends' if ends else 'renews'} on {day}</p>"
        f'<form method="post"><input type="hidden" name="subscription" value="{row["id"]}">'
        f'<button id="{action}-{row["id"]}" class="{action}" name="action" value="{action}">{label}</button></form>\n'
    )


def _link(visit: Visit) -> tuple[Account, Row] | None:
    for account in visit.machine.accounts.values():
        row = account.table(LINK).get(visit.arguments["token"])
        if row and visit.machine.clock.timestamp < row["expires_at"]:
            return account, row
    return None


def _gone() -> Shown:
    return Shown.html(404, "<h1>There is no such session</h1>\n<p>Ask for another one where this one came from.</p>")
