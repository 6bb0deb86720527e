"""
The processes of the world: receivers and workers, which may be killed at any moment.

Run as ``python -m tests.fleet.programs``, this is a nest: one warm process without threads that forks the others, so that one is there at
once. What it is told, and what it tells, are lines of JSON. When its input ends, whoever started it is gone: it kills them and ends.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import InboxBusyError, WebhookError
from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox
from tests.fleet.handlers import Member, async_handler, register, sync_handler
from tests.nest import Nest, emit

if TYPE_CHECKING:
    from collections.abc import Callable


def worker(member: Member) -> None:
    """Handle events until SIGTERM, in threads."""
    inbox = member.inbox(WebhookInbox)
    register(member, inbox, sync_handler)
    signal.signal(signal.SIGTERM, lambda *_: inbox.stop())
    emit({"job": member.job, "ready": True})
    inbox.run_worker()
    inbox.close()
    member.store.close()


def async_worker(member: Member) -> None:
    """Handle events until SIGTERM, in an event loop."""

    async def main() -> None:
        inbox = member.inbox(AsyncWebhookInbox)
        register(member, inbox, async_handler)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, inbox.stop)
        emit({"job": member.job, "ready": True})
        await inbox.run_worker()
        await inbox.close()

    asyncio.run(main())
    member.store.close()


def receiver(member: Member) -> None:
    """Receive events until SIGTERM, in a thread for each connection."""
    inbox = member.inbox(WebhookInbox)
    register(member, inbox, sync_handler)

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 60

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                inbox.receive(body, self.headers["Stripe-Signature"])
            except WebhookError:
                self._answer(400)
            except InboxBusyError:
                self._answer(503)
            else:
                self._answer(200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """A sender that hangs up is no error."""

    server = Server(("127.0.0.1", 0), Endpoint)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    emit({"job": member.job, "port": server.server_address[1]})
    server.serve_forever(poll_interval=0.05)
    inbox.close()
    server.server_close()
    member.store.close()


def async_receiver(member: Member) -> None:
    """Receive events until SIGTERM, in an event loop."""
    import uvicorn

    inbox = member.inbox(AsyncWebhookInbox)
    register(member, inbox, async_handler)

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status = 200
        try:
            await inbox.receive(body, dict(scope["headers"]).get(b"stripe-signature"))
        except WebhookError:
            status = 400
        except InboxBusyError:
            status = 503
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        server = uvicorn.Server(
            uvicorn.Config(endpoint, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5)
        )
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        emit({"job": member.job, "port": listening.getsockname()[1]})
        try:
            await server.serve(sockets=[listening])
        finally:
            await inbox.close()

    # uvicorn raises the signal once more when it has ended; that must not be the end of us.
    signal.signal(signal.SIGTERM, lambda *_: None)
    asyncio.run(main())
    member.store.close()


PROGRAMS: dict[str, Callable[[Member], None]] = {
    program.__name__: program for program in (worker, async_worker, receiver, async_receiver)
}


def perform(order: dict[str, Any]) -> None:
    """Run the program of *order*."""
    PROGRAMS[order["program"]](Member(order["job"], order["settings"]))


def warm() -> None:
    """Import what every process will need."""
    for module in ("psycopg", "uvicorn", "uvicorn.protocols.http.h11_impl", "atom_stripe.stores.sql", "atom_stripe.models.event"):
        importlib.import_module(module)


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("FLEET_LOG", "CRITICAL"), format="%(process)d %(asctime)s %(name)s %(message)s")
    # Whoever started us says when it is over, not the one who types Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm()
    Nest(perform).run()
