"""Operations and how a request finds its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from atom_stripe.testing._state import known
from atom_stripe.testing._state.browsing import Page
from atom_stripe.testing._state.errors import Refusal, invalid, unsupported
from atom_stripe.testing._state.params import ListOf, Text, UndeclaredParameterError, read, spell
from atom_stripe.testing._state.store import Kind
from atom_stripe.testing._state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.store import Row

_EXPAND = ListOf(Text(longest=500))


@dataclass(slots=True)
class Call(Transaction):
    """
    One call of an operation.

    *params*: as the operation's declaration read them. *arguments*: what the path holds. *path*: the path itself, which a list repeats.
    *origin*: where the caller's browser would find the sandbox's pages. *machine*: the sandbox, with its other accounts.
    """

    machine: Machine = field(repr=False, kw_only=True)
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    arguments: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    origin: str = "https://connect.stripe.com"

    def argument(self, name: str) -> str:
        """Return the argument *name* of the path."""
        return self.arguments[name]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation that the sandbox does: its verb, path and parameters, and the function that does it."""

    method: str
    path: str
    takes: Mapping[str, Parameter] = field(repr=False)
    run: Callable[[Call], Row] = field(repr=False)

    @property
    def name(self) -> str:
        """The operation as documentation writes it: ``POST /v1/refunds/{refund}``."""
        return f"{self.method} {self.path}"

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a request. Refuses what Stripe would refuse, and by name what only the sandbox does not do."""
        try:
            return read(self.takes, raw)
        except UndeclaredParameterError as undeclared:
            name = spell(undeclared.path)[:255]
            if known.parameter(self.name, undeclared.path) is not None:
                raise unsupported(f"The parameter {name} of {self.name}", name) from None
            raise invalid(f"{self.name} has no parameter {name}.", name, code="parameter_unknown") from None


def route(method: str, path: str, takes: Mapping[str, Parameter] | None = None) -> Callable[[Callable[[Call], Row]], Route]:
    """Make a function the operation ``method path``. Every operation but a deletion also takes ``expand``."""
    parameters = dict(takes or {})
    if method != "DELETE":
        parameters["expand"] = _EXPAND

    def declare(run: Callable[[Call], Row]) -> Route:
        return Route(method, path, parameters, run)

    return declare


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    An endpoint of OAuth's, which is no operation of the API: its parameters are flat, unknown ones are ignored, its errors are OAuth's.

    *issues*: whether it gives tokens. *restricted*: whether a restricted key (``rk_…``) may ask.
    """

    path: str
    issues: bool
    restricted: bool
    run: Callable[[Call], Row] = field(repr=False)


def endpoint(path: str, *, issues: bool, restricted: bool) -> Callable[[Callable[[Call], Row]], Endpoint]:
    """Make a function the endpoint ``POST path``."""

    def declare(run: Callable[[Call], Row]) -> Endpoint:
        return Endpoint(path, issues, restricted, run)

    return declare


class Catalog:
    """All operations, pages and kinds of object of a sandbox, as the modules of its resources declare them."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self.kinds: dict[str, Kind] = {}
        self.routes: list[Route] = []
        self.pages: list[Page] = []
        self._endpoints: dict[str, Endpoint] = {}
        for module in modules:
            for value in vars(module).values():
                if isinstance(value, Kind):
                    self.kinds[value.name] = value
                elif isinstance(value, Route):
                    self.routes.append(value)
                elif isinstance(value, Page):
                    self.pages.append(value)
                elif isinstance(value, Endpoint):
                    self._endpoints[value.path] = value
        # A path without arguments comes before one that would take its last part for an id: /v1/customers/search.
        self.routes.sort(key=lambda entry: entry.path.count("{"))

    def endpoint(self, method: str, path: str) -> Endpoint | None:
        """Return OAuth's endpoint for a request, if it is for one."""
        return self._endpoints.get(path) if method == "POST" else None

    def page(self, method: str, path: str) -> tuple[Page, dict[str, str]] | None:
        """Return the page for a request and the arguments in its path, if it is for one."""
        for entry in self.pages:
            found = known.pattern(entry.path).fullmatch(path) if entry.method == method else None
            if found:
                return entry, {name: unquote(value, errors="replace") for name, value in found.groupdict().items()}
        return None

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the operation for a request and the arguments in its path. Refuses if there is none, saying whether Stripe has it."""
        for entry in self.routes:
            found = known.pattern(entry.path).fullmatch(path) if entry.method == method else None
            if found and not _is_fixed(method, path, found.groupdict().values()):
                return entry, {name: unquote(value, errors="replace") for name, value in found.groupdict().items()}
        name = f"{method[:10]} {path[:255]}"
        if known.operation(method, path):
            raise unsupported(name)
        allowed = known.verbs(path)
        advice = (
            f"This path takes {' and '.join(allowed)}." if allowed else "Is the path complete, with its /v1/ and without empty ids?"
        )
        raise Refusal(404, f"Unrecognized request URL: there is no {name}. {advice}")


def _is_fixed(method: str, path: str, arguments: Iterable[str]) -> bool:
    """Return whether *path* is one of Stripe's own that only looks as if it held an id: ``/v1/customers/search``."""
    return any("_" not in argument for argument in arguments) and f"{method} {path}" in known.operations()
