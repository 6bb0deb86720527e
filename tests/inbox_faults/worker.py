"""
The programs that these tests start, stop and kill.

Run as ``python -m tests.inbox_faults.worker PROGRAM KIND URL``. What a program reports is JSON, a line for each; it ends when its input does.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import InboxBusyError
from atom_stripe.inbox import HandlerRetry
from atom_stripe.stores.sql import upgrade
from tests.inbox_faults.shop import Shop, drain, effect, event, new_inbox, raw, send, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable


def report(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def told_to_end() -> None:
    sys.stdin.read()


def commit_and_die(shop: Shop) -> None:
    """Store an event, and be killed before anybody is told."""
    store = shop.open()
    append = store.append

    def dies(arrivals: Any, *wake: Any) -> Any:
        append(arrivals, *wake)
        os.kill(os.getpid(), signal.SIGKILL)

    store.append = dies  # type: ignore[method-assign]
    send(new_inbox(store), event())


def same_event(shop: Shop) -> None:
    """In four processes at once, deliver one event from thirteen threads each, and handle what is there."""
    go, ready = os.pipe(), os.pipe()
    children = [fork(lambda: deliver_and_handle(shop, go[0], ready[1])) for _ in range(4)]
    for _ in children:
        os.read(ready[0], 1)
    os.write(go[1], b"gogo")
    told_to_end()
    for child in children:
        os.kill(child, signal.SIGTERM)
    report([os.waitpid(child, 0)[1] for child in children])


def deliver_and_handle(shop: Shop, go: int, ready: int) -> None:
    body = raw(event())
    outcomes: list[str] = []
    with shop.inbox(accept_timeout=60.0) as inbox:
        inbox.on("*", name="h")(effect)
        signal.signal(signal.SIGTERM, lambda *_: inbox.stop())

        def deliver() -> None:
            begin.wait()
            outcomes.append(inbox.receive(body, signed(body)).outcome)

        begin = threading.Event()
        threads = [threading.Thread(target=deliver) for _ in range(13)]

        def all_of_them() -> None:
            for thread in threads:
                thread.start()
            os.write(ready, b".")
            os.read(go, 1)
            begin.set()
            for thread in threads:
                thread.join()
            report(outcomes)

        threading.Thread(target=all_of_them).start()
        inbox.run_worker()


def fork(work: Callable[[], None]) -> int:
    """Run *work* in a process of its own, and return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the parent is told by the code
        traceback.print_exc()
    finally:
        os._exit(code)


def deaths(shop: Shop) -> None:
    """Run a worker over events that end its process, and another one after each death, until one lives to see the end."""
    die_again_and_again(shop, attempts=2)


def deaths_in_bundles(shop: Shop) -> None:
    """Do so with handlers that have attempts to spare, whose fresh events are claimed together."""
    from atom_stripe._engine.inbox import bundles, pace

    # However slow this machine is.
    pace.Pace.most = 50  # type: ignore[assignment,method-assign]
    bundles.LONGEST = 60.0
    die_again_and_again(shop, attempts=4)


def die_again_and_again(shop: Shop, *, attempts: int) -> None:
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        child = fork(lambda: handle_and_die(shop, HandlerRetry(attempts=attempts, initial_delay=0.0, max_delay=0.0)))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    report(codes)


def handle_and_die(shop: Shop, retry: HandlerRetry) -> None:
    with shop.inbox(workers=1, lease=0.4, sweep_interval=0.2, retry=retry) as inbox:

        def handle(event: Any, context: Any) -> None:
            way = WAYS_TO_DIE.get(event.type)
            effect(event, context)
            if way is not None:
                way()

        inbox.on("*", name="h")(handle)
        drain(inbox)


def eat_the_stack() -> None:
    """Overflow the stack of C, below what Python counts."""
    import ctypes

    @ctypes.CFUNCTYPE(ctypes.c_int)
    def again() -> int:
        sys.setrecursionlimit(10**9)
        return again()

    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=again)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGSEGV)


def read_nothing() -> None:
    import ctypes

    ctypes.string_at(0)


WAYS_TO_DIE: dict[str, Callable[[], Any]] = {
    "die.exit": lambda: os._exit(7),
    "die.segfault": read_nothing,
    "die.stack": eat_the_stack,
    "die.abort": os.abort,
    "die.kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def stall(shop: Shop) -> None:
    """Stand still in a handler, and try to finish afterwards."""
    with shop.inbox(workers=1, lease=0.5, sweep_interval=0.2) as inbox:

        def handle(event: Any, context: Any) -> None:
            report("standing still")
            # To this thread, or it would go on for a moment until another one has told it, and take SQLite's lock into its sleep.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            effect(event, context)

        inbox.on("*", name="h")(handle)
        with inbox.worker():
            sys.stdin.readline()
            wait_for(lambda: inbox.counts.get("claims_lost") or inbox.counts.get("handled"))
        report(dict(inbox.counts))


def upgrade_and_die(shop: Shop) -> None:
    """Be killed in the middle of an upgrade, after the number of statements that the input says."""
    from sqlalchemy import Engine
    from sqlalchemy import event as events

    left = int(sys.stdin.readline())

    def count(*_args: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    events.listen(Engine, "before_cursor_execute", count)
    upgrade(shop.url)
    report("done")


def small_disk(shop: Shop) -> None:
    """Deliver events until the disk is full, and again when there is room; the room is what one file may grow to."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    numbers = iter(range(1_000_000))
    with shop.inbox() as inbox:
        padding = "x" * 5000
        stored: list[str] = []

        def deliver() -> bool:
            one = event(next(numbers), request={"id": padding})
            try:
                send(inbox, one)
            except InboxBusyError:
                return False
            stored.append(one["id"])
            return True

        for size in (600_000, 1_500_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
            # The log may be full before the file is, and is emptied into it then.
            refused = 0
            while refused < 5:
                refused = 0 if deliver() else refused + 1
            # It stays so, and says so each time.
            report([len(stored), [deliver() for _ in range(3)]])
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        report([len(stored), [deliver() for _ in range(3)]])
        report(stored)


def flood(shop: Shop) -> None:
    """Deliver events, and tell of each that was stored, until this is killed."""
    with shop.inbox() as inbox:
        for number in range(1_000_000):
            send(inbox, event(number, obj=f"cus_{number}", request={"id": "x" * (number % 4000)}))
            os.write(1, b"%d\n" % number)


def forked(shop: Shop) -> None:
    """Fork with an open inbox, on a server also while a worker runs and deliveries come: parent and child go on by themselves."""
    import warnings

    # Python 3.12 and newer warn of a fork beside threads, which is what this is about.
    warnings.simplefilter("ignore", DeprecationWarning)
    with shop.inbox() as inbox:
        inbox.on("*", name="h")(effect)
        over = threading.Event()
        numbers = iter(range(1_000_000))

        def deliver() -> None:
            while not over.is_set():
                send(inbox, event(f"parent_{next(numbers)}", obj=f"cus_{next(numbers)}"))

        def in_the_child() -> None:
            for number in range(20):
                send(inbox, event(f"child_{number}", obj=f"other_{number}"))
            with inbox.worker():
                send(inbox, event("child_last", obj="other"))
                wait_for(lambda: dict(shop.rows("SELECT event_id, status FROM stripe_events")).get("evt_child_last") == "done")
            inbox.close()

        if shop.kind == "sqlite":
            # What a thread inside of SQLite has locked at that moment stays locked in the child for ever: fork when it is quiet.
            send(inbox, event("parent_first"))
            drain(inbox)
            codes = [os.waitpid(fork(in_the_child), 0)[1]]
            send(inbox, event("parent_last"))
            drain(inbox)
        else:
            sender = threading.Thread(target=deliver)
            with inbox.worker():
                sender.start()
                wait_for(lambda: next(numbers) > 40)
                codes = [os.waitpid(fork(in_the_child), 0)[1]]
                over.set()
                sender.join()
                wait_for(lambda: not inbox.store.waiting(0, 1))
        report(codes)


PROGRAMS: dict[str, Callable[[Shop], None]] = {
    "commit_and_die": commit_and_die,
    "same_event": same_event,
    "deaths": deaths,
    "deaths_in_bundles": deaths_in_bundles,
    "stall": stall,
    "upgrade_and_die": upgrade_and_die,
    "small_disk": small_disk,
    "flood": flood,
    "forked": forked,
}


def shop_of(kind: str, url: str) -> Shop:
    if kind != "pgqueuer":
        return Shop(kind, url)
    from atom_stripe.engines.pgqueuer import PgQueuerEngine

    return Shop(kind, url, PgQueuerEngine(url))


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    PROGRAMS[sys.argv[1]](shop_of(sys.argv[2], sys.argv[3]))
