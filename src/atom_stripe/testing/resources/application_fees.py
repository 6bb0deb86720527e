"""
Application fees: what a platform keeps of the charges in its connected accounts.

They belong to the platform. Source: https://docs.stripe.com/api/application_fees
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.testing._state.pages import CREATED, PAGE, envelope, equal, page, within
from atom_stripe.testing._state.params import Id
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources import balance_transactions

if TYPE_CHECKING:
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

APPLICATION_FEE = Kind(
    "application_fee",
    "fee",
    expands={"balance_transaction": "balance_transaction"},
    # These are in another account, or are objects that the sandbox does not have.
    refuses=frozenset({"account", "application", "charge", "originating_transaction"}),
)


def collect(work: Transaction, charge: Row) -> str:
    """Let the platform have its part of a charge, and return the id of the fee."""
    identity = work.new_id(APPLICATION_FEE)
    amount, currency, source, account = charge["application_fee_amount"], charge["currency"], charge["id"], work.account.id

    def keep(platform: Transaction) -> None:
        fee: Row = platform.add(
            {
                "id": identity,
                "object": "application_fee",
                "account": account,
                "amount": amount,
                "amount_refunded": 0,
                "application": f"ca_{platform.account.id.removeprefix('acct_')}",
                "balance_transaction": None,
                "charge": source,
                "created": platform.now,
                "currency": currency,
                "fee_source": {"charge": source, "type": "charge"},
                "livemode": False,
                "originating_transaction": None,
                "refunded": False,
                "refunds": envelope([], f"/v1/application_fees/{identity}/refunds"),
            }
        )
        fee["balance_transaction"] = balance_transactions.record(platform, fee, amount, type="application_fee")["id"]
        platform.emit("application_fee.created", fee)

    # The one that took the payment, also when the merchant has left it since.
    work.after(keep, charge["_platform"])
    return identity


@route("GET", "/v1/application_fees", {**PAGE, "charge": Id(), "created": CREATED})
def list_all(call: Call) -> Row:
    return page(
        call.rows("application_fee"),
        call.params,
        kind="application_fee",
        url=call.path,
        where=lambda row: equal(row, call.params, "charge") and within(row["created"], call.params.get("created")),
    )


@route("GET", "/v1/application_fees/{id}")
def retrieve(call: Call) -> Row:
    return call.find("application_fee", call.arguments["id"])
