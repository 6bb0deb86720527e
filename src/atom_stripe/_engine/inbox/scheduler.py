"""Which lane is to be drained next. It knows when to look; what there is to do, the store knows."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class _Lane:
    """
    *due*: when a waiting lane is to be looked at. *again*: something came while it was being drained. *job*: the one in an engine's table that
    stands for the lane until nothing is left to do there at once.
    """

    state: Literal["queued", "waiting", "running"]
    due: float = 0.0
    again: bool = False
    job: Future[bool] | None = None


class Scheduler:
    """
    Lanes to drain: one thread a lane, the one that waited longest first. *now*: the time of the store, by which events are due.

    A wake-up too many costs one look; one too few would be an event that nobody handles, so what comes while a lane runs is remembered.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._condition = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._queue: deque[str] = deque()
        self._heap: list[tuple[float, str]] = []
        self._stopped = False

    def now(self) -> float:
        """Return the time of the store, as far as it is known."""
        return self._now()

    def offer(self, lane: str, due: float | None = None) -> None:
        """Have *lane* looked at, not before *due*."""
        with self._condition:
            self._offer(lane, due)

    def job(self, lane: str) -> Future[bool]:
        """Have *lane* looked at for a job of an engine's; see ``LaneQueue.job``."""
        future: Future[bool] = Future()
        # Nobody can cancel it: who waits may give up, and the lane is drained all the same.
        future.set_running_or_notify_cancel()
        with self._condition:
            if self._stopped:
                answer: bool | None = False
            else:
                known = self._offer(lane, None)
                answer = True if known.job else None
                known.job = known.job or future
        if answer is not None:
            future.set_result(answer)
        return future

    def _offer(self, lane: str, due: float | None) -> _Lane:
        known = self._lanes.get(lane)
        if known is None:
            known = self._lanes[lane] = _Lane("waiting", float("inf"))
        if known.state == "running":
            # Whoever runs it will find out when it is due.
            known.again = True
        elif known.state == "waiting" and due is not None and due > self._now():
            if due < known.due:
                known.due = due
                heapq.heappush(self._heap, (due, lane))
                self._condition.notify()
        elif known.state == "waiting":
            self._enqueue(lane, known)
        return known

    def _enqueue(self, lane: str, known: _Lane) -> None:
        known.state = "queued"
        self._queue.append(lane)
        self._condition.notify()

    def take(self) -> str | None:
        """Wait for a lane to drain; ``None`` when this was stopped. Say ``finish`` afterwards."""
        with self._condition:
            while not self._stopped:
                wait = self._wake_due()
                if self._queue:
                    lane = self._queue.popleft()
                    self._lanes[lane] = _Lane("running", job=self._lanes[lane].job)
                    return lane
                self._condition.wait(wait)
            return None

    def _wake_due(self) -> float | None:
        """Queue the lanes whose time has come, and return the seconds until the next one's."""
        while self._heap:
            due, lane = self._heap[0]
            known = self._lanes.get(lane)
            if known is None or known.state != "waiting" or known.due != due:
                # An entry that was overtaken by a later one.
                heapq.heappop(self._heap)
                continue
            left = due - self._now()
            if left > 0:
                # Bounded, because clocks are set.
                return min(left, 5.0)
            heapq.heappop(self._heap)
            self._enqueue(lane, known)
        return None

    def finish(self, lane: str, due: float | None = None, *, again: bool = False) -> None:
        """Say that *lane* was drained, until there is nothing to do before *due*; *again*: its turn is over, but not its work."""
        with self._condition:
            known = self._lanes.pop(lane, None)
            job = None if known is None else known.job
            more = again or (known is not None and known.again)
            if more or due is not None:
                following = self._offer(lane, None if more else due)
                if following.state == "queued" and not self._stopped:
                    # Its job is not done yet.
                    following.job, job = job, None
            unfinished = more and self._stopped
        if job is not None:
            job.set_result(not unfinished)

    def stop(self) -> None:
        """Let every ``take()`` return ``None``. The jobs of lanes that wait for their turn are for others."""
        with self._condition:
            self._stopped = True
            jobs = [known.job for known in self._lanes.values() if known.state == "queued" and known.job]
            for known in self._lanes.values():
                if known.state == "queued":
                    known.job = None
            self._condition.notify_all()
        for job in jobs:
            job.set_result(False)

    def __len__(self) -> int:
        return len(self._lanes)
