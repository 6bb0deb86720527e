"""
A webhook from HTTP to an answer that holds, against dj-stripe: the same deliveries, the same PostgreSQL, a process each.

dj-stripe comes with Django and another version of stripe, so it has an environment of its own, ``.venv-djstripe``, which is made at the first run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from deliveries import EVENTS, SECRET
from harness import Effort, Figures, Row, benchmark, in_turns
from ingest import database, postgres
from processes import HERE, environment, poster, stripe_stub, web_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONNECTIONS = 32
_SITE = HERE / "djstripe_site"
_FOLDER = HERE.parent / ".venv-djstripe"
_PYTHON = _FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
_ENDPOINT = str(UUID(int=1, version=4))
_HANDLED = "SELECT count(*) FROM djstripe_webhookeventtrigger WHERE valid AND exception = ''"
_STORED = "SELECT count(*) FROM stripe_events"


@benchmark(
    Row(
        name="ingest_vs_djstripe",
        what="32 connections post events: answered when stored and enqueued, against dj-stripe's webhook view as it comes",
        better="higher",
        target=10,
    ),
    Row(
        name="ingest_vs_djstripe_deferred",
        what="The same, against a dj-stripe that keeps the request and leaves the event to a task queue",
        better="higher",
    ),
)
def over_http(effort: Effort) -> dict[str, Figures]:
    """As it comes, dj-stripe handles the event before it answers, and asks Stripe for the object: here a server that answers at once."""
    install()
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        contenders = {
            "ours": stack.enter_context(_ours(server)),
            "theirs": stack.enter_context(_theirs(server, deferred=False)),
            "deferred": stack.enter_context(_theirs(server, deferred=True)),
        }
        turns: dict[str, Callable[[], float]] = {}
        for name, post in contenders.items():
            post(_CONNECTIONS)  # imports, connections
            count = max(_CONNECTIONS, round(effort.of(2.0, 1.0) * post(2 * _CONNECTIONS)))
            turns[name] = _turn(post, count)
            turns[name]()
        taken = in_turns(turns, effort.of(7, 3))
    return {
        "ingest_vs_djstripe": Figures(EVENTS, taken["ours"], taken["theirs"]),
        "ingest_vs_djstripe_deferred": Figures(EVENTS, taken["ours"], taken["deferred"]),
    }


def install() -> None:
    """Make the environment for dj-stripe, if it is not there or not what the requirements say."""
    requirements = _SITE / "requirements.txt"
    stamp = _FOLDER / "atom-stripe.stamp"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    venv.create(_FOLDER, clear=True, with_pip=True)
    subprocess.run([str(_PYTHON), "-m", "pip", "install", "--quiet", "--quiet", "-r", str(requirements)], check=True)
    stamp.write_text(wanted, encoding="utf-8")


@contextmanager
def _ours(server: str) -> Iterator[Callable[[int], float]]:
    """Run a service with an inbox, and yield what posts to it."""
    from atom_stripe.engines.pgqueuer import PgQueuerEngine
    from atom_stripe.stores.sql import upgrade

    with database(server) as url:
        upgrade(url)
        PgQueuerEngine(url).upgrade()
        command = (sys.executable, "-m", "uvicorn", "receiver:application", "--port", "{port}", "--no-access-log")
        with (
            web_server(HERE, *command, "--log-level", "warning", BENCHMARK_DATABASE=url, BENCHMARK_SECRET=SECRET) as address,
            _checked(url, _STORED, f"{address}/stripe/webhook") as post,
        ):
            yield post


@contextmanager
def _theirs(server: str, *, deferred: bool) -> Iterator[Callable[[int], float]]:
    """Run a Django project with dj-stripe, and yield what posts to it."""
    with database(server) as url, stripe_stub() as stripe:
        variables = {
            "BENCHMARK_DATABASE": url,
            "BENCHMARK_STRIPE": stripe,
            "BENCHMARK_SECRET": SECRET,
            "BENCHMARK_ENDPOINT": _ENDPOINT,
            "BENCHMARK_DEFERRED": "yes" if deferred else "no",
            "DJANGO_SETTINGS_MODULE": "settings",
        }
        subprocess.run([str(_PYTHON), str(_SITE / "prepare.py")], env={**environment(), **variables}, check=True)
        command = (str(_PYTHON), "-m", "gunicorn", "wsgi:application", "--bind", "127.0.0.1:{port}")
        with (
            web_server(_SITE, *command, "--threads", "8", "--no-control-socket", "--log-level", "warning", **variables) as address,
            _checked(url, _HANDLED, f"{address}/stripe/webhook/{_ENDPOINT}/") as post,
        ):
            yield post


@contextmanager
def _checked(database_url: str, query: str, url: str) -> Iterator[Callable[[int], float]]:
    """Yield what posts to *url*; at the end *query* must find as many as were posted."""
    import psycopg

    posted = 0
    with poster(url, _CONNECTIONS) as post:

        def counted(count: int) -> float:
            nonlocal posted
            posted += count
            return post(count)

        yield counted
    with psycopg.connect(database_url) as connection:
        [found] = connection.execute(query.encode()).fetchone() or [None]
    if found != posted:
        raise RuntimeError(f"{posted} events were posted to {url} and answered with 200, and {found} are there")


def _turn(post: Callable[[int], float], count: int) -> Callable[[], float]:
    return lambda: post(count)
