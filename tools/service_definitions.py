"""
What the installed ``stripe`` package says about Stripe's API: its services, their operations and the parameters' types.

Everything is read from the source text, never by importing it, and nothing is guessed: a definition in a shape that is not known
here raises ``UnknownDefinitionError``, so that an upgrade of stripe cannot change a request in silence.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["object", "page", "content", "nothing"]

_LISTS = {"ListObject", "SearchResultObject"}
_HOSTS = {"api", "connect", "files", "meter_events"}
_VERBS = {"get", "post", "delete"}


class UnknownDefinitionError(Exception):
    """A definition in the ``stripe`` package has a shape that the generator has not learned yet."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A class of the ``stripe`` package and the module that defines it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation answers: one of the objects *of*, a page of them, the bytes of a document, or nothing."""

    kind: Kind
    of: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """One operation of a service."""

    name: str
    verb: str
    path: str
    arguments: tuple[str, ...]
    host: str
    multipart: bool
    encodings: dict[str, Any] | None
    params: Reference
    result: Result


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """A service: its place in the client (``("checkout", "sessions")``), its operations and the services below it."""

    place: tuple[str, ...]
    name: str
    methods: tuple[Method, ...]
    parts: tuple[ServiceDefinition, ...]

    def walk(self) -> Iterator[ServiceDefinition]:
        """Yield this service and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, slots=True)
class Sources:
    """The source files of an installed ``stripe`` package."""

    package: Path

    def module(self, name: str) -> ast.Module:
        """Return the module *name* (``stripe.checkout._session``), parsed."""
        path = self.package.joinpath(*name.split(".")[1:])
        return _parsed(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))

    def tree(self) -> ServiceDefinition:
        """Return the services of both APIs as the client has them: those of v1 at the top, those of v2 under ``v2``."""
        v1 = self._service((), Reference("stripe._v1_services", "V1Services"))
        v2 = self._service(("v2",), Reference("stripe._v2_services", "V2Services"))
        return ServiceDefinition((), "Services", v1.methods, (*v1.parts, v2))

    def object_name(self, reference: Reference) -> str | None:
        """Return how Stripe names the object of a class in ``object``, ``None`` for a class without such a name."""
        for statement in class_named(self.module(reference.module), reference).body:
            match statement:
                case ast.AnnAssign(target=ast.Name("OBJECT_NAME"), value=ast.Constant(str() as name)):
                    return name
        return None

    def _service(self, place: tuple[str, ...], reference: Reference) -> ServiceDefinition:
        module = self.module(reference.module)
        imports = imported(module)
        body = class_named(module, reference).body
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name not in {"__init__", "__getattr__"}]
        return ServiceDefinition(
            place,
            reference.name,
            tuple(_method(function, imports, f"{reference.module}.{reference.name}") for function in functions),
            tuple(self._service((*place, name), Reference(*target)) for name, target in _subservices(module).items()),
        )


def class_named(module: ast.Module, reference: Reference) -> ast.ClassDef:
    """Return the class of *reference* from its parsed module."""
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == reference.name:
            return node
    raise UnknownDefinitionError(reference.module, f"no class {reference.name}")


@cache
def imported(module: ast.Module) -> dict[str, Reference]:
    """Return where each name comes from that *module* imports, also those that it imports for its types alone."""
    statements = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: Reference(node.module or "", alias.name) for node in statements for alias in node.names}


def _subservices(module: ast.Module) -> dict[str, list[str]]:
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name("_subservices")], value=value):
                return dict(ast.literal_eval(value))
    return {}


def _method(function: ast.FunctionDef, imports: dict[str, Reference], service: str) -> Method:
    where = f"{service}.{function.name}"
    match function.body:
        case [*options, ast.Return(ast.Call(func=ast.Name("cast"), args=[_, ast.Call() as call]))]:
            pass
        case [*options, ast.Expr(ast.Call() as call)]:
            pass
        case _:
            raise UnknownDefinitionError(where, "the method does not end in one request")
    match call:
        case ast.Call(
            func=ast.Attribute(value=ast.Name("self"), attr=("_request" | "_request_stream") as request),
            args=[ast.Constant(str() as verb), path_expression],
            keywords=[
                ast.keyword("base_address", ast.Constant(str() as host)),
                ast.keyword("params", params),
                ast.keyword("options", ast.Name("options")),
            ],
        ) if verb in _VERBS and host in _HOSTS:
            pass
        case _:
            raise UnknownDefinitionError(where, ast.unparse(call))
    arguments, params_type = _signature(function, where)
    return Method(
        name=function.name,
        verb=verb.upper(),
        path=_path(path_expression, arguments, where),
        arguments=arguments,
        host=host,
        multipart=_is_multipart(options, where),
        encodings=_encodings(params, where),
        params=imports[params_type],
        result=_result(function.returns, imports, where, streams=request == "_request_stream"),
    )


def _signature(function: ast.FunctionDef, where: str) -> tuple[tuple[str, ...], str]:
    match function.args:
        case ast.arguments(
            posonlyargs=[*ids],
            args=[*_, ast.arg("params", annotation), ast.arg("options")],
            vararg=None,
            kwonlyargs=[],
            kwarg=None,
        ) if len(function.args.args) + len(ids) == len(ids[1:]) + 3 and annotation is not None:
            match _expression(annotation):
                case ast.Name(params) | ast.Subscript(ast.Name("Optional"), ast.Constant(str() as params)):
                    return tuple(argument.arg for argument in ids[1:]), params
    raise UnknownDefinitionError(where, ast.unparse(function.args))


def _path(expression: ast.expr, arguments: tuple[str, ...], where: str) -> str:
    """Return the path with its arguments in braces, once sure that the method takes them in that order."""
    match expression:
        case ast.Constant(str() as path):
            names: list[str] = []
        case ast.Call(func=ast.Attribute(value=ast.Constant(str() as path), attr="format"), args=[], keywords=keywords):
            for keyword in keywords:
                match keyword:
                    case ast.keyword(str() as name, ast.Call(ast.Name("sanitize_id"), [ast.Name(same)])) if name == same:
                        continue
                raise UnknownDefinitionError(where, ast.unparse(expression))
            names = [keyword.arg or "" for keyword in keywords]
        case _:
            raise UnknownDefinitionError(where, ast.unparse(expression))
    braces = [part.partition("}")[0] for part in path.split("{")[1:]]
    if not tuple(braces) == tuple(names) == arguments:
        raise UnknownDefinitionError(where, f"the arguments {arguments} are not those of {path}, in its order")
    return path


def _is_multipart(statements: list[ast.stmt], where: str) -> bool:
    source = [ast.unparse(node) for node in statements if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    if source not in ([], ["if options is None:\n    options = {}", "options['content_type'] = 'multipart/form-data'"]):
        raise UnknownDefinitionError(where, "; ".join(source))
    return bool(source)


def _encodings(params: ast.expr, where: str) -> dict[str, Any] | None:
    match params:
        case ast.Name("params"):
            return None
        case ast.Call(ast.Name("_coerce_v2_params"), [ast.Name("params"), ast.Dict() as schema]):
            return dict(ast.literal_eval(schema))
    raise UnknownDefinitionError(where, ast.unparse(params))


def _result(annotation: ast.expr | None, imports: dict[str, Reference], where: str, *, streams: bool) -> Result:
    if annotation is None:
        raise UnknownDefinitionError(where, "no return type")
    if streams:
        return Result("content")
    match _expression(annotation):
        case ast.Constant(None):
            return Result("nothing")
        case ast.Name(name):
            return Result("object", (imports[name],))
        case ast.Subscript(ast.Name("Union")) as union:
            return Result("object", _members(union, imports, where))
        case ast.Subscript(ast.Name(name), entries) if name in _LISTS:
            return Result("page", _members(entries, imports, where))
    raise UnknownDefinitionError(where, ast.unparse(annotation))


def _members(expression: ast.expr, imports: dict[str, Reference], where: str) -> tuple[Reference, ...]:
    match expression:
        case ast.Name(name):
            return (imports[name],)
        case ast.Subscript(ast.Name("Union"), ast.Tuple(members)):
            return tuple(reference for member in members for reference in _members(member, imports, where))
    raise UnknownDefinitionError(where, ast.unparse(expression))


def _expression(annotation: ast.expr) -> ast.expr:
    """Return an annotation without the quotes around it."""
    match annotation:
        case ast.Constant(str() as text):
            return ast.parse(text, mode="eval").body
    return annotation


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))
