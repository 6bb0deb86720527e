"""
Writes ``models/``: a module for each object that we type, the registry that finds them, and the package's names.

The classes come from the source text of the installed ``stripe`` package. Names and nesting stay as they are there. What changes:
annotations are the ones of today's Python; enums are open, because Stripe adds values at any time; a field that Stripe moved, and
that ``models/moved.py`` has a reader for, is left to the reader.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from tools.service_definitions import Reference, Sources, UnknownDefinitionError, class_named, imported
from tools.typed_objects import TYPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MODELS = Path(__file__).resolve().parent.parent / "src" / "atom_stripe" / "models"
# Stripe's name of the object and ours of the class. These are not generated; Event stands in for every kind of event.
_BY_HAND = {"event": "Event", "v2.core.event": "EventNotification"}
_BASES = ("ListObject", "StripeModel", "StripeObject")
_SCALARS = {"str", "int", "float", "bool", "Any", "Decimal"}
# An enum with more values than this says nothing that a reader could keep in mind.
_FEW = 12
# Fields of Stripe's that StripeModel itself reads.
_INHERITED = frozenset({"api_version"})
_API = "https://docs.stripe.com/api"
# Where Stripe describes the object, below _API. What is not here is on a page that we have not seen.
_PAGES = {
    "account": "accounts/object",
    "account_link": "account_links/object",
    "application_fee": "application_fees/object",
    "balance": "balance/balance_object",
    "balance_transaction": "balance_transactions/object",
    "bank_account": "external_account_bank_accounts/object",
    "billing_portal.configuration": "customer_portal/configurations/object",
    "billing_portal.session": "customer_portal/sessions/object",
    "capability": "capabilities/object",
    "card": "external_account_cards/object",
    "cash_balance": "cash_balance/object",
    "charge": "charges/object",
    "checkout.session": "checkout/sessions/object",
    "coupon": "coupons/object",
    "credit_note": "credit_notes/object",
    "customer": "customers/object",
    "customer_balance_transaction": "customer_balance_transactions/object",
    "discount": "discounts/object",
    "dispute": "disputes/object",
    "fee_refund": "fee_refunds/object",
    "file": "files/object",
    "invoice": "invoices/object",
    "invoice_payment": "invoice-payment/object",
    "invoiceitem": "invoiceitems/object",
    "line_item": "invoice-line-item/object",
    "mandate": "mandates/object",
    "payment_intent": "payment_intents/object",
    "payment_link": "payment-link/object",
    "payment_method": "payment_methods/object",
    "payout": "payouts/object",
    "person": "persons/object",
    "plan": "plans/object",
    "price": "prices/object",
    "product": "products/object",
    "promotion_code": "promotion_codes/object",
    "quote": "quotes/object",
    "radar.early_fraud_warning": "radar/early_fraud_warnings/object",
    "refund": "refunds/object",
    "review": "radar/reviews/object",
    "setup_attempt": "setup_attempts/object",
    "setup_intent": "setup_intents/object",
    "shipping_rate": "shipping_rates/object",
    "subscription": "subscriptions/object",
    "subscription_item": "subscription_items/object",
    "subscription_schedule": "subscription_schedules/object",
    "tax_id": "tax_ids/object",
    "tax_rate": "tax_rates/object",
    "test_helpers.test_clock": "test_clocks/object",
    "topup": "topups/object",
    "transfer": "transfers/object",
    "transfer_reversal": "transfer_reversals/object",
    "webhook_endpoint": "webhook_endpoints/object",
}


def generate(stripe_package: Path) -> dict[str, str]:
    """Return the generated files of ``models/``: their text, by their path below our package."""
    sources = Sources(stripe_package)
    typed = {**TYPED, **_BY_HAND}
    where = _objects(stripe_package)
    classes = {reference: typed[name] for name, reference in where.items() if name in typed}
    readers = _readers()
    if taken := {_module(name) for name in TYPED.values()} & {"answer", "base", "moved", "registry"}:
        raise UnknownDefinitionError("models", f"{taken} are modules written by hand")
    files: dict[str, str] = {}
    older: dict[str, str] = {}
    for name, model in TYPED.items():
        if name in _BY_HAND:
            continue
        if name not in where:
            raise UnknownDefinitionError("stripe", f"no object {name!r}")
        writer = _Writer(name, where[name], sources.module(where[name].module), classes, readers.get(model, frozenset()))
        files[f"models/{_module(model)}.py"] = writer.text(model)
        if writer.older_name:
            older[writer.older_name] = model
    return {**files, "models/__init__.py": _package(typed), "models/registry.py": _registry({**older, **typed})}


_OBJECT = re.compile(
    r"""
    ^class\ (\w+)\(
    (?:(?!^class\ ).)*?                # what comes between, but no other class
    ^\ {4}OBJECT_NAME:\ ClassVar\[\s*Literal\["([\w.]+)"\]
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


def _objects(package: Path) -> dict[str, Reference]:
    """Return the class of each object, by the name that Stripe gives it in ``object``."""
    found: dict[str, Reference] = {}
    for path in sorted(package.rglob("_*.py")):
        place = path.relative_to(package).with_suffix("").parts
        # events/ has a class for each kind of thin event, all of them of the same object.
        if place[0] not in {"params", "events"}:
            module = ".".join(("stripe", *place))
            found |= {name: Reference(module, class_name) for class_name, name in _OBJECT.findall(path.read_text(encoding="utf-8"))}
    return found


def _readers() -> dict[str, frozenset[str]]:
    """Return the names of the properties in ``moved.py``, by the class that they are for: ``InvoiceReaders`` is for ``Invoice``."""
    return {
        node.name.removesuffix("Readers"): frozenset(item.name for item in node.body if isinstance(item, ast.FunctionDef))
        for node in ast.parse((_MODELS / "moved.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


@cache
def _reserved() -> frozenset[str]:
    """Return the names that a field cannot have, because every model has an attribute of that name."""
    ours = {
        item.name
        for node in ast.parse((_MODELS / "base.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in {"View", "StripePart", "StripeModel"}
        for item in ast.walk(node)
        if isinstance(item, ast.FunctionDef)
    }
    return frozenset(ours | set(dir(pydantic.BaseModel))) - _INHERITED


def _module(class_name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


@dataclass(frozen=True, slots=True)
class _Part:
    """A class to be written: its fields as (name, annotation, shape), and the classes inside it."""

    name: str
    fields: tuple[tuple[str, str, str | None], ...]
    parts: tuple[_Part, ...]


class _Writer:
    """Writes the module of one object."""

    def __init__(
        self, name: str, reference: Reference, module: ast.Module, classes: Mapping[Reference, str], readers: frozenset[str]
    ) -> None:
        self._name = name
        self._reference = reference
        self._readers = readers
        self._root = class_named(module, reference)
        nested = {node.name for node in ast.walk(self._root) if isinstance(node, ast.ClassDef)} - {self._root.name}
        self._types = _Types(reference, imported(module), classes, nested)
        # What Stripe calls the object in older API versions, where that is another name.
        self.older_name: str | None = None

    def text(self, model: str) -> str:
        """Return the module as source text, with imports in any order and lines of any length."""
        root = self._part(self._root, model, self._readers | _INHERITED)
        if clash := _reserved().intersection(name for name, *_ in root.fields):
            raise UnknownDefinitionError(model, f"StripeModel has attributes called {clash}: give these fields readers")
        body = "\n".join(self._class(root, model))
        return f"from __future__ import annotations\n\n{self._head(body, model)}\n\n{body}\n"

    def _head(self, body: str, model: str) -> str:
        types = ["from collections.abc import Mapping"] if "Mapping[" in body else []
        if self._types.bases:
            types.append(f"from atom_stripe.models.base import {', '.join(sorted(self._types.bases))}")
        for other in sorted(self._types.models - {model}):
            called = self._types.called(other)
            types.append(f"from atom_stripe.models.{_module_of(other)} import {other}{'' if called == other else f' as {called}'}")
        typing = {*re.findall(r"\b(Any|ClassVar|Literal)\b", body), *(["TYPE_CHECKING"] if types else [])}
        bases = {"StripeModel", *re.findall(r"\((StripePart)\)", body)}
        lines = [
            f"from typing import {', '.join(sorted(typing))}",
            f"from atom_stripe.models.base import {', '.join(sorted(bases))}",
        ]
        if "Decimal" in body:
            lines.append("from decimal import Decimal")
        if self._readers:
            lines.append(f"from atom_stripe.models.moved import {model}Readers")
        if types:
            lines += ["if TYPE_CHECKING:", *(f"    {line}" for line in types)]
        return "\n".join(lines)

    def _class(self, part: _Part, model: str = "") -> list[str]:
        """Return the lines of a class: of the object itself if *model* is given, otherwise of a part of it."""
        if model:
            page = f"{_API}/{_PAGES[self._name]}" if self._name in _PAGES else _API
            readers = f"{model}Readers, " if self._readers else ""
            lines = [f"class {part.name}({readers}StripeModel):", f'    """``{self._name}``. Source: {page}"""', ""]
        else:
            lines = [f"class {part.name}(StripePart):"]
        if model.startswith("Test"):
            lines += ["    # pytest takes every class with such a name for a test.", "    __test__: ClassVar[bool] = False", ""]
        for inner in part.parts:
            lines += [*(f"    {line}" if line else "" for line in self._class(inner)), ""]
        lines += [f"    {name}: {annotation}" for name, annotation, _ in part.fields]
        if shapes := [f'"{name}": {shape}' for name, _, shape in part.fields if shape]:
            lines += ["", f"    _shapes: ClassVar[Mapping[str, Any]] = {{{', '.join(shapes)}}}"]
        return lines if part.fields or part.parts else [*lines, "    pass"]

    def _part(self, definition: ast.ClassDef, name: str, left_out: frozenset[str] = frozenset()) -> _Part:
        where = f"{self._reference.module}.{name}"
        parts: list[_Part] = []
        fields: list[tuple[str, ast.expr]] = []
        encodings: dict[str, str] = {}
        for statement in definition.body:
            match statement:
                case _ if _is_behaviour(statement):
                    pass
                case ast.ClassDef(inner, [ast.Name("StripeObject")]):
                    parts.append(self._part(statement, inner))
                case ast.AnnAssign(ast.Name(field), annotation, None):
                    fields.append((field, annotation))
                case ast.Assign([ast.Name("_field_encodings")], value):
                    encodings = ast.literal_eval(value)
                case ast.Assign([ast.Name("OBJECT_NAME_ALT")], ast.Constant(str() as older)):
                    self.older_name = older
                case _:
                    raise UnknownDefinitionError(where, ast.unparse(statement))
        if unknown := set(encodings.values()) - {"decimal_string", "int64_string"}:
            raise UnknownDefinitionError(where, f"encodings {unknown}")
        inner_names = frozenset(part.name for part in parts)
        written = [
            self._types.field(field, annotation, inner_names, encodings.get(field))
            for field, annotation in fields
            if field not in left_out
        ]
        return _Part(name, tuple(written), tuple(parts))


class _Types:
    """Writes the annotations of one object, and remembers the other models that they name."""

    def __init__(
        self, owner: Reference, imports: Mapping[str, Reference], classes: Mapping[Reference, str], nested: set[str]
    ) -> None:
        self._owner = owner
        self._imports = imports
        self._classes = classes
        self._nested = nested
        self.models: set[str] = set()
        self.bases: set[str] = set()

    def called(self, model: str) -> str:
        """Return what *model* is called in this module: inside a class that has a part called Card, Card is that part."""
        return f"{model}Object" if model in self._nested else model

    def field(self, name: str, annotation: ast.expr, inner: frozenset[str], encoding: str | None) -> tuple[str, str, str | None]:
        """Return the *name*, type and shape of a field, in a class whose parts are called *inner*."""
        try:
            members = list(dict.fromkeys(self._members(annotation, inner)))
        except UnknownDefinitionError:
            raise UnknownDefinitionError(f"{self._owner.module}.{name}", ast.unparse(annotation)) from None
        if name == "object" and members[-1] == "str":
            # The one enum that is closed: this is how type checkers tell objects apart.
            members.pop()
        ordered = [member for member in members if member != "None"] + ["None"] * ("None" in members)
        return name, " | ".join(ordered), "int" if encoding == "int64_string" else _shape(members, inner)

    def _members(self, annotation: ast.expr, inner: frozenset[str]) -> Iterator[str]:
        """Yield the types that an annotation allows."""
        match annotation:
            case ast.Name(name) if name in inner or name in _SCALARS:
                yield name
            case ast.Name(name):
                yield self._model(name)
            case ast.Constant(str() as quoted):
                # In quotes: never a part.
                yield self._model(quoted)
            case ast.Subscript(ast.Name("Union"), ast.Tuple(members)):
                for member in members:
                    yield from self._members(member, inner)
            case ast.Subscript(ast.Name("Literal"), values):
                yield from _literal(values)
            case ast.Subscript(ast.Name(container), member):
                yield from self._contained(container, list(dict.fromkeys(self._members(member, inner))))
            case _:
                raise UnknownDefinitionError(self._owner.module, ast.unparse(annotation))

    def _contained(self, container: str, members: list[str]) -> list[str]:
        match container:
            case "Optional":
                return [*members, "None"]
            case "ExpandableField":
                return ["str", *members]
            case "List":
                return [f"list[{' | '.join(members)}]"]
            case "ListObject":
                self.bases.add("ListObject")
                return [f"ListObject[{' | '.join(members)}]"]
            case "UntypedStripeObject":
                return [f"dict[str, {' | '.join(members)}]"]
            case _:
                raise UnknownDefinitionError(self._owner.module, container)

    def _model(self, name: str) -> str:
        """Return what the class of another object is called here."""
        reference = self._owner if name == self._owner.name else self._imports.get(name)
        if reference is None:
            raise UnknownDefinitionError(self._owner.module, name)
        model = self._classes.get(reference)
        if model is None:
            self.bases.add("StripeObject")
            return "StripeObject"
        self.models.add(model)
        return self.called(model)


def _is_behaviour(statement: ast.stmt) -> bool:
    """Return whether a statement of a class says nothing about the fields."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Pass() | ast.Expr(ast.Constant(str())):
            return True
        case ast.AnnAssign(annotation=ast.Subscript(ast.Name("ClassVar"))):
            return True
        # What the official client needs to do the same as _shapes.
        case ast.Assign([ast.Name("_inner_class_types" | "_inner_class_dicts")]):
            return True
        # Its calls for tests, which are operations of ours.
        case ast.ClassDef("TestHelpers") | ast.Assign([ast.Attribute(ast.Name("TestHelpers"))]):
            return True
        case _:
            return False


def _shape(members: list[str], inner: frozenset[str]) -> str | None:
    """Return what JSON does not say about a value of these types."""
    for member in members:
        if match := re.fullmatch(r"(?:list\[)?(\w+)\]?", member):
            if match[1] in inner or match[1] == "Decimal":
                return match[1]
        elif match := re.fullmatch(r"dict\[str, (\w+)\]", member):
            return member if match[1] in inner else "dict"
    return None


def _literal(values: ast.expr) -> Iterator[str]:
    """Yield an enum, open: Stripe adds values whenever it likes."""
    constants = [
        member.value if isinstance(member, ast.Constant) else None
        for member in (values.elts if isinstance(values, ast.Tuple) else [values])
    ]
    if all(isinstance(constant, bool) for constant in constants):
        yield "bool"
    elif all(isinstance(constant, str) for constant in constants):
        if len(constants) <= _FEW:
            yield f"Literal[{', '.join(repr(constant) for constant in constants)}]"
        yield "str"
    else:
        raise UnknownDefinitionError("Literal", ast.unparse(values))


def _module_of(model: str) -> str:
    return "event" if model in _BY_HAND.values() else _module(model)


def _package(typed: Mapping[str, str]) -> str:
    modules = {model: _module_of(model) for model in typed.values()} | dict.fromkeys(_BASES, "base")
    names = sorted(modules)
    imports = "\n".join(f"    from atom_stripe.models.{modules[name]} import {name}" for name in names)
    table = ", ".join(f'"{name}": "{modules[name]}"' for name in names)
    exported = ", ".join(f'"{name}"' for name in names)
    return f'''"""
The objects of Stripe's that this package types. Everything else that Stripe sends is a ``StripeObject``.

Each one is imported when it is first used. Source: {_API}
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
{imports}

__all__ = [{exported}]

_MODULES = {{{table}}}

# Hidden from type checkers: to them it would mean that the package has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            msg = f"module {{__name__!r}} has no attribute {{name!r}}"
            raise AttributeError(msg)
        value = globals()[name] = getattr(import_module(f"{{__name__}}.{{_MODULES[name]}}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({{*globals(), *__all__}})
'''


def _registry(typed: Mapping[str, str]) -> str:
    table = ", ".join(f'"{name}": "atom_stripe.models.{_module_of(typed[name])}:{typed[name]}"' for name in sorted(typed))
    return f'''"""Where the model of each object is: by the name that Stripe gives it in ``object``."""

from __future__ import annotations

MODULES: dict[str, str] = {{{table}}}
'''
