"""
What an account is: who controls it, what it still has to tell, and what follows from that.

A row lives in its own account, so that the account and its platform see the same one. Source: https://docs.stripe.com/api/accounts/object
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.clock import START
from atom_stripe.testing._state.errors import Refusal, invalid
from atom_stripe.testing._state.expansion import expanded
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Kind, copied
from atom_stripe.testing._state.transaction import Happening, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping

    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Account, Row
    from atom_stripe.testing._state.transaction import Transaction

ACCOUNT = Kind("account", "acct", 16, refuses=frozenset({"settings.branding.icon", "settings.branding.logo"}))

USUAL = ("card_payments", "transfers")
"""What an account asks for that takes payments on its own."""

_COUNTRIES = {
    "eur": "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK",
    "aed": "AE",
    "aud": "AU",
    "brl": "BR",
    "cad": "CA",
    "chf": "CH LI",
    "czk": "CZ",
    "dkk": "DK",
    "gbp": "GB GI",
    "hkd": "HK",
    "huf": "HU",
    "inr": "IN",
    "jpy": "JP",
    "mxn": "MX",
    "myr": "MY",
    "nok": "NO",
    "nzd": "NZ",
    "pln": "PL",
    "ron": "RO",
    "sek": "SE",
    "sgd": "SG",
    "thb": "TH",
    "usd": "US",
}
CURRENCIES = {country: currency for currency, countries in _COUNTRIES.items() for country in countries.split()}
"""Where accounts can be, with the currency that they have at first. Source: https://stripe.com/global"""

_PROFILE = ("annual_revenue", "estimated_worker_count", "mcc", "name", "product_description", "support_address")
_CONTACTS = ("support_email", "support_phone", "support_url", "url")


def row_of(account: Account) -> Row:
    """Return the row of an account. One that did not come through ``POST /v1/accounts`` is its owner's, and set up."""
    rows = account.table(ACCOUNT.name)
    if account.id not in rows:
        created = int(START.timestamp())
        currency = CURRENCIES.get(account.profile.get("country", "US"), "usd")
        rows[account.id] = new(
            account.id,
            {"controller": {"type": "account"}, "default_currency": currency, "type": "standard", **account.profile},
            created=created,
            asked=dict.fromkeys(USUAL, created),
            missing=(),
        )
    return rows[account.id]


def new(identity: str, fields: Mapping[str, Any], *, created: int, asked: Mapping[str, int], missing: Collection[str]) -> Row:
    """
    Return the row of a new account.

    *asked*: the capabilities that are requested, with the times of that. *missing*: what the account still has to tell.
    """
    row: Row = {
        "id": identity,
        "object": "account",
        "business_profile": dict.fromkeys((*_PROFILE, *_CONTACTS)),
        "business_type": None,
        "capabilities": {},
        "charges_enabled": False,
        "country": "US",
        "created": created,
        "default_currency": "usd",
        "details_submitted": False,
        "email": None,
        "future_requirements": _requirements((), None),
        "metadata": {},
        "payouts_enabled": False,
        "requirements": {},
        "settings": _settings(),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        **fields,
        "_asked": dict(asked),
        "_missing": list(missing),
        # Whether a link for onboarding was made, after which its owner has the say.
        "_linked": False,
    }
    follow(row)
    return row


def follow(row: Row) -> None:
    """Work out what an account can do from what it asks for and from what is missing."""
    asked, missing = row["_asked"], row["_missing"]
    ready = not missing
    row["details_submitted"] = row["details_submitted"] or ready
    row["capabilities"] = dict.fromkeys(sorted(asked), "active" if ready else "inactive")
    row["charges_enabled"] = ready and any(name.endswith("_payments") for name in asked)
    row["payouts_enabled"] = ready
    row["requirements"] = _requirements(missing, "requirements.past_due")
    if ready and not asked:
        row["requirements"]["disabled_reason"] = "action_required.requested_capabilities"


def capability_of(row: Row, name: str) -> Row:
    """Return a capability of an account, as Stripe shows it. It needs what the account needs."""
    asked = name in row["_asked"]
    missing = row["_missing"] if asked else ()
    return {
        "id": name,
        "object": "capability",
        "account": row["id"],
        "future_requirements": _requirements((), None),
        "requested": asked,
        "requested_at": row["_asked"].get(name),
        "requirements": _requirements(missing, "requirements.fields_needed"),
        "status": row["capabilities"].get(name, "unrequested"),
    }


@contextmanager
def changing(work: Transaction, row: Row) -> Generator[Row]:
    """Let something about an account change. What follows from that is worked out afterwards, and told."""
    before = copied(row)
    yield work.change(row)
    follow(row)
    if row != before and work.changed(row):
        work.emit("account.updated", row)
    for name in {**before["_asked"], **row["_asked"]}:
        old, now = capability_of(before, name), capability_of(row, name)
        if old != now:
            work.happenings.append(Happening("capability.updated", now, differences(old, now)))


def reach(call: Call, identity: str) -> Account:
    """Return an account that the caller has access to: its own, or one that is connected to it."""
    account = call.machine.accounts.get(identity)
    if account is None or call.account.id not in {account.id, account.platform}:
        message = "The key has no access to this account, or there is no such account."
        raise Refusal(403, message, code="account_invalid")
    return account


def work_in(call: Call, account: Account, job: Callable[[Transaction], None]) -> Row:
    """Do *job* in an account that was reached, and return the account's row. It is kept at once, so it comes after all that can be refused."""
    call.machine.perform(job, account)
    return row_of(account)


def check_expand(call: Call, kind: Kind, row: Row) -> None:
    """Refuse what cannot be expanded, before anything is done that cannot be taken back."""
    expanded(row, call.params.get("expand", ()), {kind.name: kind}, call)


def forbidden(message: str) -> Refusal:
    """The account is another's in this respect."""
    return Refusal(403, message)


def check_charges(work: Transaction) -> None:
    """
    Refuse to take a payment for an account that may not take any. Stripe gives this no code, and says it at the confirmation.

    Source: https://docs.stripe.com/connect/handling-api-verification
    """
    if not row_of(work.account)["charges_enabled"]:
        raise invalid(
            f"The account {work.account.id} cannot take payments now. Its requirements.disabled_reason says why;"
            " it has to finish its onboarding, with the capability card_payments."
        )


@route("GET", "/v1/account")
def retrieve(call: Call) -> Row:
    """Return the account of the key, or the connected one that ``Stripe-Account`` names."""
    return row_of(call.account)


def _requirements(missing: Collection[str], reason: str | None) -> Row:
    due = sorted(missing)
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": due,
        "disabled_reason": reason if due else None,
        "errors": [],
        "eventually_due": list(due),
        "past_due": list(due),
        "pending_verification": [],
    }


def _settings() -> Row:
    return {
        "branding": dict.fromkeys(("icon", "logo", "primary_color", "secondary_color")),
        "card_payments": {
            "decline_on": {"avs_failure": False, "cvc_failure": False},
            "statement_descriptor_prefix": None,
            "statement_descriptor_prefix_kana": None,
            "statement_descriptor_prefix_kanji": None,
        },
        "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
        "payments": dict.fromkeys(("statement_descriptor", "statement_descriptor_kana", "statement_descriptor_kanji")),
        "payouts": {
            "debit_negative_balances": True,
            "schedule": {"delay_days": 2, "interval": "daily"},
            "statement_descriptor": None,
        },
    }
