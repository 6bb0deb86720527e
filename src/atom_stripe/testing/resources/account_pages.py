"""
The page behind an account link: Stripe's onboarding, with one button for all that it asks.

Source: https://docs.stripe.com/connect/hosted-onboarding
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.browsing import Shown, escaped, page
from atom_stripe.testing.resources.account import row_of
from atom_stripe.testing.resources.account_links import LINK
from atom_stripe.testing.resources.accounts import complete_onboarding

if TYPE_CHECKING:
    from atom_stripe.testing._state.browsing import Visit
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction


@page("GET", "/setup/s/{token}")
def show(visit: Visit) -> Shown:
    """Show what Stripe would ask, once. Whoever comes later, or a second time, is sent to the platform for another link."""
    link, account = _link(visit), _account(visit)
    if link is None or account is None:
        return _gone()
    if link["status"] != "new" or visit.machine.clock.timestamp >= link["expires_at"]:
        return Shown.redirect(link["refresh_url"])
    _set(visit, link, "opened")
    row = row_of(account)
    name = escaped(row["business_profile"]["name"] or row["email"] or row["id"])
    due = row["requirements"]["currently_due"]
    asked = f"<ul>{''.join(f'<li>{escaped(field)}</li>' for field in due)}</ul>" if due else "<p>Nothing is missing.</p>"
    return Shown.html(
        200,
        f"<h1>Set up {name}</h1>\n<p>This is a sandbox: nobody is asked anything. Missing is:</p>\n{asked}\n"
        '<form method="post">'
        '<button id="finish" name="action" value="finish">Finish</button>'
        '<button id="later" name="action" value="later">Finish later</button></form>',
        title="Set up an account",
    )


@page("POST", "/setup/s/{token}")
def act(visit: Visit) -> Shown:
    """Do what the button says, and send the owner back."""
    link, account = _link(visit), _account(visit)
    if link is None or account is None:
        return _gone()
    # A page that was opened in time may be filled in slowly.
    late = link["status"] == "new" and visit.machine.clock.timestamp >= link["expires_at"]
    if link["status"] == "closed" or late:
        return Shown.redirect(link["refresh_url"])
    action = visit.form.get("action")
    if action not in {"finish", "later"}:
        return Shown.html(400, "<h1>Nothing was chosen</h1>\n<p>The form has an action, which is finish or later.</p>")
    _set(visit, link, "closed")
    if action == "finish":
        visit.machine.perform(_finish, account)
    return Shown.redirect(link["return_url"])


def _link(visit: Visit) -> Row | None:
    return visit.machine.account.table(LINK).get(visit.arguments["token"])


def _account(visit: Visit) -> Account | None:
    """Return the account that a link is for, unless the platform has deleted it."""
    link = _link(visit)
    account = visit.machine.accounts.get(link["account"]) if link else None
    return account if account and account.platform else None


def _set(visit: Visit, link: Row, status: str) -> None:
    visit.machine.perform(lambda work: work.change(link).update(status=status))


def _finish(work: Transaction) -> None:
    complete_onboarding(work)


def _gone() -> Shown:
    return Shown.html(404, "<h1>There is no such link</h1>\n<p>Ask for another one where this one came from.</p>")
