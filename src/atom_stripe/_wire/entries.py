"""The entries of a list, cut out of an answer exactly as they were sent."""

from __future__ import annotations

import json
import re
from typing import Any

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def sent_entries(body: bytes) -> list[bytes] | None:
    """Return the entries of ``data`` in the JSON list *body*, each as the bytes that were sent; ``None`` if *body* is no such list."""
    try:
        return _entries(body.decode())
    except (ValueError, IndexError, RecursionError):
        return None


def canonical(value: Any) -> bytes:
    """Return *value* as JSON that is the same whenever the value is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "surrogatepass")


def _entries(text: str) -> list[bytes] | None:
    found: list[bytes] | None = None
    at = _token(text, _space(text, 0), "{")
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _space(text, _token(text, _space(text, at), ":"))
        if name == "data":
            # Of a name that comes twice, the last one counts, as everywhere.
            found, at = _elements(text, at)
        else:
            _, at = _DECODER.raw_decode(text, at)
        at = _separator(text, at, "}")
    return found


def _elements(text: str, at: int) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    at = _token(text, at, "[")
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = _separator(text, end, "]")
    return found, at + 1


def _separator(text: str, at: int, closing: str) -> int:
    at = _space(text, at)
    return at if text[at] == closing else _token(text, at, ",")


def _token(text: str, at: int, token: str) -> int:
    if text[at] != token:
        raise ValueError(token)
    return _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
