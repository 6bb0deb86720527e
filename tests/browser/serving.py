"""Serves the services of the examples on this machine."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.browser.market import PATIENCE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


@contextmanager
def fastapi_serving(app: Any, listener: socket.socket) -> Iterator[None]:
    """Serve an ASGI app until the block ends."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    # In a thread, it leaves signals alone.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until = time.monotonic() + PATIENCE
        while not server.started:
            assert thread.is_alive(), "the service ended at once"
            assert time.monotonic() < until, "the service does not start"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@contextmanager
def flask_serving(app: Any, listener: socket.socket) -> Iterator[None]:
    """Serve a WSGI app until the block ends."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Its URLs hold codes."""

    idle, busy = threading.Condition(), 0

    def counted(environ: Any, start_response: Any) -> Any:
        nonlocal busy
        with idle:
            busy += 1
        try:
            return app(environ, start_response)
        finally:
            with idle:
                busy -= 1
                idle.notify_all()

    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Quiet, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    # What the service has opened is closed when nobody works with it any more: a browser asks for more than a test waits for.
    with app.extensions["opened"]:
        try:
            yield
        finally:
            server.shutdown()
            thread.join(PATIENCE)
            server.server_close()
            # A webhook that comes now is refused at once.
            listener.close()
            with idle:
                assert idle.wait_for(lambda: busy == 0, PATIENCE), "the service does not come to an end"


FRAMEWORKS = {"fastapi": fastapi_serving, "flask": flask_serving}
