"""
Stripe's errors: the status, type, code and parameter that Stripe answers, with our own words.

Source: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes
"""

from __future__ import annotations

from typing import Any

# Refused before the operation began: an idempotency key keeps nothing of these, so a mended request may use it again.
# Source: https://docs.stripe.com/api/idempotent_requests
_VALIDATION = frozenset({"parameter_missing", "parameter_unknown", "parameters_exclusive", "sandbox_unsupported"})


class Refusal(Exception):
    """An answer of Stripe's that is an error. *committed*: what the operation did before it stays done, as with a declined card."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        committed: bool = False,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.committed = committed
        self.error = error_object(message, type=type, code=code, param=param, **fields)

    @property
    def kept(self) -> bool:
        """Whether an idempotency key keeps this answer: whether it came after the operation had begun."""
        code = self.code or ""
        early = code in _VALIDATION or code.startswith("parameter_invalid") or self.error.get("param") == "expand"
        return not early and self.status not in {401, 403, 429}


def error_object(
    message: str,
    *,
    type: str,
    code: str | None = None,
    param: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the fields of an error. What is None is left out, as Stripe does."""
    doc_url = f"https://docs.stripe.com/error-codes#{code.replace('_', '-')}" if code and code != "sandbox_unsupported" else None
    error = {**fields, "code": code, "doc_url": doc_url, "message": message, "param": param, "type": type}
    return {name: error[name] for name in sorted(error) if error[name] is not None}


def invalid(message: str, param: str | None = None, *, code: str | None = None, **fields: Any) -> Refusal:
    """The request is wrong (400)."""
    return Refusal(400, message, code=code, param=param, **fields)


def missing(param: str) -> Refusal:
    """A parameter that the operation needs was not sent."""
    return invalid(f"The parameter {param} is required.", param, code="parameter_missing")


def empty(param: str) -> Refusal:
    """An empty string, which unsets a field, for a field that cannot be unset."""
    return invalid(
        f"An empty {param} would unset it, and it cannot be unset; leave it out or give it a value.",
        param,
        code="parameter_invalid_empty",
    )


def exclusive(param: str, other: str) -> Refusal:
    """Two parameters of which only one may be sent."""
    return invalid(f"Send {param} or {other}, not both.", param, code="parameters_exclusive")


def no_such(kind: str, identity: str, param: str | None = None) -> Refusal:
    """
    There is no such object.

    404 when the path names it, 400 with *param* when a parameter does. Source: https://docs.stripe.com/error-codes#resource-missing
    """
    return Refusal(400 if param else 404, f"No such {kind}: {identity[:255]!r}", code="resource_missing", param=param or "id")


def unsupported(what: str, param: str | None = None) -> Refusal:
    """
    Stripe can do it, the sandbox cannot. Said by name, so that no test passes for the wrong reason.

    501, because an application that handles Stripe's errors must not take it for one; and never to be tried again.
    """
    message = f"{what} exists at Stripe, but not in this sandbox."
    return Refusal(501, message, code="sandbox_unsupported", param=param, headers={"Stripe-Should-Retry": "false"})
