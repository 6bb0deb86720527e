"""The routes with all parts, on this machine, in the framework that the command line names; prints the address, and ends with standard input."""

from __future__ import annotations

import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request
from flask import Flask, request
from werkzeug.serving import make_server

from atom_stripe import AsyncWebhookInbox, WebhookInbox, WebhookVerifier
from atom_stripe.contrib.fastapi import Caller, ServiceConfig, create_router
from atom_stripe.contrib.flask import create_blueprint
from atom_stripe.service import document
from atom_stripe.service.routes import OPERATIONS
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.testing import StripeSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFIX = "/api/v1/stripe"
SECRET = "whsec_only_for_these_tests"
# Nobody is told to slow down, because what asks here asks as fast as it can.
CONFIG = ServiceConfig(caller_limit=None, address_limit=None)


def _caller(user: str | None) -> Caller | None:
    return Caller(user, platform=True) if user else None


def fastapi_app(sandbox: StripeSandbox) -> FastAPI:
    manager = sandbox.async_oauth_manager()
    inbox = AsyncWebhookInbox(WebhookVerifier(SECRET), MemoryInboxStore())

    async def authorize(incoming: Request) -> Caller | None:
        return _caller(incoming.headers.get("x-user"))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with inbox:
            yield

    app = FastAPI(lifespan=lifespan)
    client = sandbox.async_client(oauth=manager)
    app.include_router(create_router(client=client, oauth=manager, inbox=inbox, authorize=authorize, config=CONFIG), prefix=PREFIX)
    return app


def flask_app(sandbox: StripeSandbox) -> Flask:
    manager = sandbox.oauth_manager()
    inbox = WebhookInbox(WebhookVerifier(SECRET), MemoryInboxStore())
    parts: dict[str, Any] = {"client": sandbox.client(oauth=manager), "oauth": manager, "inbox": inbox, "config": CONFIG}
    app = Flask("shop")
    app.register_blueprint(create_blueprint(**parts, authorize=lambda: _caller(request.headers.get("x-user"))), url_prefix=PREFIX)
    offered = [one for one in OPERATIONS if one.part != "metrics"]
    app.add_url_rule("/openapi.json", view_func=lambda: document(offered, prefix=PREFIX))
    return app


def main(framework: str) -> None:
    with StripeSandbox() as sandbox:
        if framework == "fastapi":
            config = uvicorn.Config(fastapi_app(sandbox), port=0, log_level="error", access_log=False)
            server = uvicorn.Server(config)
            socket = config.bind_socket()
            sys.stdout.write(f"{socket.getsockname()[1]}\n")
            sys.stdout.flush()
            threading.Thread(target=_end_of_input, args=(server,), daemon=True).start()
            server.run([socket])
        else:
            with make_server("127.0.0.1", 0, flask_app(sandbox), threaded=True) as serving:
                sys.stdout.write(f"{serving.server_port}\n")
                sys.stdout.flush()
                threading.Thread(target=serving.serve_forever, daemon=True).start()
                sys.stdin.read()
                serving.shutdown()


def _end_of_input(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main(sys.argv[1])
