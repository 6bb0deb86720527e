"""``context.connection``: what a handler does there happens exactly once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest

from atom_stripe.errors import StoreError
from atom_stripe.inbox import HandlerRetry
from atom_stripe.stores.inbox_memory import MemoryInboxStore


def append(world: Any, effect: Any) -> Any:
    """Return a handler of the world's colour that does *effect* in the transaction, then what ``after`` of it says."""
    after = getattr(effect, "after", None)
    if world.colour == "sync":

        def handle(event: Any, context: Any) -> None:
            context.connection.append(effect(event, context))
            if after:
                after(event, context)

        return handle

    async def handle_async(event: Any, context: Any) -> None:
        await context.connection.run_sync(lambda connection, value: connection.append(value), effect(event, context))
        if after:
            after(event, context)

    return handle_async


def test_effect_and_bookkeeping_commit_together(world: Any, make: Any) -> None:
    """What was done on the connection is there when the event is done, once for each event."""
    inbox = world.open()
    inbox.on("*", name="h")(append(world, lambda event, context: event.id))
    for number in range(5):
        world.receive(make.event(f"evt_{number}"))
    world.drain()
    assert world.store.effects == tuple(f"evt_{number}" for number in range(5))
    assert {record.status for record in world.records()} == {"done"}


def test_what_a_failed_attempt_did_is_undone(world: Any, make: Any) -> None:
    """An attempt that raises leaves nothing behind; the one that succeeds leaves its effect once."""
    inbox = world.open()

    def effect(event: Any, context: Any) -> Any:
        return context.attempt

    def fail(event: Any, context: Any) -> None:
        if context.attempt < 3:
            raise LookupError

    effect.after = fail  # type: ignore[attr-defined]
    inbox.on("*", name="h")(append(world, effect))
    world.receive(make.event())
    world.drain()
    assert world.store.effects == (3,)


def test_each_handler_has_its_own_transaction(world: Any, make: Any) -> None:
    """The effect of one handler stays when the next one of the same event fails, and is not done again."""
    inbox = world.open()

    def second(event: Any, context: Any) -> Any:
        return f"b{context.attempt}"

    def fail(event: Any, context: Any) -> None:
        if context.attempt == 1:
            raise LookupError

    second.after = fail  # type: ignore[attr-defined]
    inbox.on("*", name="a")(append(world, lambda event, context: "a"))
    inbox.on("*", name="b")(append(world, second))
    inbox.on("*", name="c")(append(world, lambda event, context: "c"))
    world.receive(make.event())
    world.drain()
    assert sorted(world.store.effects) == ["a", "b2", "c"]
    assert {name: state.attempts for name, state in world.only().handlers.items()} == {"a": 1, "b": 2, "c": 1}


def test_a_lost_claim_undoes_the_effect(world: Any, make: Any) -> None:
    """Who was so slow that another worker has taken over writes nothing: the effect is that of the other one alone."""
    inbox, runs = world.open(), []

    def effect(event: Any, context: Any) -> Any:
        runs.append(context.attempt)
        return len(runs)

    def steal(event: Any, context: Any) -> None:
        if len(runs) == 1:
            # As if the lease had run out and another worker had been killed since.
            world.store.release(context.event_record.run)

    effect.after = steal  # type: ignore[attr-defined]
    inbox.on("*", name="h")(append(world, effect))
    world.receive(make.event())
    world.drain()
    assert runs == [1, 2]
    assert world.store.effects == (2,)
    assert inbox.counts["claims_lost"] == 1


def test_a_lost_claim_without_a_transaction_writes_nothing(world: Any, make: Any) -> None:
    """The outcome of a handler that lost its claim is not written either; the event is handled again."""
    inbox, runs = world.open(), []

    def handle(event: Any, context: Any) -> None:
        runs.append(context.attempt)
        if len(runs) == 1:
            world.store.release(context.event_record.run)

    inbox.on("*", name="h")(world.handler(handle))
    world.receive(make.event())
    world.drain()
    assert runs == [1, 2]
    assert world.only().handlers["h"].attempts == 2


class Broken(MemoryInboxStore):
    """A store whose next steps within a transaction, or whose next commits, fail."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Exception | None] = []
        self.commits: list[Exception | None] = []
        self.writes: list[Exception | None] = []

    def advance(self, step: Any, claim_next: Any = None, /, *, connection: Any = None) -> Any:
        script = self.writes if connection is None else self.steps
        error = script.pop(0) if script else None
        if error is not None:
            raise error
        return super().advance(step, claim_next, connection=connection)

    def together(self, steps: Any, claims: Any, lease: float, fits: Any) -> Any:
        error = self.writes.pop(0) if self.writes and steps else None
        if error is not None:
            raise error
        return super().together(steps, claims, lease, fits)

    def transaction(self) -> Any:
        @contextmanager
        def opened() -> Any:
            with super(Broken, self).transaction() as connection:
                yield connection
            error = self.commits.pop(0) if self.commits else None
            if error is not None:
                raise error

        return opened()


def test_a_step_that_fails_in_the_transaction_is_a_failed_attempt(world: Any, make: Any) -> None:
    """A handler that broke its connection is tried again, and nothing of the first attempt remains."""
    world.store = store = Broken()
    inbox = world.open()
    store.steps = [StoreError("the transaction is broken")]
    inbox.on("*", name="h")(append(world, lambda event, context: context.attempt))
    world.receive(make.event())
    world.drain()
    assert store.effects == (2,)
    assert world.only().status == "done"


@pytest.mark.parametrize("handlers", [1, 2])
def test_a_commit_of_unknown_outcome_is_not_repeated(world: Any, make: Any, handlers: int) -> None:
    """When a commit took effect and its answer was lost, the row says so, and the effect is not done a second time."""
    world.store = store = Broken()
    inbox = world.open()
    store.commits = [StoreError("the connection was lost")]
    for number in range(handlers):
        inbox.on("*", name=f"h{number}")(append(world, lambda event, context, number=number: number))
    world.receive(make.event())
    world.drain()
    assert sorted(store.effects) == list(range(handlers))
    assert world.only().status == "done"


def test_a_completion_that_cannot_be_written_is_tried_again(world: Any, make: Any) -> None:
    """A store that is away for a moment does not make a finished handler run again."""
    world.store = store = Broken()
    inbox, runs = world.open(), []
    store.writes = [StoreError("away"), StoreError("away")]
    inbox.on("*", name="h")(world.handler(lambda event, context: runs.append(event.id)))
    world.receive(make.event())
    world.drain()
    assert runs == ["evt_1"]
    assert world.only().status == "done"


def test_a_completion_that_is_refused_for_good_runs_the_event_again(world: Any, make: Any) -> None:
    """When the outcome cannot be written at all, the event is handled again: nothing is lost."""
    world.store = store = Broken()
    inbox, runs = world.open(), []
    # Together with others, and by itself.
    store.writes = [StoreError("refused", retryable=False)] * 2
    inbox.on("*", name="h")(world.handler(lambda event, context: runs.append(context.attempt)))
    world.receive(make.event())
    world.drain()
    assert runs == [1, 2]
    assert inbox.counts["store_failures"] == 1


def test_a_connection_that_is_kept_is_dead(world: Any, make: Any) -> None:
    """After the handler has ended nobody writes in its transaction, which would be written nowhere."""
    inbox, kept = world.open(), []
    inbox.on("*", name="h", retry=HandlerRetry.NONE)(world.handler(lambda event, context: kept.append(context)))
    world.receive(make.event())
    world.drain()
    with pytest.raises(StoreError, match="has ended"):
        world.call(lambda: kept[0].connection if world.colour == "sync" else kept[0].connection.scalar("x"))


def test_execute_and_scalar_of_an_async_connection(async_world: Any, make: Any) -> None:
    """``execute`` and ``scalar`` run in the thread of the transaction, with what they are given, and return what it returns."""
    import threading

    calls = []

    class Connection:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.steps = inner.steps
            self.add = inner.add

        def execute(self, statement: Any, parameters: Any) -> Any:
            calls.append(("execute", threading.get_ident()))
            self.inner.append((statement, parameters))
            return "result"

        def scalar(self, statement: Any) -> Any:
            calls.append(("scalar", threading.get_ident()))
            return 7

    class Store(MemoryInboxStore):
        def transaction(self) -> Any:
            @contextmanager
            def opened() -> Any:
                with super(Store, self).transaction() as connection:
                    yield Connection(connection)

            return opened()

    async_world.store = Store()
    inbox, results = async_world.open(), []

    async def handle(event: Any, context: Any) -> None:
        results.append(await context.connection.execute("insert", {"a": 1}))
        results.append(await context.connection.scalar("select"))

    inbox.on("*", name="h")(handle)
    async_world.receive(make.event())
    async_world.drain()
    assert results == ["result", 7]
    assert async_world.store.effects == (("insert", {"a": 1}),)
    assert len({thread for _, thread in calls}) == 1
    assert calls[0][1] != threading.get_ident()


def test_a_rollback_that_fails_is_a_rollback(world: Any, make: Any) -> None:
    """When the connection is gone as well, the failed attempt is written down all the same, and the event is tried again."""

    class Gone(MemoryInboxStore):
        @contextmanager
        def transaction(self) -> Any:
            try:
                with super().transaction() as connection:
                    yield connection
            except LookupError:
                raise
            except Exception as error:
                msg = "the connection is gone"
                raise StoreError(msg) from error

    world.store = Gone()
    inbox = world.open()

    def effect(event: Any, context: Any) -> Any:
        return context.attempt

    def fail(event: Any, context: Any) -> None:
        if context.attempt == 1:
            raise LookupError

    effect.after = fail  # type: ignore[attr-defined]
    inbox.on("*", name="h")(append(world, effect))
    world.receive(make.event())
    world.drain()
    assert world.store.effects == (2,)
    assert world.only().status == "done"


def test_an_event_that_was_set_aside_in_a_transaction_is_tried_again_at_its_time(world: Any, make: Any) -> None:
    """An unordered handler that failed is due by itself, though another one's transaction has written that, and no sweep comes."""
    inbox = world.open(poll_interval=600.0, sweep_interval=600.0)
    attempts: list[int] = []

    def fail_once(event: Any, context: Any) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise LookupError

    retry = HandlerRetry(attempts=3, initial_delay=0.1, max_delay=0.1)
    inbox.on("*", name="aside", ordering="none", retry=retry)(world.handler(fail_once))
    inbox.on("*", name="h")(append(world, lambda event, context: event.id))
    world.receive(make.event())
    world.work(lambda: attempts == [1, 2])
    assert world.store.effects == ("evt_1",)
