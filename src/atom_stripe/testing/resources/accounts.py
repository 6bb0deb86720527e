"""
Connected accounts: made by the platform, seen by it, and set up by their owners.

Source: https://docs.stripe.com/api/accounts and https://docs.stripe.com/connect/accounts
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state import grants
from atom_stripe.testing._state.errors import exclusive, invalid, missing
from atom_stripe.testing._state.pages import CREATED, PAGE, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Currency, Hash, Integer, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import Account, copied
from atom_stripe.testing.resources import account as base
from atom_stripe.testing.resources import capabilities
from atom_stripe.testing.resources.account import (
    ACCOUNT,
    CURRENCIES,
    USUAL,
    changing,
    check_expand,
    forbidden,
    reach,
    row_of,
    work_in,
)
from atom_stripe.testing.resources.shared import ADDRESS, METADATA, address, assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

# Who pays Stripe's fees, who bears losses, who asks the account for what is missing, and the Dashboard that its owner has.
_OF_TYPES = {
    "standard": ("account", "stripe", "stripe", "full"),
    "express": ("application_express", "application", "stripe", "express"),
    "custom": ("application_custom", "application", "application", "none"),
}
_NEEDED = (
    "business_profile.product_description",
    "business_profile.support_phone",
    "business_profile.url",
    "business_type",
    "external_account",
    "tos_acceptance.date",
    "tos_acceptance.ip",
)
_REQUIREMENT = re.compile(r"[a-z0-9]\w{0,99}(?:\.\w{1,100}){0,8}", re.ASCII)

_WEEKDAYS = ("friday", "monday", "saturday", "sunday", "thursday", "tuesday", "wednesday")
_SETTINGS = Hash(
    {
        "branding": Hash({"primary_color": Text(), "secondary_color": Text()}),
        "card_payments": Hash(
            {
                "decline_on": Hash({"avs_failure": Boolean(), "cvc_failure": Boolean()}),
                "statement_descriptor_prefix": Text(longest=10),
            }
        ),
        "payments": Hash({"statement_descriptor": Text(longest=22)}),
        "payouts": Hash(
            {
                "debit_negative_balances": Boolean(),
                "schedule": Hash(
                    {
                        "interval": Choice(("daily", "manual", "monthly", "weekly")),
                        "monthly_anchor": Integer(least=1, most=31),
                        "weekly_anchor": Choice(_WEEKDAYS),
                    }
                ),
                "statement_descriptor": Text(longest=22),
            }
        ),
    }
)
_FIELDS: dict[str, Parameter] = {
    "business_profile": Hash(
        {
            "mcc": Text(),
            "name": Text(),
            "product_description": Text(longest=40_000),
            "support_address": Hash(ADDRESS),
            "support_email": Text(),
            "support_phone": Text(),
            "support_url": Text(),
            "url": Text(),
        }
    ),
    "business_type": Choice(("company", "government_entity", "individual", "non_profit")),
    "capabilities": capabilities.CAPABILITIES,
    "default_currency": Currency(),
    "email": Text(longest=800, unsettable=False),
    "settings": _SETTINGS,
    "tos_acceptance": Hash(
        {
            "date": Integer(least=0),
            "ip": Text(unsettable=False),
            "service_agreement": Text(unsettable=False),
            "user_agent": Text(unsettable=False),
        }
    ),
    **METADATA,
}


def complete_onboarding(work: Transaction) -> Row:
    """Be the owner of the account that *work* is in, and answer everything that Stripe asks. Returns the account as it then is."""
    row = row_of(work.account)
    if work.account.platform is None:
        msg = "only an account that is connected to the sandbox's own one has an onboarding"
        raise ConfigurationError(msg)
    with changing(work, row):
        told = set(row["_missing"])
        row["_missing"] = []
        # An account with a Dashboard of Stripe's asks for what it needs by itself.
        if not row["_asked"]:
            row["_asked"] = dict.fromkeys(USUAL, work.now)
        if "business_type" in told:
            row["business_type"] = "individual"
        if "tos_acceptance.date" in told and row["controller"].get("requirement_collection") == "application":
            row["tos_acceptance"].update(date=work.now, ip="127.0.0.1")
    return row


def require(work: Transaction, *fields: str) -> Row:
    """
    Let Stripe want to know *fields* (``individual.verification.document``) of the account that *work* is in, at once.

    Until it knows, the account takes no payments and gets no payouts. Returns the account as it then is.
    """
    row = row_of(work.account)
    if work.account.platform is None or not fields or not all(_REQUIREMENT.fullmatch(name) for name in fields):
        msg = "name a connected account and what Stripe wants of it, such as 'individual.verification.document'"
        raise ConfigurationError(msg)
    with changing(work, row):
        row["_missing"] = sorted({*row["_missing"], *fields})
    return row


@route(
    "POST",
    "/v1/accounts",
    {
        **_FIELDS,
        "controller": Hash(
            {
                "fees": Hash({"payer": Choice(("account", "application"))}),
                "losses": Hash({"payments": Choice(("application", "stripe"))}),
                "requirement_collection": Choice(("application", "stripe")),
                "stripe_dashboard": Hash({"type": Choice(("express", "full", "none"))}),
            }
        ),
        "country": Text(longest=2, unsettable=False),
        "type": Choice(("custom", "express", "standard")),
    },
)
def create(call: Call) -> Row:
    params = call.params
    if call.account.platform is not None:
        raise invalid("Only a platform can create accounts, and this account is connected to one.")
    if "type" in params and "controller" in params:
        raise exclusive("controller", "type")
    controller = _controller(params)
    country = params.get("country", "US").upper()
    if country not in CURRENCIES:
        raise invalid(f"{country!r} is no country where accounts can be.", "country", code="country_unsupported")
    if controller["stripe_dashboard"]["type"] == "none" and not params.get("capabilities"):
        raise missing("capabilities")
    fields = {
        "controller": controller,
        "country": country,
        "default_currency": params.get("default_currency", CURRENCIES[country]),
        "type": params.get("type", "none"),
    }
    wishes = capabilities.asked(call.now, {}, params.get("capabilities", {}))
    row = base.new(call.new_id(ACCOUNT), fields, created=call.now, asked=wishes, missing=_NEEDED)
    _check(row, params)
    _assign(row, params)
    base.follow(row)
    check_expand(call, ACCOUNT, row)
    # Nothing is refused from here on.
    opened = Account(row["id"], platform=call.account.id, controller=True)
    opened.table(ACCOUNT.name)[opened.id] = row
    call.machine.accounts[opened.id] = opened
    return row


@route("GET", "/v1/accounts", {**PAGE, "created": CREATED})
def list_all(call: Call) -> Row:
    connected = [account for account in call.machine.accounts.values() if account.platform == call.account.id]
    return page(
        [row_of(account) for account in reversed(connected)],
        call.params,
        kind="account",
        url=call.path,
        where=lambda row: within(row["created"], call.params.get("created")),
    )


@route("GET", "/v1/accounts/{account}")
def retrieve(call: Call) -> Row:
    return row_of(reach(call, call.arguments["account"]))


@route("POST", "/v1/accounts/{account}", _FIELDS)
def update(call: Call) -> Row:
    account, params = reach(call, call.arguments["account"]), call.params
    row = row_of(account)
    if account.platform is None:
        raise forbidden("An account changes its own settings in the Dashboard.")
    if not account.controller and params.keys() - {"expand", "metadata"}:
        raise forbidden("This account is its owner's; a platform can change no more than metadata of it.")
    _check(row, params)
    check_expand(call, ACCOUNT, row)

    def assign_all(work: Transaction) -> None:
        with changing(work, row):
            row["_asked"] = capabilities.asked(work.now, row["_asked"], params.get("capabilities", {}))
            _assign(row, params)

    return work_in(call, account, assign_all)


@route("DELETE", "/v1/accounts/{account}")
def delete(call: Call) -> Row:
    account = reach(call, call.arguments["account"])
    if not account.controller:
        raise forbidden("Only accounts that the platform made can be deleted.")
    # From now on nobody has access to it.
    for client_id in sorted(account.applications):
        grants.revoke(call, account.id, client_id)
    account.applications.clear()
    account.platform = None
    return {"id": account.id, "object": "account", "deleted": True}


def _controller(params: Mapping[str, Any]) -> Row:
    """Return who controls what. Source: https://docs.stripe.com/connect/migrate-to-controller-properties"""
    if "type" in params:
        fees, losses, collection, dashboard = _OF_TYPES[params["type"]]
    else:
        sent = params.get("controller", {})
        fees = sent.get("fees", {}).get("payer", "account")
        losses = sent.get("losses", {}).get("payments", "stripe")
        collection = sent.get("requirement_collection", "stripe")
        dashboard = sent.get("stripe_dashboard", {}).get("type", "full")
        if collection == "application" and (dashboard, losses) != ("none", "application"):
            message = "A platform that collects the requirements itself also bears the losses, and Stripe's Dashboard is none."
            raise invalid(message, "controller[requirement_collection]")
    return {
        "fees": {"payer": fees},
        "is_controller": True,
        "losses": {"payments": losses},
        "requirement_collection": collection,
        "stripe_dashboard": {"type": dashboard},
        "type": "application",
    }


def _check(row: Row, params: Mapping[str, Any]) -> None:
    """Refuse what only the owner can say. Source: https://docs.stripe.com/api/accounts/update"""
    if row["controller"].get("requirement_collection") == "application":
        return
    if params.get("tos_acceptance", {}).keys() - {"service_agreement"}:
        raise invalid("Stripe's terms are accepted by the owner of this account, not by the platform.", "tos_acceptance")
    if row["_linked"] and "business_type" in params:
        raise forbidden("Since there was a link for its onboarding, the owner of this account says what business it is.")


def _assign(row: Row, params: Mapping[str, Any]) -> None:
    """Put what was sent into the row. What Stripe wanted to know and was sent is no longer missing."""
    assign(row, params, "business_type", "default_currency", "email")
    profile = copied(params.get("business_profile", {}))
    if "support_address" in profile:
        profile["support_address"] = address(profile["support_address"])
    row["business_profile"].update(profile)
    row["tos_acceptance"].update(params.get("tos_acceptance", {}))
    _assign_settings(row["settings"], params.get("settings", {}))
    told = {name for name in ("business_type", "email") if params.get(name)}
    for name in ("business_profile", "tos_acceptance"):
        told |= {f"{name}.{field}" for field, value in params.get(name, {}).items() if value is not None}
    row["_missing"] = [name for name in row["_missing"] if name not in told]


def _assign_settings(settings: Row, sent: Mapping[str, Any]) -> None:
    """Put the settings that were sent into the others. Source: https://docs.stripe.com/connect/manage-payout-schedule"""
    schedule = sent.get("payouts", {}).get("schedule", {})
    interval = schedule.get("interval", settings["payouts"]["schedule"]["interval"])
    for name, anchor in (("weekly", "weekly_anchor"), ("monthly", "monthly_anchor")):
        full = f"settings[payouts][schedule][{anchor}]"
        if schedule.get("interval") == name and anchor not in schedule:
            raise missing(full)
        if interval != name and anchor in schedule:
            raise invalid(f"{full} is for payouts that are {name}; these are {interval}.", full)
        if interval != name:
            settings["payouts"]["schedule"].pop(anchor, None)
    _merge(settings, sent)


def _merge(row: Row, sent: Mapping[str, Any]) -> None:
    for name, value in sent.items():
        if isinstance(value, dict):
            _merge(row[name], value)
        else:
            row[name] = value
