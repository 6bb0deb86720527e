"""Bodies of the second API, which are JSON: read to the same tree of strings as a form, so that parameters are declared in one way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.errors import invalid
from atom_stripe.testing._state.requests import MAX_DEPTH

if TYPE_CHECKING:
    from atom_stripe._wire.messages import Request
    from atom_stripe.testing._state.requests import Message, Tree

_WORDS = {True: "true", False: "false", None: ""}


def read_json(request: Request, message: Message) -> Message:
    """Return *message* with what is in the body of a request to the second API; one to the first comes back as it is."""
    if not message.path.startswith("/v2/") or not request.body:
        return message
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise invalid("The body must be JSON: the second API takes no forms.") from None
    if not isinstance(body, dict):
        raise invalid("The body must be a JSON object.")
    params: Tree = {**message.params, **_plain(body, MAX_DEPTH + 1)}
    return replace(message, params=params)


def _plain(value: Any, depth: int) -> Any:
    if depth == 0:
        raise invalid(f"The body is more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        return {_plain(name, depth): _plain(entry, depth - 1) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, depth - 1) for entry in value]
    # What is null there is unset, which is an empty string in a form.
    text = _WORDS[value] if value is None or isinstance(value, bool) else str(value)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise invalid("The body holds half a character, which cannot be written in UTF-8.")
    return text
