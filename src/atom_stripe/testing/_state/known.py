"""
What Stripe knows and the sandbox may not: every operation, its parameters, every type of event.

Asked only when a request is about to be refused, to tell what Stripe would refuse too from what only the sandbox does not do. The
answers come from our generated parameter types and, for parameters inside others, from the source text of the ``stripe`` package, which
is read and never loaded.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

from atom_stripe.config import OPTIONS

_OPERATION = re.compile(r"``((?:GET|POST|DELETE) /v[12]/\S+)``\.")
_NESTED = re.compile(r"[A-Z]\w+Params[A-Z]\w*")
_QUOTED = re.compile(r"'([a-z0-9_.*-]+)'")


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
    return re.compile(
        "".join(rf"(?P<{part[1:-1]}>[^/]+)" if part[:1] == "{" else re.escape(part) for part in re.split(r"(\{\w+\})", template))
    )


def parameter(name: str, path: tuple[str, ...]) -> str | None:
    """
    Return the type of the parameter at *path* of the operation *name*, ``None`` if Stripe has no such parameter.

    *path*: ``("shipping", "address", "line1")``; indexes of lists may be in it and do not count.
    """
    kind = operations().get(name)
    if kind is None or path[0] in OPTIONS or path[0] not in kind.__annotations__:
        return None
    annotation = kind.__annotations__[path[0]]
    return _inside(getattr(annotation, "__forward_arg__", str(annotation)), path[1:], kind.__module__)


@cache
def words(name: str, *path: str) -> frozenset[str]:
    """Return the words that Stripe lists for a parameter: the types of events, or of payment methods."""
    return frozenset(_QUOTED.findall(parameter(name, path) or ""))


def _inside(annotation: str, path: tuple[str, ...], module: str) -> str | None:
    if not path:
        return annotation
    if path[0].isdigit() or not path[0]:
        return _inside(annotation, path[1:], module)
    for name in _NESTED.findall(annotation):
        field = _fields(name, module).get(path[0])
        if field is not None and (found := _inside(field, path[1:], module)) is not None:
            return found
    return None


@cache
def _fields(name: str, module: str) -> dict[str, str]:
    """Return the fields of a parameter's type, as stripe's sources have it: those of *module*'s own part of the API come first."""
    spec = find_spec("stripe")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "params"
    file = "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name.partition("Params")[0] + "Params").lower() + ".py"
    for part in [*module.split("."), "."]:
        path = folder / part / file
        if path.is_file():
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return {
                        entry.target.id: ast.unparse(entry.annotation)
                        for entry in node.body
                        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
                    }
    return {}
