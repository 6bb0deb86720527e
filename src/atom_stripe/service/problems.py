"""
What goes wrong, as callers see it: RFC 9457.

Rule: a problem holds nothing internal. Stripe's words are for developers and can name keys and accounts, so only those about a card are passed on,
because Stripe writes them for its holder; everything else is in the log, under the same request id.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import (
    AccountMismatchError,
    APIError,
    AtomStripeError,
    AuthenticationError,
    AuthorizationDeniedError,
    AuthorizationInterruptedError,
    CardError,
    ClientClosedError,
    CodeReusedError,
    ConflictError,
    ControlledAccountError,
    EncodingError,
    GrantMismatchError,
    IdempotencyError,
    InboxBusyError,
    InvalidRequestError,
    NotConnectedError,
    NotFoundError,
    OAuthError,
    PermissionDeniedError,
    QueueFullError,
    RateLimitedError,
    ReauthorizationRequiredError,
    RefreshFailedError,
    ServerError,
    StateExpiredError,
    StateMismatchError,
    StateReusedError,
    StoreError,
    TimeoutExceededError,
    TokenUnreadableError,
    TransportError,
    WebhookError,
)
from atom_stripe.service.messages import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"
KIND = "urn:atom-stripe:problem:"
"""What the ``type`` of every problem begins with; what follows is its ``kind``."""


class Problem(AtomStripeError):  # noqa: N818 - RFC 9457's word
    """
    An answer that is a problem.

    *status*: of HTTP. *kind*: which problem, for programs. *detail*: what to do about it, for people. *errors*: each invalid input with a JSON
    Pointer (or the parameter's name) and what is wrong with it, never the value. *retry_after*: seconds. *facts*: what else the problem says.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.errors = [dict(error) for error in errors]
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.facts = {name: fact for name, fact in facts.items() if fact not in {None, False}}

    def answer(self) -> Answer:
        """Return the answer that says it."""
        content: dict[str, Any] = {
            "type": f"{KIND}{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": str(self.args[0]),
            **self.facts,
        }
        if self.errors:
            content["errors"] = self.errors
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        return Answer(status=self.status, content=content, headers=headers, media_type=MEDIA_TYPE)


# Of these, whoever holds the card is told no more than that it was declined: they may be the thief.
# https://docs.stripe.com/declines/codes
_CONFIDENTIAL = {
    "fraudulent",
    "lost_card",
    "merchant_blacklist",
    "pickup_card",
    "restricted_card",
    "security_violation",
    "stolen_card",
}

_STATE = "Begin again at /oauth/authorize, in this browser."
# The first that fits: from the special to the general.
_KINDS: tuple[tuple[type[AtomStripeError], int, str, str], ...] = (
    (NotFoundError, 404, "not_found", "There is no such object in this account and mode."),
    (IdempotencyError, 409, "idempotency_key_reused", "This Idempotency-Key was used with other parameters. Use a new one."),
    (AuthenticationError, 502, "service_misconfigured", "Stripe does not accept this service's key. Its operator has to look."),
    (PermissionDeniedError, 502, "permission_denied", "Stripe does not let this service do that in this account."),
    (ConflictError, 409, "conflict", "Another request is at work on this object. Try again, with the same Idempotency-Key."),
    (RateLimitedError, 503, "stripe_busy", "Stripe gets too many requests. Try again, with the same Idempotency-Key."),
    (OAuthError, 400, "authorization_failed", f"Stripe did not accept the authorization. {_STATE}"),
    (
        InvalidRequestError,
        400,
        "invalid_request",
        "Stripe refused the request as it stands. code and param say why, if it said so.",
    ),
    (ServerError, 502, "stripe_failed", "Stripe failed. Try again, with the same Idempotency-Key."),
    (APIError, 502, "stripe_failed", "Stripe gave an error. Try again, with the same Idempotency-Key."),
    (TimeoutExceededError, 504, "stripe_timeout", "Stripe did not answer in time. Try again, with the same Idempotency-Key."),
    (TransportError, 502, "stripe_unreachable", "Stripe could not be reached. Try again, with the same Idempotency-Key."),
    (QueueFullError, 503, "busy", "Too many requests wait for Stripe. Try again later."),
    (EncodingError, 422, "invalid_input", "A parameter cannot be sent to Stripe."),
    (
        ReauthorizationRequiredError,
        409,
        "reauthorization_required",
        "The connection to Stripe has ended. Connect again at /oauth/authorize.",
    ),
    (NotConnectedError, 409, "not_connected", "There is no connection to Stripe. Connect at /oauth/authorize."),
    (RefreshFailedError, 503, "refresh_failed", "The connection to Stripe could not be renewed just now. Try again later."),
    (StateExpiredError, 400, "state_expired", f"The authorization took too long. {_STATE}"),
    (StateReusedError, 400, "state_reused", f"This authorization was used already. {_STATE}"),
    (StateMismatchError, 400, "state_mismatch", f"This is none of the authorizations of this browser. {_STATE}"),
    (CodeReusedError, 400, "code_reused", f"This code was used already. {_STATE}"),
    (AuthorizationInterruptedError, 409, "authorization_interrupted", f"The authorization was interrupted. {_STATE}"),
    (AccountMismatchError, 409, "account_mismatch", "Another Stripe account is connected already. Disconnect it first."),
    (GrantMismatchError, 409, "grant_mismatch", "Stripe granted something else than what was asked for. Nothing was stored."),
    (ControlledAccountError, 409, "controlled_account", "The platform made this account, so it cannot be disconnected."),
    (TokenUnreadableError, 503, "connection_unreadable", "The stored connection cannot be read. Its operator has to look."),
    (StoreError, 503, "store_unavailable", "The database does not answer. Try again later."),
    (ClientClosedError, 503, "shutting_down", "This service is being stopped. Try again."),
    (WebhookError, 400, "not_from_stripe", "This is not a delivery that Stripe signed for this endpoint."),
)
_WAITS = {409: 1.0, 503: 5.0}


def problem_of(error: AtomStripeError) -> Problem:
    """Return what a caller may know of *error*."""
    if found := _of_its_own(error):
        return found
    for kind, status, name, detail in _KINDS:
        if isinstance(error, kind):
            return Problem(status, name, detail, retry_after=_wait(error, status), **_facts(error))
    # A ConfigurationError, for one: what it says is for the operator.
    return Problem(500, "internal_error", "Something is wrong with this service. Its operator has to look.")


def _of_its_own(error: AtomStripeError) -> Problem | None:
    """Return the problem of an error that says more than its kind."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CardError):
        return _declined(error)
    if isinstance(error, AuthorizationDeniedError):
        return Problem(400, "authorization_denied", f"The user did not agree. {_STATE}", code=error.code)
    if isinstance(error, InboxBusyError):
        return Problem(503, "busy", "The event could not be stored now. Deliver it again.", retry_after=error.retry_after)
    if isinstance(error, APIError) and error.code == "sandbox_unsupported":
        return Problem(400, "sandbox_unsupported", "The sandbox does not do this: see the log.", param=error.param)
    return None


def _declined(error: CardError) -> Problem:
    decline = error.decline_code
    hidden = decline in _CONFIDENTIAL or error.code in _CONFIDENTIAL
    return Problem(
        402,
        "card_declined",
        "Your card was declined." if hidden else error.message,
        code="card_declined" if hidden else error.code,
        decline_code="generic_decline" if hidden else decline,
        param=error.param,
        request_id=error.request_id,
    )


def _facts(error: AtomStripeError) -> dict[str, Any]:
    names: tuple[str, ...] = ("request_id", "outcome_unknown")
    # Of the service's own key and account, neither is the caller's business.
    if isinstance(error, InvalidRequestError | EncodingError | ConflictError | OAuthError):
        names = ("code", "param", *names)
    return {name: getattr(error, name, None) for name in names}


def _wait(error: AtomStripeError, status: int) -> float | None:
    if isinstance(error, QueueFullError):
        return error.wait
    retryable = status == 503 or isinstance(error, ConflictError)
    return _WAITS.get(status) if retryable else None
