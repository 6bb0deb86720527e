"""The two services of the examples, each running on this machine with a Stripe of its own."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.market import EXAMPLES, Market
from tests.browser.serving import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def start(framework: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., Market]]:
    """Return what starts the marketplace. Its arguments are settings of ``OAuthConfig``."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example, stripe = import_module(f"connect_{framework}"), import_module("connect_sandbox")
    with ExitStack() as stack:

        def started(**settings: Any) -> Market:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            here = stack.enter_context(stripe.stripe_here(address, **settings))
            stack.enter_context(FRAMEWORKS[framework](example.create_app(here.config, here.database), listener))
            return Market(address, here.sandbox, here.database)

        yield started


@pytest.fixture
def market(start: Callable[..., Market]) -> Market:
    """The marketplace as a platform of Connect."""
    return start()
