"""Paths and URLs. Some come from webhook bodies and answers, so none is trusted to stay on Stripe's host."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 8192


def fill(template: str, arguments: Sequence[str]) -> str:
    """Return *template* with its ``{names}`` replaced by *arguments*, each one quoted so that it stays one segment."""
    if not arguments:
        return template
    pieces = template.split("{")
    path = [pieces[0]]
    for argument, piece in zip(arguments, pieces[1:], strict=True):
        name, _, rest = piece.partition("}")
        path += (segment(name, argument), rest)
    return "".join(path)


def segment(name: str, value: object) -> str:
    """Return an id as one path segment. An empty one would address the whole collection, so it is refused."""
    text = value if isinstance(value, str) else getattr(value, "id", None)
    if not isinstance(text, str) or not text.strip():
        msg = f"{name} must be an id such as 'cus_123', not {type(value).__name__ if not isinstance(value, str) else 'an empty string'}"
        raise EncodingError(msg, param=name)
    if text in {".", ".."}:
        msg = f"{name} is not an id"
        raise EncodingError(msg, param=name)
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        msg = f"{name} holds half of a surrogate pair, which is no text"
        raise EncodingError(msg, param=name) from None


def check_path(path: object) -> str:
    """
    Return *path* if it is a path on Stripe's host and nothing more.

    Gluing "@evil.example/" to "https://api.stripe.com" would send the API key to somebody else.
    """
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//") or len(path) > _LONGEST:
        msg = "the path must be a string that begins with a single '/'"
        raise EncodingError(msg)
    if any(character <= " " or character in "\\#\x7f" or "\ud800" <= character <= "\udfff" for character in path):
        msg = "the path may not contain spaces, control characters, backslashes or a fragment"
        raise EncodingError(msg)
    return path
