"""One call of an operation as one HTTP request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe._wire.encoding import form, json_body
from atom_stripe._wire.messages import Request
from atom_stripe._wire.multipart import multipart
from atom_stripe.config import check_header
from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._wire.operation import Operation

_LONGEST_KEY = 255
_VERSION_2 = 2


def build(
    operation: Operation,
    path: str,
    params: Mapping[str, Any],
    *,
    base: str,
    headers: Mapping[str, str],
    idempotency_key: str | None,
    boundary: str,
) -> Request:
    """
    Return the request of one call.

    *path*: the operation's, its arguments filled in. *base*: scheme and host. *headers*: those of every request of this client.
    Parameters go into the query of a GET or DELETE, else into the body. *boundary* separates the parts of a multipart body.

    Raises:
        EncodingError: A parameter cannot be sent.
    """
    url = base + path
    own = dict(headers)
    if idempotency_key is not None:
        own["Idempotency-Key"] = idempotency_key
    if operation.method != "POST":
        query = form(params)
        return Request(operation.method, f"{url}{'&' if '?' in url else '?'}{query}" if query else url, own)
    if operation.multipart:
        own["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        return Request("POST", url, own, multipart(params, boundary))
    if operation.version == _VERSION_2:
        own["Content-Type"] = "application/json"
        if operation.searches and params.get("limit") is not None:
            # The one parameter of a v2 search that stands in the URL; the URL of the next page repeats it.
            url, params = (
                f"{url}?{form({'limit': params['limit']})}",
                {name: value for name, value in params.items() if name != "limit"},
            )
        return Request("POST", url, own, json_body(params, operation.encodings))
    own["Content-Type"] = "application/x-www-form-urlencoded"
    return Request("POST", url, own, form(params).encode())


def check_key(key: object) -> str:
    """Return *key* if it can be an idempotency key. Source: https://docs.stripe.com/api/idempotent_requests"""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        msg = f"an idempotency key is a string of 1 to {_LONGEST_KEY} characters"
        raise EncodingError(msg, param="idempotency_key")
    return check_header("idempotency_key", key)
