"""The sandbox over HTTP, for other languages and for the official SDKs: the standard library's server, on this machine only."""

from __future__ import annotations

import logging
import select
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Self

from atom_stripe._wire.messages import Reply, Request
from atom_stripe.testing._state.errors import Refusal
from atom_stripe.testing._state.faults import LostAnswerError
from atom_stripe.testing._state.machine import Outcome
from atom_stripe.testing._state.requests import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.config import StripeConfig

_LOG = logging.getLogger("atom_stripe.testing")
_HOST = "127.0.0.1"
# Seconds after which a silent connection is closed.
_IDLE = 60.0
# Seconds for a refused body to arrive, so that its sender comes to read why.
_LINGER = 1.0


class SandboxServer:
    """A running server. *url*: what a client takes for ``https://api.stripe.com``. It stops with its sandbox, or with ``close()``."""

    def __init__(
        self, handle: Callable[[Request], Reply], configure: Callable[..., StripeConfig], port: int, hurry: Callable[[], None]
    ) -> None:
        self._server = _Server(handle, port, hurry)
        self._configure = configure
        self.url = f"http://{_HOST}:{self._server.server_address[1]}"
        # The default polls every half second, and that is what closing would take.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stripe-sandbox-server", daemon=True)
        self._thread.start()

    def config(self, **settings: Any) -> StripeConfig:
        """Return the settings of a client of this server. *settings* are those of ``StripeConfig``, such as ``webhook_secrets``."""
        bases = dict.fromkeys(("api_base", "connect_base", "files_base", "meter_events_base"), self.url)
        return self._configure(**{**bases, **settings})

    def close(self) -> None:
        """Stop, and close every connection. Closing twice is harmless."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
            self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SandboxServer({self.url})"


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, handle: Callable[[Request], Reply], port: int, hurry: Callable[[], None]) -> None:
        self.handle_stripe = handle
        self._hurry = hurry
        self.closing = threading.Event()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()
        super().__init__((_HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the network for this machine's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="stripe-sandbox", daemon=True
        )
        with self._open_lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close the connections that clients keep open, and wait for their threads."""
        self.closing.set()
        with self._open_lock:
            connections = list(self._open.items())
        for connection, thread in connections:
            # Or the client was faster.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            # Nobody waits for a slow answer any more, and it may be about to begin.
            while thread.is_alive():
                self._hurry()
                thread.join(0.05)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up, as tests let them do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    # One packet for an answer, and no waiting for more of it.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - it is always this one

    def do_POST(self) -> None:
        try:
            body = self._body()
            reply = self.server.handle_stripe(Request(self.command, self.path, dict(self.headers.items()), body))
        except Refusal as refusal:
            # How long the body is remains unknown, so nothing after it can be understood.
            self.close_connection = True
            self._send(_plain(refusal))
            self._drain()
        except LostAnswerError as lost:
            self.close_connection = True
            if lost.timed_out:
                self._stay_silent()
        except ConnectionError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - a mistake of the sandbox's own must not look like a broken connection
            _LOG.error("the sandbox failed with %s", type(error).__name__)
            headers = {"Stripe-Should-Retry": "false"}
            self._send(
                _plain(Refusal(500, f"The sandbox itself failed ({type(error).__name__}).", type="api_error", headers=headers))
            )
        else:
            self._send(reply)

    do_GET = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = do_POST

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not even HTTP in Stripe's shape, without the base class's words, which repeat what came in."""
        del message, explain
        self.close_connection = True
        # What cannot be read counts as HTTP/0.9, whose answers have no head.
        self.request_version = self.protocol_version
        self._send(_plain(Refusal(code, "The request cannot be read: it is not one that HTTP/1.1 and Stripe know.")))
        self._drain()

    def version_string(self) -> str:
        return "atom-stripe-sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: URLs and headers are nobody's business."""

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding"):
            raise Refusal(411, "Send the body with a Content-Length; the sandbox takes no chunks.")
        lengths = set(self.headers.get_all("Content-Length") or ["0"])
        length = lengths.pop()
        if lengths or not (length.isascii() and length.isdigit() and len(length) <= 20):
            raise Refusal(400, "The Content-Length is not a number.")
        if int(length) > MAX_BODY:
            raise Refusal(413, f"The body is longer than {MAX_BODY} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError
        return body or None

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            # What was echoed from the request must not become another header.
            self.send_header(name, value.encode("latin-1", "replace").decode("latin-1").replace("\r", " ").replace("\n", " "))
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _drain(self) -> None:
        """Read on for a while: with unread bytes, closing would take the answer away before the caller has seen it."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER)
            left = 8 * MAX_BODY
            while left > 0 and (chunk := self.rfile.read1(65536)):
                left -= len(chunk)

    def _stay_silent(self) -> None:
        """Say nothing until the client has had enough."""
        while not self.server.closing.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return


def _plain(refusal: Refusal) -> Reply:
    outcome = Outcome.of(refusal)
    return Reply(outcome.status, {"content-type": "application/json", **outcome.headers}, outcome.body)
