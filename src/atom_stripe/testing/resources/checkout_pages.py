"""
The page of a checkout session: what is sold, a test card, and buttons to pay, to go back, and to answer the bank.

Source: https://docs.stripe.com/payments/checkout/how-checkout-works
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.money import Money
from atom_stripe.testing._state.browsing import Shown, escaped, page
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing.resources import checkout_flow

if TYPE_CHECKING:
    from atom_stripe.testing._state.browsing import Visit
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction

_LABELS = {"payment": "Pay", "setup": "Save card", "subscription": "Subscribe"}


@page("GET", "/c/pay/{session}")
def show(visit: Visit) -> Shown:
    """Show what is to be paid, or that the session is over."""
    found = _session(visit)
    if found is None:
        return _gone()
    session = found[1]
    return _over(session) or _shown(session, None)


@page("POST", "/c/pay/{session}")
def act(visit: Visit) -> Shown:
    """Do what the button says."""
    found = _session(visit)
    if found is None:
        return _gone()
    account, session = found
    over = _over(session)
    if over:
        return over
    action = visit.form.get("action")
    if action == "cancel":
        return Shown.redirect(session["cancel_url"]) if session["cancel_url"] else _shown(session, None)
    asked = session["_asks"] is not None
    if action not in ({"complete", "fail"} if asked else {"pay"}):
        return Shown.html(400, "<h1>Nothing was chosen</h1>\n<p>The form has an action, such as pay or cancel.</p>")
    error = _perform(visit, account, session, action)
    # If nothing of it happened, the row was put back.
    session = account.table("checkout.session")[session["id"]]
    if session["status"] != "complete":
        return _shown(session, error)
    return Shown.redirect(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))


def _perform(visit: Visit, account: Account, session: Row, action: str) -> str | None:
    """Let the customer act, and return why it failed if it did."""
    errors: list[str | None] = []

    def job(work: Transaction) -> None:
        if action == "pay":
            errors.append(checkout_flow.submit(work, session, visit.form))
        else:
            errors.append(checkout_flow.authenticate(work, session, succeeded=action == "complete"))

    try:
        visit.machine.perform(job, account)
    except Refusal as refusal:
        return str(refusal)
    return errors[0]


def _shown(session: Row, error: str | None) -> Shown:
    if session["_asks"] is not None:
        return Shown.html(
            200,
            "<h1>Your bank asks</h1>\n<p>This is a sandbox: say how the authentication ends.</p>\n"
            '<form method="post"><button id="complete" name="action" value="complete">Complete</button>'
            '<button id="fail" name="action" value="fail">Fail</button></form>',
            title="Authentication",
        )
    items = "".join(
        f"<li>{item['quantity']} of {escaped(item['description'])}: {_amount(item['amount_total'], item['currency'])}</li>"
        for item in session["_items"]
    )
    total = f"<p>Total: {_amount(session['amount_total'], session['currency'])}</p>" if session["_items"] else ""
    warning = f'<p id="error" role="alert">{escaped(error)}</p>\n' if error else ""
    email = escaped((session["customer_details"] or {}).get("email") or "")
    back = '<button id="cancel" name="action" value="cancel" formnovalidate>Back</button>' if session["cancel_url"] else ""
    return Shown.html(
        200,
        f"<h1>Checkout</h1>\n<p>This is a sandbox: pay with a test card.</p>\n<ul>{items}</ul>\n{total}\n{warning}"
        f'<form method="post"><p><label>Email <input id="email" name="email" type="email" value="{email}" required></label></p>'
        '<p><label>Name <input id="name" name="name"></label></p>'
        '<p><label>Card <input id="card" name="card" value="4242424242424242" inputmode="numeric" required></label></p>'
        f'<button id="pay" name="action" value="pay">{_LABELS[session["mode"]]}</button>{back}</form>',
        title="Checkout",
    )


def _over(session: Row) -> Shown | None:
    if session["status"] == "open":
        return None
    back = f'<p><a id="back" href="{escaped(session["cancel_url"])}">Back</a></p>' if session["cancel_url"] else ""
    text = "Everything is done here." if session["status"] == "complete" else "The session has expired."
    return Shown.html(
        200 if session["status"] == "complete" else 410, f"<h1>Checkout</h1>\n<p>{text}</p>\n{back}", title="Checkout"
    )


def _session(visit: Visit) -> tuple[Account, Row] | None:
    for account in visit.machine.accounts.values():
        row = account.table("checkout.session").get(visit.arguments["session"])
        if row:
            return account, row
    return None


def _amount(amount: int, currency: str) -> str:
    return escaped(str(Money.from_minor(amount, currency)))


def _gone() -> Shown:
    return Shown.html(404, "<h1>There is no such session</h1>\n<p>Ask for another one where this one came from.</p>")
