"""Writes ``resources/``: a module for each service of Stripe's, with its operations in both colours, and one for its parameters."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.parameter_types import parameters
from tools.service_definitions import Sources, UnknownDefinitionError
from tools.typed_objects import TYPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tools.parameter_types import Field, Parameters
    from tools.service_definitions import Method, Reference, Result, ServiceDefinition

# Written by hand, or generated under a name of our own: no service may be called so.
_TAKEN = {"options", "params", "service", "services"}


def generate(stripe_package: Path, our_package: Path) -> dict[str, str]:
    """Return the modules of ``resources/``: their text, by their path below *our_package*."""
    sources = Sources(stripe_package)
    tree = sources.tree()
    if taken := _TAKEN.intersection(part.place[0] for part in tree.parts):
        raise UnknownDefinitionError("stripe", f"services are called {taken}, as modules of ours are")
    options = _option_names(our_package / "config.py")
    files = {"resources/services.py": _clients(tree), "resources/params/__init__.py": _PARAMS_PACKAGE}
    for service in (below for part in tree.parts for below in part.walk()):
        described = [parameters(sources, method.params) for method in service.methods]
        _check_names(service, described, options)
        files[_file("resources", service)] = _service_module(service, sources)
        if described or service.parts:
            files[_file("resources/params", service)] = _params_module(service, described)
    return files


_PARAMS_PACKAGE = '''"""
The parameters of every operation, as types: ``atom_stripe.resources.params.customers.CustomerCreateParams``.

They are for type checkers. Annotate with them what is put together before the call::

    params: CustomerCreateParams = {"email": "jenny@example.com"}
    customer = stripe.customers.create(**params)
"""
'''


def _option_names(config: Path) -> frozenset[str]:
    for node in ast.parse(config.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef("RequestOptions"):
                return frozenset(
                    field.target.id
                    for field in node.body
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                )
    raise UnknownDefinitionError(str(config), "no class RequestOptions")


def _check_names(service: ServiceDefinition, described: list[Parameters], options: frozenset[str]) -> None:
    """Refuse parameters that a call could not tell from an option, or from the method's own ``self``."""
    for parameters_type in described:
        if clash := {field.name for field in parameters_type.fields} & {*options, "self"}:
            raise UnknownDefinitionError(
                f"{_dotted(service)}: {parameters_type.name}", f"parameters named like options: {sorted(clash)}"
            )


def _file(folder: str, service: ServiceDefinition) -> str:
    return "/".join((folder, *service.place)) + ("/__init__.py" if service.parts else ".py")


def _dotted(service: ServiceDefinition) -> str:
    return ".".join(("stripe", *service.place))


def _imports(references: Iterable[Reference]) -> list[str]:
    return sorted({f"from {reference.module} import {reference.name}" for reference in references})


def _type_checking(lines: Iterable[str]) -> list[str]:
    block = [f"    {line}" for line in lines]
    return ["if TYPE_CHECKING:", *block, ""] if block else []


# Services.


@dataclass(frozen=True, slots=True)
class _Colour:
    """What differs between the sync and the async class of a service."""

    prefix: str
    client: str
    define: str
    call: str
    page: str


_COLOURS = (
    _Colour("", "a sync client", "def", "", "Page"),
    _Colour("Async", "an async client", "async def", "await ", "AsyncPages"),
)


def _clients(tree: ServiceDefinition) -> str:
    """Return the module with what both clients inherit: every service at the top of the tree."""
    lines = [
        '"""The services of both clients, each imported when it is first used."""',
        "",
        "from __future__ import annotations",
        "",
        "from functools import cached_property",
        "from typing import TYPE_CHECKING",
        "",
        "from atom_stripe.resources.service import AsyncService, Service",
        "",
        *_type_checking(_part_imports(tree)),
    ]
    for colour in _COLOURS:
        lines += _class_head(colour, "Services", "Every service of Stripe's API")
        lines += _parts(tree, colour)
    return "\n".join(lines)


def _service_module(service: ServiceDefinition, sources: Sources) -> str:
    methods = service.methods
    models = {_model(method.result, sources) for method in methods if method.result.kind in {"object", "page"}}
    pages = any(method.result.kind == "page" for method in methods)
    params = ".".join(("atom_stripe.resources.params", *service.place))
    types = [
        *(["from typing import Unpack"] if methods else []),
        *(["from atom_stripe._engine.pages import AsyncPages, Page"] if pages else []),
        *([f"from atom_stripe.models import {', '.join(sorted(models))}"] if models else []),
        *_part_imports(service),
        *([f"from {params} import {', '.join(sorted({method.params.name for method in methods}))}"] if methods else []),
    ]
    lines = [
        f'"""``{_dotted(service)}``."""',
        "",
        "from __future__ import annotations",
        "",
        *(["from functools import cached_property"] if service.parts else []),
        "from typing import TYPE_CHECKING",
        "",
        *(["from atom_stripe._wire.operation import Operation"] if methods else []),
        "from atom_stripe.resources.service import AsyncService, Service",
        "",
        *_type_checking(types),
        *(_operation(method) for method in methods),
    ]
    for colour in _COLOURS:
        lines += _class_head(colour, service.name, f"``{_dotted(service)}``")
        lines += _parts(service, colour)
        for method in methods:
            lines += _method(method, _returned(method.result, sources, colour), colour)
    return "\n".join(lines)


def _class_head(colour: _Colour, name: str, what: str) -> list[str]:
    return ["", f"class {colour.prefix}{name}({colour.prefix}Service):", f'    """{what}, for {colour.client}."""', ""]


def _part_imports(service: ServiceDefinition) -> Iterator[str]:
    return (f"from {_module(part)} import Async{part.name}, {part.name}" for part in service.parts)


def _module(service: ServiceDefinition) -> str:
    return ".".join(("atom_stripe.resources", *service.place))


def _parts(service: ServiceDefinition, colour: _Colour) -> Iterator[str]:
    for part in service.parts:
        name = colour.prefix + part.name
        yield "    @cached_property"
        yield f"    def {part.place[-1]}(self) -> {name}:"
        yield f'        """``{_dotted(part)}``."""'
        yield f"        from {_module(part)} import {name}"
        yield ""
        yield f"        return {name}(self._calls)"
        yield ""


def _operation(method: Method) -> str:
    extras = [
        f", host={method.host!r}" if method.host != "api" else "",
        ", multipart=True" if method.multipart else "",
        f", encodings={method.encodings!r}" if method.encodings else "",
    ]
    return f"{_constant(method)} = Operation({method.verb!r}, {method.path!r}{''.join(extras)})"


def _constant(method: Method) -> str:
    return f"_{method.name.upper()}"


def _method(method: Method, returned: str, colour: _Colour) -> Iterator[str]:
    # A page is asked for when it is iterated over or awaited, so its method is a plain one in both colours.
    lazy = method.result.kind == "page"
    ids = "".join(f", {name}: str" for name in method.arguments) + (", /" if method.arguments else "")
    passed = "".join(f", {name}" for name in method.arguments)
    yield f"    {'def' if lazy else colour.define} {method.name}(self{ids}, **params: Unpack[{method.params.name}]) -> {returned}:"
    yield f'        """``{method.verb} {method.path}``."""'
    how = "object" if method.result.kind == "nothing" else method.result.kind
    call = f"{'' if lazy else colour.call}self._calls.{how}({_constant(method)}, params{passed})"
    yield f"        {call}" if method.result.kind == "nothing" else f"        return {call}"
    yield ""


def _returned(result: Result, sources: Sources, colour: _Colour) -> str:
    match result.kind:
        case "content":
            return "bytes"
        case "nothing":
            return "None"
        case "page":
            return f"{colour.page}[{_model(result, sources)}]"
        case "object":
            return _model(result, sources)


def _model(result: Result, sources: Sources) -> str:
    """Return the class that an operation's objects are: one that we type, or the generic one."""
    names = {sources.object_name(reference) for reference in result.of}
    models = {TYPED.get(name, "StripeObject") if name else "StripeObject" for name in names}
    return models.pop() if len(models) == 1 else "StripeObject"


# Parameters.


def _params_module(service: ServiceDefinition, described: list[Parameters]) -> str:
    if not described:
        return f'"""The parameters of the services below ``{_dotted(service)}``."""\n'
    typing = {"TYPE_CHECKING"} if any(one.references for one in described) else set[str]()
    typing |= {name for one in described for name in one.typing}
    keywords = any(field.is_keyword for one in described for field in one.fields)
    typing |= {"TypedDict"} if keywords else set()
    lines = [
        f'"""The parameters of ``{_dotted(service)}``."""',
        "",
        "from __future__ import annotations",
        "",
        *([f"from typing import {', '.join(sorted(typing))}"] if typing else []),
        "",
        "from atom_stripe.config import RequestOptions",
        "",
        *_type_checking(_imports(reference for one in described for reference in one.references)),
    ]
    for method, one in zip(service.methods, described, strict=True):
        lines += _typed_dict(method, one)
    return "\n".join(lines)


def _typed_dict(method: Method, described: Parameters) -> Iterator[str]:
    keywords = [field for field in described.fields if field.is_keyword]
    others = [field for field in described.fields if not field.is_keyword]
    bases = "RequestOptions"
    doc = f"``{method.verb} {method.path}``."
    if keywords:
        base = f"_{described.name}Keywords"
        bases = f"{base}, RequestOptions"
        doc += f" {' and '.join(f'``{field.name}``' for field in keywords)} being a keyword, pass the parameters as ``**params``."
        entries = ", ".join(f"{field.name!r}: {_quoted(field)}" for field in keywords)
        yield f"{base} = TypedDict({base!r}, {{{entries}}}, total=False)"
    yield f"class {described.name}({bases}, total=False):"
    yield f'    """{doc}"""'
    yield ""
    for field in others:
        yield f"    {field.name}: {f'Required[{field.type}]' if field.required else field.type}"
    yield ""


def _quoted(field: Field) -> str:
    # A call is evaluated, unlike an annotation, and stripe is not imported at run time.
    return f"Required[{field.type!r}]" if field.required else repr(field.type)
