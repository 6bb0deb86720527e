"""
The parameters of an operation, read from the ``TypedDict`` that the ``stripe`` package has for them.

Only the fields of the outermost ``TypedDict`` are read; the types inside it stay references to ``stripe.params``. Stripe's own
request options, which many of these types inherit, are no parameters and are left out.
"""

from __future__ import annotations

import ast
import builtins
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.service_definitions import Reference, UnknownDefinitionError, class_named, imported

if TYPE_CHECKING:
    from tools.service_definitions import Sources

_STRIPES_OPTIONS = Reference("stripe._request_options", "RequestOptions")
# The older spellings of what the language now has itself.
_MODERN = {"List": "list", "Dict": "dict"}
_TYPING = {"Any", "Literal", "Required"}


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter: its name, its type as source text, and whether Stripe's types demand it."""

    name: str
    type: str
    required: bool

    @property
    def is_keyword(self) -> bool:
        """Whether Python keeps the name for itself (``from``), so that no class body can declare it."""
        return keyword.iskeyword(self.name)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one operation, and what the text of their types refers to."""

    name: str
    fields: tuple[Field, ...]
    references: frozenset[Reference]
    typing: frozenset[str]


def parameters(sources: Sources, reference: Reference) -> Parameters:
    """Return the parameters that the class *reference* describes."""
    module = sources.module(reference.module)
    imports = imported(module)
    definition = class_named(module, reference)
    fields = [*_inherited(definition, module, imports, reference), *_declared(definition, reference)]
    text = _Text(reference, imports)
    written = tuple(Field(name, text.of(annotation), required) for name, annotation, required in fields)
    public = frozenset(_public(sources, name) for name in text.references)
    typing = text.typing | ({"Required"} if any(field.required for field in written) else set())
    return Parameters(reference.name, written, public, frozenset(typing))


def _inherited(
    definition: ast.ClassDef, module: ast.Module, imports: dict[str, Reference], reference: Reference
) -> list[tuple[str, ast.expr, bool]]:
    """Return the fields that come from the base class: none, or those whose names are Python keywords."""
    match definition.bases:
        case [ast.Name("TypedDict")]:
            return []
        case [ast.Name(name)] if imports.get(name) == _STRIPES_OPTIONS:
            return []
        case [ast.Name(name)]:
            for node in module.body:
                match node:
                    case ast.Assign([ast.Name(same)], ast.Call(ast.Name("TypedDict"), [_, ast.Dict(keys, values)])) if same == name:
                        return [
                            _field(ast.literal_eval(key), value, reference) for key, value in zip(keys, values, strict=True) if key
                        ]
    raise UnknownDefinitionError(
        f"{reference.module}.{reference.name}", f"bases {[ast.unparse(base) for base in definition.bases]}"
    )


def _declared(definition: ast.ClassDef, reference: Reference) -> list[tuple[str, ast.expr, bool]]:
    fields: list[tuple[str, ast.expr, bool]] = []
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(ast.Name(name), annotation, None):
                fields.append(_field(name, annotation, reference))
            case ast.Pass() | ast.Expr(ast.Constant(str())):
                pass
            case _:
                raise UnknownDefinitionError(f"{reference.module}.{reference.name}", ast.unparse(statement))
    return fields


def _field(name: str, annotation: ast.expr, reference: Reference) -> tuple[str, ast.expr, bool]:
    match annotation:
        case ast.Subscript(ast.Name("NotRequired"), inner):
            return name, inner, False
        case ast.Subscript(ast.Name("Required" | "ReadOnly")):
            raise UnknownDefinitionError(f"{reference.module}.{reference.name}.{name}", ast.unparse(annotation))
    return name, annotation, True


class _Text:
    """Writes annotations as we write them, and remembers what they refer to."""

    def __init__(self, owner: Reference, imports: dict[str, Reference]) -> None:
        self._owner = owner
        self._imports = imports
        self.references: set[Reference] = set()
        self.typing: set[str] = set()

    def of(self, annotation: ast.expr) -> str:
        match annotation:
            case ast.Constant(str() as quoted):
                text = self.of(ast.parse(quoted, mode="eval").body)
            case ast.Constant(None):
                text = "None"
            case ast.Name(name):
                text = self._name(name)
            case ast.BinOp(left, ast.BitOr(), right):
                text = self._union([left, right])
            case ast.Subscript(ast.Name("Union"), ast.Tuple(members)):
                text = self._union(members)
            case ast.Subscript(ast.Name("Optional"), member):
                text = f"{self.of(member)} | None"
            case ast.Subscript(ast.Name("Literal")):
                self.typing.add("Literal")
                text = ast.unparse(annotation)
            case ast.Subscript(ast.Name(("List" | "Dict") as name), inner):
                members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                text = f"{_MODERN[name]}[{', '.join(self.of(member) for member in members)}]"
            case _:
                raise UnknownDefinitionError(f"{self._owner.module}.{self._owner.name}", ast.unparse(annotation))
        return text

    def _union(self, members: list[ast.expr]) -> str:
        return " | ".join(self.of(member) for member in members if not _is_sdk_object(member))

    def _name(self, name: str) -> str:
        source = self._imports.get(name)
        if source is None and hasattr(builtins, name):
            return name
        if source is not None and source.module == "typing" and name in _TYPING:
            self.typing.add(name)
        else:
            self.references.add(source or Reference(self._owner.module, name))
        return name


def _is_sdk_object(member: ast.expr) -> bool:
    # Where a map of strings is taken, Stripe's types also allow an object of the official client's.
    match member:
        case ast.Subscript(ast.Name("UntypedStripeObject")):
            return True
    return False


def _public(sources: Sources, reference: Reference) -> Reference:
    """Return *reference* by the public module that exports it."""
    if not any(part.startswith("_") for part in reference.module.split(".")):
        return reference
    package = reference.module.rpartition(".")[0]
    if imported(sources.module(package)).get(reference.name) != reference:
        raise UnknownDefinitionError(f"{reference.module}.{reference.name}", f"{package} does not export it")
    return Reference(package, reference.name)
