"""
Every error that this package raises on purpose: one tree, and catching ``AtomStripeError`` is enough.

Errors are values: they carry what happened as attributes, they pickle, and they hold no secret and no bytes from the network
beyond the fields that Stripe documents.
"""

from __future__ import annotations

from typing import Any


class AtomStripeError(Exception):
    """Anything that went wrong in atom_stripe."""

    # Attributes travel in a pickle beside args, so that subclasses may take keyword-only arguments.
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[AtomStripeError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AtomStripeError:
    error = cls.__new__(cls, *args)
    error.args = args
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class ConfigurationError(AtomStripeError, ValueError):
    """A setting is missing, malformed or does not fit the others. The message says which, and what to set."""


class MissingExtraError(AtomStripeError, ModuleNotFoundError):
    """An optional part is not installed. The message says which ``pip install`` adds it."""

    def __init__(self, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name

    # ImportError keeps these two outside of __dict__.
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, {**self.__dict__, "name": self.name, "msg": self.msg})


class ClientClosedError(AtomStripeError, RuntimeError):
    """The client was used after ``close()``. Make a new one."""


class EncodingError(AtomStripeError, ValueError):
    """
    A parameter cannot be sent to Stripe. Nothing was sent.

    *param* names it as Stripe would (``items[0][price]``).
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidAmountError(AtomStripeError, ValueError):
    """An amount of money that is not exact in its currency, or not an amount at all."""


class UnknownCurrencyError(AtomStripeError, ValueError):
    """A currency code that Stripe does not know."""


class TransportError(AtomStripeError):
    """
    No answer of Stripe's arrived.

    *outcome_unknown*: the request may have reached Stripe and may have been carried out. Send it again under the same
    idempotency key, or look at the object before you do anything else.
    *retryable*: sending the same request again is safe and may help. *attempts*: how often it was sent.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False, retryable: bool = True) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown
        self.retryable = retryable
        self.attempts = 1
        self.idempotency_key: str | None = None


class ConnectionFailedError(TransportError):
    """The connection could not be made, or broke before the answer was complete."""


class TimeoutExceededError(TransportError, TimeoutError):
    """Stripe did not answer within *timeout*, or the call's deadline passed."""


class InvalidResponseError(TransportError):
    """Something answered with a success that is not Stripe's JSON: a proxy, a captive portal, a cut-off body."""

    def __init__(
        self,
        message: str,
        *,
        outcome_unknown: bool = False,
        retryable: bool = False,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown, retryable=retryable)
        self.status = status
        self.request_id = request_id


class QueueFullError(AtomStripeError):
    """
    The client's own rate limit would have kept this call waiting longer than it may. Nothing was sent.

    *wait*: the seconds it would have had to wait.
    """

    def __init__(self, message: str, *, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class APIError(AtomStripeError):
    """
    Stripe answered with an error. Subclasses say which kind.

    *status*: HTTP status. *type*, *code*, *decline_code*, *param*, *doc_url*, *advice_code*: as Stripe sent them, ``None`` where it
    did not. *request_id*: Stripe's id of the request. *retryable*: whether trying again unchanged, under the same idempotency key,
    can help. *outcome_unknown*: Stripe cannot say whether the work was done. *attempts*: how often the request was sent.
    *payload*: the whole ``error`` object, with the payment intent or charge that a decline left behind. It can hold personal data
    and client secrets, so it is in no message and no repr.

    Source: https://docs.stripe.com/api/errors
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,
        code: str | None = None,
        decline_code: str | None = None,
        param: str | None = None,
        doc_url: str | None = None,
        advice_code: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        outcome_unknown: bool = False,
        idempotent_replayed: bool = False,
        payload: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.decline_code = decline_code
        self.param = param
        self.doc_url = doc_url
        self.advice_code = advice_code
        self.request_id = request_id
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        self.idempotent_replayed = idempotent_replayed
        self.payload = payload or {}
        self.attempts = 1
        self.idempotency_key: str | None = None

    @property
    def message(self) -> str:
        """Stripe's message, in English, written for developers. For a declined card it may be shown to the customer."""
        return str(self.args[0])

    def __str__(self) -> str:
        facts = (("status", self.status), ("code", self.code), ("param", self.param), ("request", self.request_id))
        return f"{self.args[0]} ({', '.join(f'{name} {value}' for name, value in facts if value)})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status={self.status}, code={self.code!r}, request_id={self.request_id!r})"


class InvalidRequestError(APIError):
    """The request is wrong as it stands (400, 404 and the like): mend it before sending it again. *param* often says where."""


class NotFoundError(InvalidRequestError):
    """There is no such object for this key, account and mode (404)."""


class IdempotencyError(InvalidRequestError):
    """This idempotency key was used before with other parameters. Use a new key for a new request."""


class AuthenticationError(APIError):
    """The API key is missing, wrong, expired or revoked (401)."""


class PermissionDeniedError(APIError):
    """The API key may not do this (403): a restricted key without the permission, or an account that is not connected."""


class CardError(APIError):
    """
    The payment was declined (402). Stripe has recorded the attempt: *payload* holds the payment intent as it now is.

    *decline_code* is the issuer's reason. Source: https://docs.stripe.com/declines/codes
    """


class ConflictError(APIError):
    """Another request is at work on the same object or under the same idempotency key (409). Retrying helps."""


class RateLimitedError(APIError):
    """
    Too many requests, or the object is locked by another one (429).

    *reason* is Stripe's ``Stripe-Rate-Limited-Reason``; ``None`` with ``code="lock_timeout"`` when only the object was locked.
    Source: https://docs.stripe.com/rate-limits
    """

    reason: str | None = None


class ServerError(APIError):
    """Stripe failed (5xx, 424). Whether the work was done is unknown: *outcome_unknown* is true for everything but reads."""


class OAuthError(APIError):
    """
    Stripe's OAuth endpoint refused. *code* is OAuth's word: ``invalid_grant``, ``invalid_client``, …

    Source: https://docs.stripe.com/connect/oauth-reference
    """


class ConnectError(AtomStripeError):
    """Something is wrong with a user's connection to Stripe, or with the way to one. Subclasses say what."""


class NotConnectedError(ConnectError):
    """The user has no connection, or it was disconnected. Send them to ``authorize_url()`` or ``account_link()``."""

    def __init__(self, message: str, *, user_id: str) -> None:
        super().__init__(message)
        self.user_id = user_id


class ReauthorizationRequiredError(NotConnectedError):
    """The grant of the user is dead: expired, revoked, or lost. Only the user can give a new one: send them to ``authorize_url()``."""


class RefreshFailedError(ConnectError):
    """
    The access token has run out and could not be renewed in time, although the grant is not dead: Stripe or the store did not answer.

    Try again later; nothing was lost. *user_id*: whose token.
    """

    def __init__(self, message: str, *, user_id: str) -> None:
        super().__init__(message)
        self.user_id = user_id


class StateMismatchError(ConnectError):
    """
    The ``state`` is none that we gave to this browser session. Nothing was stored and no code was used.

    A forged redirect looks like this. So does a user who began in another browser: let them begin again.
    """


class StateExpiredError(StateMismatchError):
    """The user took longer to come back than ``state_lifetime``. Let them begin again."""


class StateReusedError(StateMismatchError):
    """The ``state`` has done its work already, with another code or another outcome. It works once."""


class AuthorizationDeniedError(ConnectError):
    """The user said no on Stripe's page, or Stripe ended the authorization. *code* is OAuth's word, such as ``access_denied``."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AuthorizationInterruptedError(ConnectError):
    """
    The authorization code was sent to Stripe and the outcome never became known: a crash, or a lost answer.

    A code is never sent twice, because its second use revokes the connection. Let the user begin again: nothing is lost by that.
    """


class CodeReusedError(ConnectError):
    """This authorization code came back before, with another ``state``. It is not sent again: a second use would revoke the connection."""


class GrantMismatchError(ConnectError):
    """Stripe granted something else than what was asked for. It was not stored. Subclasses say what differs."""


class AccountMismatchError(GrantMismatchError):
    """
    The user came back with another Stripe account than the one that they are connected to.

    *expected*, *account*: the ids of the two. Disconnect the user first, or begin with ``authorize_url(replace=True)``.
    """

    def __init__(self, message: str, *, expected: str, account: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.account = account


class ModeMismatchError(GrantMismatchError):
    """Live and test mode were mixed: a key, a client id or a grant of one with something of the other."""


class ScopeMismatchError(GrantMismatchError):
    """The grant covers less, or something else, than the scope that was asked for."""


class ControlledAccountError(ConnectError):
    """The platform controls this account, so it cannot be disconnected. Delete the account at Stripe, or ``forget()`` it here."""


class StoreError(AtomStripeError):
    """
    A store could not do its work: the database is away, or refused. *retryable*: trying again may help.

    The message names the cause. A database's own words can hold values, so they are not chained.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class InboxBusyError(AtomStripeError):
    """
    The inbox cannot take an event now: its queue is full, or its database does not answer. Nothing was stored.

    Answer 503 with ``Retry-After``: Stripe delivers again. *retry_after*: seconds.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClaimLostError(AtomStripeError):
    """Another worker has taken over the event: this one was too slow, and what it did in the transaction is undone."""


class TokenUnreadableError(AtomStripeError):
    """
    A stored token cannot be decrypted. Subclasses say why. It is not deleted and not sent anywhere.

    *connection_id*: the row that it is in.
    """

    def __init__(self, message: str, *, connection_id: str) -> None:
        super().__init__(message)
        self.connection_id = connection_id


class UnknownKeyError(TokenUnreadableError):
    """The key that encrypted a token is not configured. Put it back behind the current one. *key_id*: which."""

    def __init__(self, message: str, *, key_id: str, connection_id: str = "") -> None:
        super().__init__(message, connection_id=connection_id)
        self.key_id = key_id


class TamperedTokenError(TokenUnreadableError):
    """The stored token was not written by us for this row: bytes were changed, or copied from another row or column."""


class ReplayedTokenError(TamperedTokenError):
    """The stored token is an older one that was put back in place of a newer one."""


class WebhookError(AtomStripeError):
    """Some bytes are not an event that Stripe sent us. Answer 400 and keep nothing."""


class InvalidSignatureError(WebhookError):
    """Nobody who holds one of our secrets signed these bytes, or there is no signature that we could check."""


class StaleTimestampError(WebhookError):
    """
    The signature is right, but too old or from the future: a replayed delivery, or a clock that is wrong.

    *age*: seconds between the signature and now, negative for the future.
    """

    def __init__(self, message: str, *, age: float) -> None:
        super().__init__(message)
        self.age = age


class MalformedEventError(WebhookError):
    """The signature is right, but the bytes are not an event: too large, no JSON, or not shaped like one."""
