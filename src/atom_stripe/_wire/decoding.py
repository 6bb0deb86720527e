"""Answers to objects and errors. Whatever comes back, nothing outside the error tree leaves this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from atom_stripe import errors
from atom_stripe._wire.retry import retryable
from atom_stripe.models.answer import Answer
from atom_stripe.models.base import StripeModel, StripeObject, model_for

if TYPE_CHECKING:
    from atom_stripe._wire.messages import Reply

_SUCCESS = range(200, 300)
_REFUSALS = frozenset(range(400, 500)) - {424, 429}
_SERVER_ERROR = 500
_DEPENDENCY_FAILED = 424
# The sandbox's own word for what it does not do: it did nothing.
_UNSUPPORTED = "sandbox_unsupported"
# Longer than any message of Stripe's; what a proxy sends in its place need not fill a log.
_LONGEST = 1000


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in *body*, or ``None`` if it holds anything else. Nesting is bounded by the parser (200 deep)."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


def decode(reply: Reply, *, reads: bool) -> StripeModel:
    """
    Return the object in a successful *reply*, or raise the error in any other. *reads*: the request changed nothing.

    Raises:
        APIError: Stripe answered with an error.
        InvalidResponseError: The answer is a success without an object of Stripe's.
    """
    if reply.status not in _SUCCESS:
        raise error_of(reply, reads=reads)
    raw = json_object(reply.body)
    if raw is None:
        raise unreadable(reply, reads=reads)
    name = raw.get("object")
    model = (model_for(name) if type(name) is str else None) or StripeObject
    return model.from_stripe(raw, Answer(reply.status, reply.headers))


def unreadable(reply: Reply, *, reads: bool) -> errors.InvalidResponseError:
    """Return the error of a success that holds no object of Stripe's."""
    msg = f"the answer (status {reply.status}) is not Stripe's JSON; is there a proxy between here and Stripe?"
    return errors.InvalidResponseError(
        msg, status=reply.status, request_id=_header(reply, "request-id"), outcome_unknown=not reads, retryable=reads
    )


def error_of(reply: Reply, *, reads: bool) -> errors.APIError:
    """Return the error that an unsuccessful *reply* stands for, however it is shaped."""
    raw = json_object(reply.body) or {}
    payload = raw.get("error")
    if isinstance(payload, str) and reply.status in _REFUSALS:
        # OAuth's shape: {"error": "invalid_grant", "error_description": "…"}. With other statuses it is a gateway that speaks.
        description = _text(raw, "error_description") or "Stripe's OAuth endpoint refused the request"
        return _build(errors.OAuthError, reply, {"code": payload, "message": description}, reads=reads)
    error = payload if isinstance(payload, dict) else {}
    return _build(_kind(reply.status, error), reply, error, reads=reads)


def _failed_inside(status: int) -> bool:
    return status >= _SERVER_ERROR or status == _DEPENDENCY_FAILED


def _kind(status: int, error: dict[str, Any]) -> type[errors.APIError]:
    # The status decides, as the type does not: Stripe calls a wrong key, a lock and a limit all invalid_request_error.
    if error.get("type") == "idempotency_error":
        return errors.IdempotencyError
    if status == 400 and error.get("code") == "rate_limit":
        return errors.RateLimitedError
    if _failed_inside(status):
        return errors.ServerError
    if error.get("type") == "card_error":
        return errors.CardError
    return _KINDS.get(status, errors.InvalidRequestError if status in range(400, 500) else errors.APIError)


_KINDS: dict[int, type[errors.APIError]] = {
    401: errors.AuthenticationError,
    402: errors.CardError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    429: errors.RateLimitedError,
}


def _build(kind: type[errors.APIError], reply: Reply, error: dict[str, Any], *, reads: bool) -> errors.APIError:
    built = kind(
        _text(error, "message") or _unworded(reply, error),
        status=reply.status,
        type=_text(error, "type"),
        code=_text(error, "code"),
        decline_code=_text(error, "decline_code"),
        param=_text(error, "param"),
        doc_url=_text(error, "doc_url"),
        advice_code=_text(error, "advice_code"),
        request_id=_header(reply, "request-id"),
        retryable=retryable(reply) and (kind is not errors.IdempotencyError or "stripe-should-retry" in reply.headers),
        outcome_unknown=not reads and _failed_inside(reply.status) and error.get("code") != _UNSUPPORTED,
        idempotent_replayed=reply.headers.get("idempotent-replayed") == "true",
        payload=error,
    )
    if isinstance(built, errors.RateLimitedError):
        built.reason = _header(reply, "stripe-rate-limited-reason")
    return built


def _unworded(reply: Reply, error: dict[str, Any]) -> str:
    if error:
        return "Stripe gave no message"
    if 300 <= reply.status < 400:
        return "the answer is a redirect, which Stripe's API never sends; is there a proxy between here and Stripe?"
    return "the answer is not Stripe's JSON"


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _header(reply: Reply, name: str) -> str | None:
    value = reply.headers.get(name)
    return value[:_LONGEST] if value else None
