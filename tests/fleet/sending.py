"""Who acts as Stripe: signs, delivers until it is answered with 2xx, sends twice, and forgets that it did."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING

from atom_stripe.testing import sign
from tests.fleet.checker import Checker
from tests.fleet.nest import PATIENCE, wait_for
from tests.fleet.plan import HANDLERS, Planned, fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fleet.plan import Plan
    from tests.fleet.world import World


class Round:
    """The events of one plan: sent, answered, handled, and checked."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.plan = plan
        self.checker = Checker(HANDLERS, world.threads, lambda event, handler: fate(event, handler).hopeless)
        self.lock = threading.Lock()
        self.answers = 0
        self.turned_away = 0
        self.errors: list[BaseException] = []
        self._world = world
        self._tasks = iter(self._all())
        self._later: deque[Planned] = deque()
        self._threads: list[threading.Thread] = []
        self._began = time.monotonic()
        self._given = 0
        self._given_all = False

    def _all(self) -> Iterator[Planned]:
        for planned in self.plan:
            for _ in range(planned.copies):
                yield planned

    def start(self, senders: int, rate: float | None) -> None:
        """Begin to send, in threads."""
        for number in range(senders):
            thread = threading.Thread(target=self._send, args=(number, rate), name=f"sender-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def progress(self) -> float:
        """How far it is, between 0 and 1: half of the way is to be answered, half to be handled. Only right for a world's first round."""
        answered = min(1.0, self.answers / self.plan.events)
        return (answered + min(1.0, self._world.effects() / (self.plan.events * 1.4))) / 2

    def wait_for(self, progress: float) -> None:
        """Return once it is that far."""
        best, until = -1.0, time.monotonic() + PATIENCE
        while (now := self.progress) < progress and not self.errors:
            # As long as it goes on there is no hurry.
            if now > best:
                best, until = now, time.monotonic() + PATIENCE
            assert time.monotonic() < until, f"it went no further than {now:.3f} of {progress:.3f}; {self._world.alive()}"
            time.sleep(0.1)

    @property
    def given(self) -> bool:
        """Whether all that is in the plan is being delivered, or was."""
        return self._given_all

    def wait_until(self, ready: Callable[[], object], what: str) -> None:
        """Return once *ready* holds."""
        wait_for(lambda: self.errors or ready(), lambda: what)

    def sent(self) -> bool:
        """Return whether all was sent and answered."""
        if self.errors:
            raise self.errors[0]
        return not any(thread.is_alive() for thread in self._threads)

    def _next(self, rate: float | None) -> Planned | None:
        with self.lock:
            task = next(self._tasks, None)
            if task is None:
                self._given_all = True
                return self._later.popleft() if self._later else None
            self._given += 1
            due = 0.0 if rate is None else self._began + self._given / rate - time.monotonic()
        if due > 0:
            time.sleep(due)
        return task

    def _send(self, number: int, rate: float | None) -> None:
        try:
            with closing(Post(self._world, random.Random(f"{self.plan.seed} {self.plan.round} {number}"))) as post:
                while (task := self._next(rate)) is not None:
                    self._deliver(post, task)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            self.errors.append(error)

    def _deliver(self, post: Post, planned: Planned) -> None:
        """Deliver an event as Stripe does: until it is answered with 2xx."""
        until = time.monotonic() + PATIENCE
        while True:
            with self.lock:
                self.checker.sends(planned.id, planned.type)
            status = post.deliver(planned.body)
            if status is not None:
                with self.lock:
                    self.checker.answered(planned.id, status, time.time())
                    self.turned_away += status == 503
                if 200 <= status < 300:
                    break
            assert time.monotonic() < until, f"{planned.id} was not taken: {status}"
            time.sleep(0.05)
        with self.lock:
            self.answers += 1
            if planned.again and self.checker._events[planned.id].answers == 1:
                self._later.append(planned)


class Post:
    """The connections of one sender. They stay open, as Stripe's may."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._connections: dict[int, socket.socket] = {}

    def deliver(self, body: bytes) -> int | None:
        """Deliver to a receiver that is there; return the status it answered with, or ``None`` if nobody did."""
        ports = self._world.ports()
        if not ports:
            return None
        port = self._chance.choice(ports)
        request = f"POST / HTTP/1.1\r\nHost: stripe\r\nStripe-Signature: {sign(body, self._world.secret)}\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = b""
        try:
            connection = self._connections.get(port) or socket.create_connection(("127.0.0.1", port), timeout=20.0)
            self._connections[port] = connection
            connection.sendall(request.encode() + body)
            # Some answers get lost: the event may be stored, and is sent again.
            while self._chance.random() >= 0.005 and not answer.endswith(b"\r\n\r\n"):
                read = connection.recv(4096)
                if not read:
                    break
                answer += read
        except OSError:
            answer = b""
        if not answer.endswith(b"\r\n\r\n"):
            self._forget(port)
            return None
        return int(answer.split(b" ", 2)[1])

    def _forget(self, port: int) -> None:
        connection = self._connections.pop(port, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        for port in list(self._connections):
            self._forget(port)
