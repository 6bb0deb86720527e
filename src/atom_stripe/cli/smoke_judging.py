"""What is wrong with an answer: its status, its shape, its headers, and what must not be in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from atom_stripe.cli.smoke_asking import Reply

# Keys of Stripe's, tokens of OAuth's, signing secrets, keys that tokens are encrypted with: none is ever an answer's business.
_SECRET = re.compile(
    rb"(?<![A-Za-z0-9_])(?:(?:sk|rk)_(?:test|live|acct|org)_?[A-Za-z0-9_]{8,}|whsec_[A-Za-z0-9+/=_]{8,}|rt_[A-Za-z0-9]{16,})"
)
_INTERNALS = (b"Traceback (most recent call last)", b"site-packages/", b'.py", line ')
_YEAR = 365 * 24 * 60 * 60
_PROBLEM: Mapping[str, type] = {"type": str, "title": str, "status": int, "detail": str}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_MANY = 3


def leaks(reply: Reply, secrets: Collection[str]) -> Iterator[str]:
    """Yield what *reply* shows and must not: it is named, and not repeated. *secrets*: those that this command has itself."""
    shown = reply.body + b"\n" + "\n".join([*reply.headers.values(), *reply.cookies]).encode("utf-8", "replace")
    if _SECRET.search(shown):
        yield "it shows something that looks like a secret key (sk_, rk_, rt_ or whsec_)"
    if any(secret.encode() in shown for secret in secrets):
        yield "it shows a secret that this command was given"
    if any(mark in shown for mark in _INTERNALS):
        yield "it shows where in the program something failed"


def unsafe(reply: Reply, *, https: bool) -> Iterator[str]:
    """Yield which security headers are missing, and which cookies are not kept safe."""
    if reply.headers.get("x-content-type-options", "").strip().lower() != "nosniff":
        yield "X-Content-Type-Options: nosniff is missing"
    if "no-store" not in {word.strip().lower() for word in reply.headers.get("cache-control", "").split(",")}:
        yield "Cache-Control: no-store is missing"
    if https:
        age = re.search(r"max-age\s*=\s*\"?(\d{1,12})", reply.headers.get("strict-transport-security", ""), re.IGNORECASE)
        if age is None:
            yield "Strict-Transport-Security is missing"
        elif int(age[1]) < _YEAR / 2:
            yield "the max-age of Strict-Transport-Security is less than half a year"
    for cookie in reply.cookies:
        words = {word.strip().partition("=")[0].lower() for word in cookie.split(";")[1:]}
        missing = [name for name in ("HttpOnly", "SameSite", *(("Secure",) if https else ())) if name.lower() not in words]
        if missing:
            yield f"a cookie is not {' and not '.join(missing)}"


def problem(reply: Reply) -> Iterator[str]:
    """Yield how *reply* differs from a problem of RFC 9457."""
    if not reply.is_problem:
        yield f"it is {reply.media_type or 'of no type'} and no application/problem+json"
        return
    content = reply.content
    if not isinstance(content, dict):
        yield "the problem is no JSON object"
        return
    for name, kind in _PROBLEM.items():
        value = content.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"the problem has no {name}"
    if isinstance(content.get("status"), int) and content["status"] != reply.status:
        yield "the problem names another status"


def shape(value: Any, schema: Mapping[str, Any], where: str = "") -> list[str]:
    """
    Return where *value* differs from a JSON Schema, as far as this goes: types, names that must be there or must not, constants, entries.

    Values are not told: they are somebody's data.
    """
    return list(_differences(value, schema, where))[:_MANY]


def _differences(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    here = where or "the answer"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and all(list(_differences(value, choice, where)) for choice in choices):
        yield f"{here} is none of what it may be"
        return
    kinds = schema.get("type")
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{here} is not of the type {kinds if isinstance(kinds, str) else ' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{here} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{here} is not one of the values that it may have"
    if isinstance(value, dict):
        yield from _members(value, schema, where, here)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, entry in enumerate(value):
            yield from _differences(entry, schema["items"], f"{where}/{number}")


def _members(value: dict[str, Any], schema: Mapping[str, Any], where: str, here: str) -> Iterator[str]:
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{here} has no {name}"
    for name, member in value.items():
        if name in known:
            yield from _differences(member, known[name], f"{where}/{name}")
        elif rest is False:
            yield f"{here} has a member that it must not have"
        elif isinstance(rest, dict):
            yield from _differences(member, rest, f"{where}/…")


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS.get(kind, (object,)))
