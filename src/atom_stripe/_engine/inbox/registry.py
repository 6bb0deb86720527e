"""The handlers of an inbox: who wants which events, and how."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import ConfigurationError
from atom_stripe.inbox_config import HandlerRetry, Ordering, VersionPolicy, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atom_stripe.protocols import HandlerState

_NAME = re.compile(r"[A-Za-z0-9_.:<>\-]{1,200}")
# A type of Stripe's, or the beginning of some: "customer.*". "*" is every event.
_PATTERN = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_\[\]]+)*(\.\*)?")
_MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One handler. *timeout*: seconds, or ``None`` for no limit. *asynchronous*: calling it gives an awaitable."""

    name: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    ordering: Ordering
    retry: HandlerRetry
    timeout: float | None
    versions: VersionPolicy
    asynchronous: bool

    def wants(self, type: str) -> bool:
        """Return whether events of *type* are for this handler."""
        return any(
            pattern in {"*", type} or (pattern.endswith(".*") and type.startswith(pattern[:-1])) for pattern in self.patterns
        )


class Registry:
    """All handlers, in the order of their registration, which is the order in which they run."""

    def __init__(self, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        self._handlers: dict[str, Handler] = {}
        self._by_type: dict[str, tuple[Handler, ...]] = {}
        self._lock = ForkSafeLock()

    def add(self, handler: Handler) -> None:
        """
        Register *handler*.

        Raises:
            ConfigurationError: Its name is taken, or something about it is wrong.
        """
        _check(handler, asynchronous=self._asynchronous)
        with self._lock:
            if handler.name in self._handlers:
                msg = f"there is a handler {handler.name!r} already; handlers of one inbox need different names: on(…, name=…)"
                raise ConfigurationError(msg)
            self._handlers = {**self._handlers, handler.name: handler}
            self._by_type = {}

    def all(self) -> Mapping[str, Handler]:
        """Return the handlers by name."""
        return self._handlers

    def demand(self, name: str) -> Handler:
        """Return the handler *name*."""
        if name not in self._handlers:
            msg = f"there is no handler {name!r}; these are registered: {', '.join(self._handlers) or 'none'}"
            raise ConfigurationError(msg)
        return self._handlers[name]

    def handlers(self, type: str, states: Mapping[str, HandlerState]) -> tuple[Handler, ...]:
        """Return the handlers for an event of *type* with *states*: those that want it, and those that began with it and are not done."""
        wanted = self._by_type.get(type)
        if wanted is None:
            wanted = tuple(handler for handler in self._handlers.values() if handler.wants(type))
            # Bounded: the types come from outside.
            if len(self._by_type) < _MOST_REMEMBERED:
                self._by_type[type] = wanted
        if not states:
            return wanted
        names = {handler.name for handler in wanted}
        begun = (name for name, state in states.items() if state.status == "pending" and name not in names)
        return (*wanted, *(self._handlers.get(name) or _missing(name) for name in begun))


def handler_of(function: Callable[..., Any], name: str | None, **options: Any) -> Handler:
    """Return *function* as a handler, named as it is in its module unless *name* says otherwise."""
    if name is None:
        bare = function
        while isinstance(bare, partial):
            bare = bare.func
        qualified = getattr(bare, "__qualname__", None) or type(bare).__qualname__
        name = f"{getattr(bare, '__module__', None) or 'handler'}.{qualified}"
    return Handler(name=name, function=function, asynchronous=_is_async(function), **options)


def _is_async(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - is it async


def _check(handler: Handler, *, asynchronous: bool) -> None:
    if not callable(handler.function):
        msg = 'on() decorates a function: @inbox.on("invoice.paid")'
        raise ConfigurationError(msg)
    if not isinstance(handler.name, str) or not _NAME.fullmatch(handler.name):
        msg = "a handler's name is a text of up to 200 letters, digits and . _ : < > -"
        raise ConfigurationError(msg)
    if handler.asynchronous and not asynchronous:
        msg = f"{handler.name} is an async function: WebhookInbox runs sync ones; AsyncWebhookInbox runs both"
        raise ConfigurationError(msg)
    if not handler.patterns:
        msg = 'on() needs at least one type of event, such as "invoice.paid", "customer.*" or "*" for all'
        raise ConfigurationError(msg)
    for pattern in handler.patterns:
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            msg = f"{pattern!r} is no type of event: it looks like 'invoice.paid', 'customer.*' or '*'"
            raise ConfigurationError(msg)
    if handler.ordering not in get_args(Ordering):
        msg = "ordering is 'object' or 'none'"
        raise ConfigurationError(msg)
    if handler.versions not in get_args(VersionPolicy):
        msg = "versions is 'accept', 'refetch' or 'park'"
        raise ConfigurationError(msg)
    if not isinstance(handler.retry, HandlerRetry):
        msg = "retry is a HandlerRetry"
        raise ConfigurationError(msg)
    check_timeout(handler.timeout)


def _missing(name: str) -> Handler:
    """Return what stands for a handler that began with an event and is no longer registered: it fails, and so is parked in the end."""

    def fail(_event: object, _context: object) -> None:
        msg = f"no handler {name!r} is registered in this process"
        raise LookupError(msg)

    # Another process, of the next or the last version of the program, may know it: the retries leave it time.
    return Handler(
        name=name,
        function=fail,
        patterns=("*",),
        ordering="none",
        retry=HandlerRetry.DEFAULT,
        timeout=None,
        versions="accept",
        asynchronous=False,
    )
