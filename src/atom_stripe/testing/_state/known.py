"""
What Stripe knows and the sandbox may not: every operation, its parameters, every type of event.

Asked only when a request is about to be refused, to tell what Stripe would refuse too from what only the sandbox does not do. The
answers come from the generated parameter types and, below the top level, from those of the ``stripe`` package.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

_OPERATION = re.compile(r"``((?:GET|POST|DELETE) /v[12]/\S+)``\.")
_QUOTED = re.compile(r"'([a-z0-9_.*]+)'")


@cache
def operations() -> dict[str, type]:
    """Return the parameter types of every operation, by verb and path: ``POST /v1/refunds/{refund}``."""
    package = import_module("atom_stripe.resources.params")
    found: dict[str, type] = {}
    for info in walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(import_module(info.name)).values():
            match = _OPERATION.fullmatch((getattr(value, "__doc__", None) or "").strip())
            if match and isinstance(value, type):
                found[match[1]] = value
    return found


def operation(method: str, path: str) -> str | None:
    """Return the operation of Stripe's that this request is for, ``None`` if Stripe has none."""
    for name in operations():
        verb, _, template = name.partition(" ")
        if verb == method and pattern(template).fullmatch(path):
            return name
    return None


def verbs(path: str) -> list[str]:
    """Return the verbs that Stripe has for *path*."""
    return [verb for verb in ("GET", "POST", "DELETE") if operation(verb, path)]


@cache
def pattern(template: str) -> re.Pattern[str]:
    """Return what matches the paths of *template*, with its arguments as groups."""
    return re.compile("".join(rf"(?P<{part[1:-1]}>[^/]+)" if part[:1] == "{" else re.escape(part) for part in re.split(r"(\{\w+\})", template)))


def parameter(operation_name: str, path: tuple[str, ...]) -> bool:
    """Return whether Stripe's operation takes the parameter at *path*: ``("shipping", "address", "line1")``."""
    kind = operations().get(operation_name)
    if kind is None or path[0] not in kind.__annotations__ or path[0] in _options():
        return False
    return len(path) == 1 or _reaches(_inside(kind.__annotations__[path[0]]), path[1:])


@cache
def event_types() -> frozenset[str]:
    """Return every type of event that an endpoint can ask for, and ``*``."""
    kind = operations()["POST /v1/webhook_endpoints"]
    return frozenset(_QUOTED.findall(str(kind.__annotations__["enabled_events"])))


def _reaches(kinds: list[type], path: tuple[str, ...]) -> bool:
    if path[0].isdigit() or path[0] == "":
        return len(path) == 1 or _reaches(kinds, path[1:])
    for kind in kinds:
        if path[0] in kind.__annotations__:
            return len(path) == 1 or _reaches(_inside(kind.__annotations__[path[0]]), path[1:])
    return False


def _inside(annotation: Any) -> list[type]:
    """Return the types of objects that *annotation* names."""
    names = re.findall(r"[A-Z]\w+Params[A-Z]\w*", str(annotation))
    stripe_params: Any = import_module("stripe.params") if names else None
    return [getattr(stripe_params, name) for name in names if hasattr(stripe_params, name)]


@cache
def _options() -> frozenset[str]:
    options: frozenset[str] = import_module("atom_stripe.config").OPTIONS
    return options
