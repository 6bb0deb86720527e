"""
The programs that the fault tests run in processes of their own, and kill.

Run as ``python -m tests.faults.worker``, this is a nest: one warm process without threads that forks a worker for each line of its input,
so that a worker is there at once. Everything is reported in lines of JSON, each written in one piece. When its input ends, whoever
started it is gone: it kills its workers and ends. ``python -m tests.faults.worker alone`` runs one program in this very process.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import os
import random
import signal
import ssl
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from atom_stripe import AsyncOAuthManager, OAuthConfig, OAuthManager, StripeConfig
from atom_stripe.config import RateLimits, RetryPolicy
from atom_stripe.errors import AtomStripeError
from atom_stripe.protocols import Reference
from tests.nest import Nest, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from atom_stripe.connections import Connection
    from atom_stripe.protocols import Authorization, TokenQuery, TokenRecord

# Nothing here runs longer, whatever happened to those who should have ended it.
LONGEST_LIFE = 140
TOKEN_PATH = "/v1/oauth/token"
# Made once, before the forks: reading the certificates of all the world takes longer than a whole refresh.
_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def digest(token: str) -> str:
    """Return a name for *token* that does not give it away."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


class Points:
    """Where this worker meets its fate: ``{"after_claim": "kill"}``. Each point is met once, and told of first."""

    def __init__(self, job: int, fates: dict[str, str]) -> None:
        self._job = job
        self._fates = dict(fates)
        self._lock = threading.Lock()

    def reached(self, name: str) -> None:
        """Be at *name*."""
        with self._lock:
            fate = self._fates.pop(name, None)
        if fate is None:
            return
        emit({"job": self._job, "at": name})
        if fate == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fate == "stop":
            # To this thread, or it would go on for a moment until another one has told it, and take SQLite's lock into its sleep.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        elif fate.startswith("sleep "):
            time.sleep(float(fate.removeprefix("sleep ")))


class WatchedStore:
    """A token store in front of *store* that tells where in a refresh this process is."""

    def __init__(self, store: Any, points: Points) -> None:
        self._store = store
        self._points = points
        self.find: Callable[[TokenQuery], Sequence[TokenRecord]] = store.find
        self.load_authorization: Callable[[str], Authorization | None] = store.load_authorization
        self.save_authorization: Callable[[Authorization], bool] = store.save_authorization

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """Load from the store behind."""
        record: TokenRecord | None = self._store.load(reference)
        return record

    def save(self, record: TokenRecord, /) -> bool:
        """Save to the store behind, with a point before and after."""
        step = step_of(record)
        if step:
            self._points.reached(f"before_{step}")
        saved: bool = self._store.save(record)
        if step and saved:
            self._points.reached(f"after_{step}")
        return saved


class AsyncWatchedStore:
    """As ``WatchedStore``, for async programs."""

    def __init__(self, store: Any, points: Points) -> None:
        self._store = store
        self._points = points
        self.find = store.find
        self.load_authorization = store.load_authorization
        self.save_authorization = store.save_authorization

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Load from the store behind."""
        record: TokenRecord | None = await self._store.load(reference)
        return record

    async def save(self, record: TokenRecord, /) -> bool:
        """Save to the store behind, with a point before and after."""
        step = step_of(record)
        if step:
            self._points.reached(f"before_{step}")
        saved: bool = await self._store.save(record)
        if step and saved:
            self._points.reached(f"after_{step}")
        return saved


def step_of(record: TokenRecord) -> str | None:
    """Return which step of a refresh it is to write *record*."""
    if record.lease_owner is not None:
        return "claim"
    if record.state == "reauthorization_required":
        return "verdict"
    # What ``expire`` of these programs writes is no step: it keeps the intent, or its end is in the past.
    return "commit" if record.intent_key is None and (record.expires_at or 0) > 1 and record.last_error is None else None


class WatchedTransport(httpx.HTTPTransport):
    """Tells when a token request was sent, and when its answer was read."""

    def __init__(self, points: Points) -> None:
        super().__init__(verify=_CONTEXT)
        self._points = points

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*."""
        if request.url.path != TOKEN_PATH:
            return super().handle_request(request)

        def trace(name: str, _info: dict[str, Any]) -> None:
            if name == "http11.send_request_body.complete":
                self._points.reached("after_send")

        request.extensions["trace"] = trace
        response = super().handle_request(request)
        response.read()
        self._points.reached("after_answer")
        return response


class AsyncWatchedTransport(httpx.AsyncHTTPTransport):
    """As ``WatchedTransport``, for async programs."""

    def __init__(self, points: Points) -> None:
        super().__init__(verify=_CONTEXT)
        self._points = points

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*."""
        if request.url.path != TOKEN_PATH:
            return await super().handle_async_request(request)

        async def trace(name: str, _info: dict[str, Any]) -> None:
            if name == "http11.send_request_body.complete":
                self._points.reached("after_send")

        request.extensions["trace"] = trace
        response = await super().handle_async_request(request)
        await response.aread()
        self._points.reached("after_answer")
        return response


class World:
    """What a worker's program works with, as the test described it."""

    def __init__(self, job: int, settings: dict[str, Any]) -> None:
        self.job = job
        self.points = Points(job, settings.get("points", {}))
        self._settings = settings
        self._stores: dict[bool, Any] = {}
        shift, swing = settings.get("shift", 0.0), settings.get("swing", 0.0)
        looks = random.Random(settings.get("seed", 0))

        def clock() -> float:
            return time.time() + shift + (looks.choice((-swing, 0.0, swing)) if swing else 0.0)

        self.clock = clock if shift or swing else time.time

    def config(self) -> OAuthConfig:
        """Return the settings of a manager."""
        stripe: dict[str, Any] = {"rate_limits": RateLimits.NONE, "retry": RetryPolicy(initial_delay=0.0, max_delay=0.0)}
        url = self._settings["stripe"]
        bases = dict.fromkeys(("api_base", "connect_base"), url)
        return OAuthConfig(
            stripe=StripeConfig(api_key=self._settings["key"], **stripe, **bases),
            client_id=self._settings["client_id"],
            profile="stripe_app",
            token_keys=tuple(self._settings["token_keys"]),
            **self._settings.get("oauth", {}),
        )

    def store(self, *, asynchronous: bool = False) -> Any:
        """Return this process's store of a colour, with points in it."""
        if asynchronous not in self._stores:
            store = open_store(self._settings["store"], asynchronous=asynchronous)
            self._stores[asynchronous] = (AsyncWatchedStore if asynchronous else WatchedStore)(store, self.points)
        return self._stores[asynchronous]

    def hook(self, connection: Connection) -> None:
        """Tell the test that a grant is dead."""
        self.say(hook=connection.user_id, state=connection.state)

    def manager(self, **settings: Any) -> OAuthManager:
        """Return a sync manager."""
        client = httpx.Client(transport=WatchedTransport(self.points), verify=_CONTEXT, trust_env=False)
        return OAuthManager(
            self.config(),
            self.store(),
            http_client=client,
            on_reauthorization_required=self.hook,
            clock=self.clock,
            **settings,
        )

    def async_manager(self) -> AsyncOAuthManager:
        """Return an async manager."""
        client = httpx.AsyncClient(transport=AsyncWatchedTransport(self.points), verify=_CONTEXT, trust_env=False)
        return AsyncOAuthManager(
            self.config(),
            self.store(asynchronous=True),
            http_client=client,
            on_reauthorization_required=self.hook,
            clock=self.clock,
        )

    def say(self, **message: Any) -> None:
        """Tell the test something."""
        emit({"job": self.job, **message})


def open_store(url: str, *, asynchronous: bool = False) -> Any:
    """Return a store of a colour at *url*, which for Redis has the prefix behind a ``#``."""
    return opened(url, asynchronous=asynchronous)[0]


def opened(url: str, *, asynchronous: bool = False) -> tuple[Any, Callable[[], Any]]:
    """Return a store of a colour at *url*, and what closes it."""
    if url.startswith(("redis:", "unix:")):
        import redis
        import redis.asyncio

        from atom_stripe.stores.redis import AsyncRedisTokenStore, RedisTokenStore

        address, _, prefix = url.partition("#")
        if asynchronous:
            client = redis.asyncio.Redis.from_url(address)
            return AsyncRedisTokenStore(client, prefix=prefix), client.aclose
        blocking = redis.Redis.from_url(address)
        return RedisTokenStore(blocking, prefix=prefix), blocking.close
    from atom_stripe.stores.sql import AsyncSqlTokenStore, SqlTokenStore

    store = (AsyncSqlTokenStore if asynchronous else SqlTokenStore).from_url(url)
    return store, store.close


def outcome_of(ask: Callable[[], Any]) -> str:
    """Return the digest of the token that *ask* gives, or the name of what it raises."""
    try:
        return digest(ask().value.get_secret_value())
    except AtomStripeError as error:
        return type(error).__name__


async def async_outcome_of(ask: Coroutine[Any, Any, Any]) -> str:
    """As ``outcome_of``."""
    try:
        return digest((await ask).value.get_secret_value())
    except AtomStripeError as error:
        return type(error).__name__


def expire(store: Any, user: str) -> int | None:
    """Let the access token of *user* have run out. Returns the generation that did, ``None`` if somebody else was at the row."""
    record = store.load(Reference(user, "stripe_app", False))
    if record.state == "active" and record.intent_key is None and store.save(replace(record, expires_at=1.0)):
        return int(record.generation)
    return None


def wait_for_file(path: str) -> None:
    """Return once *path* is there: all at once, in all processes."""
    while not os.path.exists(path):  # noqa: PTH110 - asked a thousand times a second
        time.sleep(0.001)


# The programs.


def token(world: World, user: str, **_: Any) -> None:
    """Ask for one token."""
    manager = world.manager()
    world.say(token=outcome_of(lambda: manager.token(user)))
    manager.close()


def async_token(world: World, user: str, **_: Any) -> None:
    """Ask for one token in an event loop."""

    async def main() -> None:
        async with world.async_manager() as manager:
            world.say(token=await async_outcome_of(manager.token(user)))

    asyncio.run(main())


def callers(world: World, user: str, number: int, gate: str, **_: Any) -> None:
    """Ask for the same token in many threads at once."""
    manager = world.manager()
    outcomes: list[str] = []

    def ask() -> None:
        wait_for_file(gate)
        outcomes.append(outcome_of(lambda: manager.token(user)))

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    world.say(ready=True)
    for thread in threads:
        thread.join()
    world.say(tokens=outcomes)
    manager.close()


def async_callers(world: World, user: str, number: int, gate: str, **_: Any) -> None:
    """Ask for the same token in many tasks at once."""

    async def main() -> None:
        async with world.async_manager() as manager:
            world.say(ready=True)
            await asyncio.to_thread(wait_for_file, gate)
            world.say(tokens=await asyncio.gather(*(async_outcome_of(manager.token(user)) for _ in range(number))))

    asyncio.run(main())


def mixed_callers(world: World, user: str, number: int, gate: str, **_: Any) -> None:
    """Ask for the same token in threads and in tasks at once, with a manager of each colour."""
    thread = threading.Thread(target=async_callers, args=(world, user, number, gate))
    thread.start()
    callers(world, user, number, gate)
    thread.join()


def soak(world: World, users: list[str], threads: int, seed: int, limit: float, **_: Any) -> None:
    """Let tokens run out and renew them, all the time, until killed or told to stop."""
    manager = world.manager()
    store = world.store()
    until = time.monotonic() + limit
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def work(number: int) -> None:
        choices = random.Random(f"{seed} {number}")
        while not stopping.is_set() and time.monotonic() < until:
            user = choices.choice(users)
            generation = expire(store, user)
            try:
                given = manager.token(user)
            except AtomStripeError as error:
                world.say(failed=type(error).__name__, user=user)
            else:
                if generation is not None and given.generation > generation:
                    world.say(renewed=user, generation=given.generation)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        # Not for ever: a signal that another thread was given is heard when this one wakes up.
        while thread.is_alive():
            thread.join(0.1)
    manager.close()


def rotation(world: World, gate: str, **_: Any) -> None:
    """Encrypt everything with the first key of the settings, again and again, until *gate* is there."""
    manager = world.manager()
    passes = rotated = 0
    unreadable: set[str] = set()
    while not os.path.exists(gate):  # noqa: PTH110 - asked all the time
        after: str | None = None
        while True:
            batch = manager.rotate_keys(after=after)
            rotated += batch.rotated
            unreadable |= {name for _, name in batch.unreadable}
            after = batch.after
            if after is None:
                break
        passes += 1
    world.say(passes=passes, rotated=rotated, unreadable=sorted(unreadable))
    manager.close()


def sure(world: World, users: list[str], rounds: int, **_: Any) -> None:
    """Renew the tokens of *users*, one after the other, *rounds* times."""
    manager = world.manager()
    store = world.store()
    failed: list[str] = []
    for _round in range(rounds):
        for user in users:
            expire(store, user)
            word = outcome_of(lambda user=user: manager.token(user))
            if word.endswith("Error"):
                failed.append(word)
    world.say(failed=failed[:50])
    manager.close()


def forker(world: World, user: str, **_: Any) -> None:
    """Fork while a refresh is in flight; the child asks for the same token."""
    manager = world.manager()
    mine: list[str] = []
    thread = threading.Thread(target=lambda: mine.append(outcome_of(lambda: manager.token(user))))
    sent = threading.Event()
    world.points.reached = lambda name: sent.set() if name == "after_send" else None  # type: ignore[method-assign]
    thread.start()
    assert sent.wait(20), "the token was never asked for"
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        world.say(child=outcome_of(lambda: manager.token(user)))
        os._exit(0)
    thread.join()
    world.say(parent=mine[0])
    _, status = os.waitpid(child, 0)
    world.say(child_ended=status)
    manager.close()


def server(world: World, user: str, *, closes: bool = False, **_: Any) -> None:
    """Ask for a token, as a server does that is told to end with SIGTERM meanwhile."""

    def end(*_arguments: object) -> None:
        world.say(terminated=True)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    manager = world.manager()
    try:
        world.say(token=outcome_of(lambda: manager.token(user)))
    finally:
        if closes:
            manager.close()


def async_server(world: World, user: str, **_: Any) -> None:
    """As ``server``, in an event loop that SIGTERM cancels."""

    async def main() -> None:
        async with world.async_manager() as manager:
            task = asyncio.create_task(async_outcome_of(manager.token(user)))

            def end() -> None:
                world.say(terminated=True)
                task.cancel()

            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
            try:
                world.say(token=await task)
            except asyncio.CancelledError:
                world.say(cancelled=True)

    asyncio.run(main())


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program
    for program in (
        token,
        async_token,
        callers,
        async_callers,
        mixed_callers,
        soak,
        rotation,
        sure,
        forker,
        server,
        async_server,
    )
}


def perform(job: dict[str, Any]) -> None:
    """Run the program of *job*."""
    signal.alarm(LONGEST_LIFE)
    PROGRAMS[job["program"]](World(job["job"], job["settings"]), **job.get("params", {}))


def warm() -> None:
    """Import what every worker will need."""
    for module in ("_engine.httpx_transport", "stores.redis", "stores.sql"):
        importlib.import_module(f"atom_stripe.{module}")


if __name__ == "__main__":
    if sys.argv[1:] == ["alone"]:
        perform(json.loads(sys.stdin.readline()))
    else:
        warm()
        Nest(perform).run()
