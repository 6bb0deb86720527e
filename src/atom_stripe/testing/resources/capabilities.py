"""
Capabilities: what an account asks to be able to do, such as taking cards, and whether it can.

Source: https://docs.stripe.com/api/capabilities
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import no_such
from atom_stripe.testing._state.pages import envelope
from atom_stripe.testing._state.params import Boolean, Hash
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing.resources.account import capability_of, changing, check_expand, forbidden, reach, row_of, work_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction


# The account is in itself, and not in the platform's tables, where expansions look.
CAPABILITY = Kind("capability", "", refuses=frozenset({"account"}))

# Of these, card_payments and transfers are what the sandbox does something with; the others are asked for and granted in the same way.
_OF_PAYMENTS = """
    acss_debit affirm afterpay_clearpay alma amazon_pay au_becs_debit bacs_debit bancontact bank_transfer billie bizum blik blik_recurring boleto
    card cartes_bancaires cashapp crypto eps fpx gb_bank_transfer giropay grabpay ideal india_international jcb jp_bank_transfer kakao_pay klarna
    konbini kr_card legacy link mb_way mobilepay multibanco mx_bank_transfer naver_pay nz_bank_account_becs_debit oxxo p24 pay_by_bank payco paynow
    paypay payto pix promptpay revolut_pay samsung_pay satispay scalapay sepa_bank_transfer sepa_debit sequra sofort sunbit swish twint upi
    us_bank_account_ach us_bank_transfer wero zip
"""
_OTHERS = ("app_distribution", "card_issuing", "tax_reporting_us_1099_k", "tax_reporting_us_1099_misc", "transfers", "treasury")
NAMES = tuple(sorted((*(f"{name}_payments" for name in _OF_PAYMENTS.split()), *_OTHERS)))
"""All capabilities there are."""

CAPABILITIES = Hash({name: Hash({"requested": Boolean()}) for name in NAMES})
"""The parameter of accounts that asks for capabilities: ``capabilities[card_payments][requested]=true``."""


def asked(now: int, old: Mapping[str, int], sent: Mapping[str, Any]) -> dict[str, int]:
    """Return what is asked for once *sent* was added to *old*, and since when."""
    result = dict(old)
    for name, wishes in sent.items():
        if wishes.get("requested"):
            result.setdefault(name, now)
        elif "requested" in wishes:
            result.pop(name, None)
    return result


@route("GET", "/v1/accounts/{account}/capabilities")
def list_all(call: Call) -> Row:
    row = row_of(reach(call, call.arguments["account"]))
    return envelope([capability_of(row, name) for name in sorted(row["_asked"])], call.path)


@route("GET", "/v1/accounts/{account}/capabilities/{capability}")
def retrieve(call: Call) -> Row:
    row = row_of(reach(call, call.arguments["account"]))
    return capability_of(row, _named(call))


@route("POST", "/v1/accounts/{account}/capabilities/{capability}", {"requested": Boolean()})
def update(call: Call) -> Row:
    account, name = reach(call, call.arguments["account"]), _named(call)
    if not account.controller:
        raise forbidden("The capabilities of this account are its owner's to ask for, in the Dashboard.")

    check_expand(call, CAPABILITY, capability_of(row_of(account), name))

    def ask(work: Transaction) -> None:
        with changing(work, row_of(account)) as row:
            row["_asked"] = asked(work.now, row["_asked"], {name: call.params})

    return capability_of(work_in(call, account, ask), name)


def _named(call: Call) -> str:
    name = call.arguments["capability"]
    if name not in NAMES:
        raise no_such("capability", name)
    return name
