"""What ``atom-stripe smoke`` asks of each route, made from what the route says of itself: a route that is added is asked too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atom_stripe.cli.smoke_asking import Who
    from atom_stripe.service import Operation

UNKNOWN = "smoke0nobody0has0this"
"""How the ids end that are asked for in vain."""
_STRANGE = "smoke_no_such_parameter"
_JSON = {"content-type": "application/json"}
_TEXT = {"content-type": "text/plain"}
# Above the limits that are set unless a service sets others, and below those of proxies.
_LARGE = 256 * 1024
_LARGE_DELIVERY = 4 * 1024 * 1024
_NAME = re.compile(r"\{(\w+)\}")
# With these, a write that is let in by mistake does nothing all the same.
_INVALID = json.dumps({_STRANGE: True}).encode()
_FLOAT = json.dumps({_STRANGE: True, "amount": 19.99, "unit_amount": 19.99}).encode()
_EVENT = b'{"id": "evt_smoke_unsigned", "object": "event", "type": "atom_stripe.smoke_test", "data": {"object": {}}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """
    One request that is to be answered with one of the statuses *expected*.

    *refused*: the answer must be a problem. *named*: what one of its errors must name. *kind*: which problem it must be.
    """

    check: str
    path: str
    expected: tuple[int, ...]
    who: Who | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes = b""
    refused: bool = True
    named: str | None = None
    kind: str | None = None
    method: str | None = None


def who_may(operation: Operation) -> Who | None:
    """Return whose token a route wants."""
    if operation.access == "caller" or operation.access == "operator":  # noqa: PLR1714 - type checkers understand this one
        return operation.access
    return None


def filled(path: str, identity: str) -> str:
    """Return *path* with *identity* wherever something is to be named."""
    return _NAME.sub(identity, path)


def unknown_id(operation: Operation) -> str:
    """Return an id as the route has them, of nothing."""
    return (operation.prefixes[0] if operation.prefixes else "") + UNKNOWN


def refusals_without_token(operation: Operation) -> Iterator[Probe]:
    """Yield what strangers try. None of it does anything, even if it is let in: what is written is invalid, and what is named is nobody's."""
    if who_may(operation) is None:
        return
    path = filled(operation.path, unknown_id(operation))
    body: dict[str, Any] = {"headers": _TEXT, "content": _INVALID} if operation.method == "POST" else {}
    yield Probe(check="no token", path=path, expected=(401,), **body)
    if operation.method == "GET" and path == operation.path:
        # All routes ask the same callable, and guesses are limited.
        yield Probe(check="wrong token", path=path, expected=(401, 403), who="stranger")


def refusals(operation: Operation) -> Iterator[Probe]:
    """Yield what must be refused, whoever sends it."""
    who = who_may(operation)
    if operation.access == "signed":
        yield from _deliveries(operation)
        return
    path = filled(operation.path, unknown_id(operation))
    if operation.prefixes:
        yield Probe(
            check="another id",
            path=filled(operation.path, f"nothing_{UNKNOWN}"),
            expected=(404,),
            who=who,
            headers=_TEXT if operation.method == "POST" else {},
            content=_INVALID if operation.method == "POST" else b"",
        )
    if operation.method == "POST" and operation.body is not None:
        yield Probe(check="content type", path=path, expected=(415,), who=who, headers=_TEXT, content=_INVALID)
        yield Probe(check="no JSON", path=path, expected=(400,), who=who, headers=_JSON, content=b'{"')
        if _closed(operation.body):
            yield Probe(
                check="unknown parameter",
                path=path,
                expected=(422,),
                who=who,
                headers=_JSON,
                content=_INVALID,
                named=f"/{_STRANGE}",
            )
        for name in ("amount", "unit_amount"):
            if name in operation.body.model_fields:
                yield Probe(
                    check="money as a float",
                    path=path,
                    expected=(422,),
                    who=who,
                    headers=_JSON,
                    content=_FLOAT,
                    named=f"/{name}",
                )
        large = json.dumps({_STRANGE: "x" * _LARGE}).encode()
        yield Probe(check="oversized body", path=path, expected=(413,), who=who, headers=_JSON, content=large)
    if operation.method != "POST" and _closed(operation.query):
        yield Probe(check="unknown parameter", path=f"{path}?{_STRANGE}=1", expected=(422,), who=who, named=_STRANGE)


def in_vain(operation: Operation) -> Probe | None:
    """Return the request for something that is not there: for reading and deleting, which need nothing else."""
    if operation.method == "POST" or not _NAME.search(operation.path):
        return None
    return Probe(
        check="unknown id",
        path=filled(operation.path, unknown_id(operation)),
        expected=(404,),
        who=who_may(operation),
        kind="not_found",
    )


def another_method(operation: Operation) -> Probe:
    """Return a request in a method that no route has."""
    path = filled(operation.path, unknown_id(operation))
    return Probe(check="another method", method="PUT", path=path, expected=(405,), refused=False)


def reading(operation: Operation, identity: str | None) -> Probe | None:
    """Return the request that reads what there is; ``None`` if nothing is known that could be named."""
    if operation.method != "GET" or (identity is None and _NAME.search(operation.path)):
        return None
    query = _sample(operation)
    path = filled(operation.path, identity or "") + (f"?{query}" if query else "")
    if operation.access == "browser":
        # Nobody began: it must not lead anywhere.
        return Probe(check="out of the blue", path=path, expected=(400, 409, 422))
    expected = (operation.status, 302, 303) if operation.redirects else (operation.status,)
    return Probe(check="answer", path=path, expected=expected, who=who_may(operation), refused=False)


def _deliveries(operation: Operation) -> Iterator[Probe]:
    """Yield deliveries that are not Stripe's. Where each endpoint has a path of its own, none of them is known here, and none of ours must be."""
    named = _NAME.search(operation.path) is not None
    path = filled(operation.path, UNKNOWN)
    kind = None if named else "not_from_stripe"
    expected = (404,) if named else (400,)
    yield Probe(check="no signature", path=path, expected=expected, headers=_JSON, content=_EVENT, kind=kind)
    if named:
        return
    forged = {**_JSON, "stripe-signature": f"t=1700000000,v1={'0' * 64}"}
    yield Probe(check="forged signature", path=path, expected=(400,), headers=forged, content=_EVENT, kind=kind)
    yield Probe(check="oversized body", path=path, expected=(413,), headers=forged, content=b" " * _LARGE_DELIVERY)


def _closed(model: Any) -> bool:
    return bool(model.model_config.get("extra") == "forbid")


def _sample(operation: Operation) -> str:
    """Return a query with what must be there."""
    from urllib.parse import urlencode

    schema = operation.query.model_json_schema()
    definitions = schema.get("$defs", {})
    found: dict[str, str] = {}
    for name in schema.get("required", ()):
        one = schema["properties"][name]
        one = definitions.get(str(one.get("$ref", "")).rpartition("/")[2], one)
        value = _SAMPLES.get(name) or one.get("const") or next(iter([*one.get("enum", ()), *one.get("examples", ())]), None)
        found[name] = str(value if value is not None else one.get("minimum", 1) if one.get("type") == "integer" else "smoke")
    return urlencode(found)


# What cannot be guessed.
_SAMPLES: Mapping[str, str] = {"query": "created>1"}
