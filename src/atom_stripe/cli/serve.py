"""``atom-stripe serve``: the reference application, with uvicorn."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe.cli import environment, serve_logging
from atom_stripe.cli.environment import EnvFile  # noqa: TC001 - typer reads them
from atom_stripe.cli.options import Json  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import emit, note, say
from atom_stripe.cli.serve_sandbox import Demonstration
from atom_stripe.cli.signals import told_to_stop
from atom_stripe.errors import ConfigurationError, StoreError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from fastapi import FastAPI

_FACTORY = "atom_stripe.contrib.fastapi:create_app"
_FACTORY_WITHOUT_WORKER = "atom_stripe.cli.serve:create_app_without_worker"
# Seconds that requests under way have when it is told to end. The worker then has as long as the inbox's config says.
_GRACE = 30


def serve(
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen at; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any that is free.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that answer requests.")] = 1,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Whether these processes handle events, too, or `atom-stripe worker` does.")
    ] = True,
    env_file: EnvFile = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Try it: with a Stripe that runs here and a database that is gone afterwards.")
    ] = False,
    log_format: Annotated[
        serve_logging.LogFormat | None, typer.Option("--log-format", show_default="json; with --sandbox, text", help="Of stderr.")
    ] = None,
    json: Json = False,
) -> None:
    """
    Serve the whole API under /api/v1/stripe until SIGTERM or Ctrl-C, with the settings that `atom-stripe init` made.

    Requests under way are answered, and events that are being handled have the time that the inbox grants them.
    """
    # Missed before anything is begun.
    uvicorn = _uvicorn()
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        url = _url(listening)
        target: FastAPI | str
        if sandbox:
            if workers > 1 or env_file is not None or not worker:
                msg = "--sandbox is one process with settings of its own: leave out --workers, --no-worker and --env-file"
                raise ConfigurationError(msg)
            demonstration = stack.enter_context(Demonstration.opened(url))
            target, told, words = demonstration.app, demonstration.told, demonstration.words
        else:
            stack.enter_context(environment.loaded(env_file))
            target, told, words = _application(os.environ, worker=worker), {"url": url}, None
        if workers > 1:
            # Each process makes its own; this one has shown that it can be made.
            _close(target)
            target = _FACTORY if worker else _FACTORY_WITHOUT_WORKER
            stack.enter_context(_numbers_of_all())
        if json:
            emit(told)
        elif words:
            say(words)
        else:
            note(f"Serving {url}/api/v1/stripe until SIGTERM or Ctrl-C")
        # uvicorn takes the signals for itself, and when it has ended raises them again.
        with told_to_stop(_nothing):
            ended_well = _run(uvicorn, target, listening, workers, log_format or ("text" if sandbox else "json"))
    if not ended_well:
        note("error: the service could not start; the log says why")
        raise typer.Exit(1)


def create_app_without_worker() -> Any:
    """Return the application whose events are handled elsewhere."""
    from atom_stripe.contrib.fastapi import create_app

    return create_app(worker=False)


def _uvicorn() -> Any:
    with require("uvicorn", extra="server"):
        import uvicorn

    return uvicorn


def _run(
    uvicorn: Any, target: FastAPI | str, listening: socket.socket, workers: int, log_format: serve_logging.LogFormat, /
) -> bool:
    """Serve until a signal comes. Returns whether it came so far as to serve."""
    settings: dict[str, Any] = {
        "factory": isinstance(target, str),
        "log_config": serve_logging.settings(log_format, "INFO"),
        # Ours leaves out what stands in queries.
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE,
    }
    if workers > 1:
        uvicorn.run(target, workers=workers, fd=listening.fileno(), **settings)
        return True
    server = uvicorn.Server(uvicorn.Config(target, **settings))
    server.run(sockets=[listening])
    return bool(server.started)


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing: uvicorn has done it."""


def _application(values: Mapping[str, str], *, worker: bool) -> FastAPI:
    """Return the application. What is missing is said in one line, before anything is served."""
    from atom_stripe.contrib.fastapi import create_app
    from atom_stripe.stores import sql

    try:
        behind = sql.pending(database) if (database := values.get("DATABASE_URL", "").strip()) else []
    except StoreError as error:
        # It may come back while the service runs, which says 503 until it does.
        note(f"The database does not answer now: {error}")
        behind = []
    if behind:
        msg = "the tables in the database are missing or out of date: `atom-stripe db upgrade` makes them, and so does `atom-stripe init`"
        raise ConfigurationError(msg)
    try:
        return create_app(values, worker=worker)
    except ConfigurationError as error:
        if "atom-stripe init" in str(error):
            raise
        msg = f"{error}; `atom-stripe init` makes the settings, and `atom-stripe doctor` looks at them"
        raise ConfigurationError(msg) from None


def _close(app: Any) -> None:
    """Close an application that was made to see whether it can be: other processes make theirs."""
    import anyio

    async def closed() -> None:
        for part in (app.state.inbox, app.state.oauth, app.state.client):
            if part is not None:
                await part.close()

    anyio.run(closed)


@contextmanager
def _numbers_of_all() -> Generator[None]:
    """Have each process's metrics in a folder, so that /metrics shows those of all."""
    name = "PROMETHEUS_MULTIPROC_DIR"
    if os.environ.get(name):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="atom-stripe") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]


@contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    """Yield a socket that takes connections, so that a port that is taken is said in one line."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        msg = f"there is no address {host!r} on this machine: {error.strerror}"
        raise ConfigurationError(msg) from None
    with listening:
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError as error:
            msg = f"cannot listen at {host}, port {port}: {error.strerror}; choose another with --port"
            raise ConfigurationError(msg) from None
        listening.set_inheritable(True)
        yield listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - only shown
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104 - only shown
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
