"""Who calls, whose money it is, and how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.errors import AuthenticationError, NotConnectedError, PermissionDeniedError
from atom_stripe.service import schemas
from atom_stripe.service.exchange import settled
from atom_stripe.service.messages import Answer
from atom_stripe.service.operation import Operation
from atom_stripe.service.routes.connecting import CONNECTION, told

if TYPE_CHECKING:
    from atom_stripe.connections import Connection
    from atom_stripe.service.exchange import Exchange

_NULL = {"type": "null"}
# Of an account that a user connected, Stripe does not say all.
_MAYBE_FLAG = {"type": ["boolean", "null"]}
ACCOUNT = schemas.stripe("account", {}, source="https://docs.stripe.com/api/accounts/object")
_FUNDS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["amount", "currency"],
        "properties": {
            "amount": {"type": "integer", "description": "In the currency's minor unit; below 0 if it is owed."},
            "currency": schemas.CURRENCY,
        },
        "additionalProperties": True,
    },
}
BALANCE = {
    "type": "object",
    "description": "Stripe's balance: https://docs.stripe.com/api/balance/balance_object",
    "required": ["object", "available", "pending", "livemode"],
    "properties": {"object": {"const": "balance"}, "available": _FUNDS, "pending": _FUNDS, "livemode": schemas.FLAG},
    "additionalProperties": True,
}
_BRIEF = schemas.record(
    {
        "id": schemas.TEXT,
        "business_name": schemas.MAYBE,
        "country": {**schemas.MAYBE, "description": "Two letters, as ISO 3166 has them."},
        "default_currency": schemas.MAYBE,
        "charges_enabled": {**_MAYBE_FLAG, "description": "Whether it can take payments."},
        "payouts_enabled": {**_MAYBE_FLAG, "description": "Whether it can be paid out."},
        "details_submitted": {
            **_MAYBE_FLAG,
            "description": "Whether its owner has told Stripe everything that was asked for at first.",
        },
    }
)
_PROFILE = schemas.record(
    {
        "user_id": {**schemas.TEXT, "description": "The caller's id in this service."},
        "livemode": {**schemas.FLAG, "description": "Whether it is about real money."},
        "platform": {**schemas.FLAG, "description": "Whether calls go to the platform's own account."},
        "connection": {"anyOf": [CONNECTION, _NULL]},
        "account": {
            "anyOf": [_BRIEF, _NULL],
            "description": "The account that calls go to; null if there is none, or none any more.",
        },
    }
)


async def get_profile(exchange: Exchange) -> Answer:
    """The account first: if Stripe has ended the grant, asking for it finds out, and the connection then says so."""
    account: dict[str, Any] | None = None
    refused: AuthenticationError | PermissionDeniedError | None = None
    try:
        account = _brief((await settled(exchange.stripe.accounts.retrieve_current())).to_dict())
    except NotConnectedError:
        pass
    except (AuthenticationError, PermissionDeniedError) as error:
        refused = error
    connection = await _connection(exchange)
    if refused is not None and not _left(connection, refused):
        raise refused
    content = {
        "user_id": exchange.user_id,
        "livemode": exchange.service.parts.client.config.livemode if connection is None else connection.livemode,
        "platform": not exchange.acts_for_user,
        "connection": connection and told(connection),
        "account": account,
    }
    return Answer(content=content)


async def get_account(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.accounts.retrieve_current())))


async def get_balance(exchange: Exchange) -> Answer:
    return Answer(content=exchange.content(await settled(exchange.stripe.balance.retrieve())))


async def _connection(exchange: Exchange) -> Connection | None:
    if not exchange.acts_for_user:
        return None
    try:
        found: Connection = await settled(exchange.service.parts.oauth.connection(exchange.user_id))
    except NotConnectedError:
        return None
    return found


def _left(connection: Connection | None, refused: AuthenticationError | PermissionDeniedError) -> bool:
    """
    Return whether Stripe refused because the user ended the grant there, and not because of the service's own key.

    Source: https://docs.stripe.com/error-codes#account-invalid
    """
    return connection is not None and (not connection.connected or refused.code == "account_invalid")


def _brief(raw: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "country", "default_currency", "charges_enabled", "payouts_enabled", "details_submitted")
    business, dashboard = raw.get("business_profile") or {}, (raw.get("settings") or {}).get("dashboard") or {}
    return {**{name: raw.get(name) for name in names}, "business_name": business.get("name") or dashboard.get("display_name")}


OPERATIONS = (
    Operation(
        name="get_profile",
        method="GET",
        path="/profile",
        summary="Say who calls, and for which account",
        handle=get_profile,
        schema=_PROFILE,
    ),
    Operation(
        name="get_account",
        method="GET",
        path="/account",
        summary="Get the account that calls go to",
        handle=get_account,
        schema=ACCOUNT,
    ),
    Operation(
        name="get_balance",
        method="GET",
        path="/balance",
        summary="Get the balance of the account that calls go to",
        handle=get_balance,
        schema=BALANCE,
    ),
)
