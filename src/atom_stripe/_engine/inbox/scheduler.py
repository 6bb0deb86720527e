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

    from atom_stripe._engine.inbox.flights import Claimed
    from atom_stripe._engine.inbox.pace import Pace


@dataclass(slots=True)
class _Lane:
    """
    *due*: when a waiting lane is to be looked at. *again*: something came while it was being drained. *job*: the one in an engine's table that
    stands for the lane until nothing is left to do there at once. *begun*: its head was begun before, so it has a turn of its own. *claimed*: the
    head, if a thread claimed it and could not begin.
    """

    state: Literal["queued", "waiting", "running"]
    due: float = 0.0
    again: bool = False
    job: Future[bool] | None = None
    begun: bool = False
    claimed: Claimed | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """
    What one thread is to drain: one lane, whose head is *claimed* already or not, or *together* several.
    """

    lanes: list[str]
    claimed: Claimed | None = None
    together: bool = False


class Scheduler:
    """
    Lanes to drain: one thread a lane, the one that waited longest first. *now*: the time of the store, by which events are due. *pace*: says
    how many lanes a thread gets at a time; without it, one.

    A wake-up too many costs one look; one too few would be an event that nobody handles, so what comes while a lane runs is remembered.
    """

    def __init__(self, now: Callable[[], float], pace: Pace | None = None) -> None:
        self._now = now
        self._pace = pace
        self._condition = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        # Lanes with an event that may be fresh, and those with one that was begun, or claimed, before.
        self._queue: deque[str] = deque()
        self._begun: deque[str] = deque()
        self._is_turn_of_begun = False
        # Who takes the fresh ones while handlers are so quick that one thread does as much as several.
        self._gatherer: Turn | None = None
        self._idle = 0
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
        if known.begun:
            self._begun.append(lane)
        else:
            self._queue.append(lane)
        if known.begun or self._gatherer is None:
            self._condition.notify()

    def take(self) -> str | None:
        """Wait for a lane to drain; ``None`` when this was stopped. Say ``finish`` afterwards. For schedulers without a pace."""
        turn = self.turn()
        return None if turn is None else turn.lanes[0]

    def turn(self) -> Turn | None:
        """Wait for something to drain; ``None`` when this was stopped. Say ``finish`` for each lane afterwards, and ``part`` for several."""
        with self._condition:
            while not self._stopped:
                wait = self._wake_due()
                fresh = bool(self._queue) and self._gatherer is None
                if self._begun and (self._is_turn_of_begun or not fresh):
                    self._is_turn_of_begun = False
                    return self._one(self._begun)
                if fresh:
                    self._is_turn_of_begun = True
                    return self._several()
                self._idle += 1
                self._condition.wait(wait)
                self._idle -= 1
            return None

    def _one(self, queue: deque[str]) -> Turn:
        lane = queue.popleft()
        return Turn([lane], self._run(lane))

    def _several(self) -> Turn:
        if self._pace is None or self._pace.most == 1:
            return self._one(self._queue)
        turn = Turn(self._gathered(self._pace.most), together=True)
        if self._pace.quick:
            self._gatherer = turn
        return turn

    def _gathered(self, most: int) -> list[str]:
        lanes = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        for lane in lanes:
            self._run(lane)
        return lanes

    def _run(self, lane: str) -> Claimed | None:
        known = self._lanes[lane]
        claimed, again = known.claimed, known.again
        self._lanes[lane] = _Lane("running", again=again, job=known.job)
        return claimed

    def more(self, turn: Turn) -> list[str] | None:
        """
        Return more lanes for who has *turn*, as many as there are up to the pace's limit; ``None`` if it is over, for others to have theirs.
        """
        with self._condition:
            pace = self._pace
            if self._stopped or pace is None or pace.most == 1 or (self._begun and not self._idle):
                return None
            if pace.quick and self._gatherer is not turn:
                return None
            if not pace.quick:
                self._part(turn)
            self._wake_due()
            return self._gathered(pace.most)

    def part(self, turn: Turn) -> None:
        """Say that who has *turn* takes no more lanes."""
        with self._condition:
            self._part(turn)

    def _part(self, turn: Turn) -> None:
        if self._gatherer is turn:
            self._gatherer = None
            self._condition.notify_all()

    def hand_over(self, claimed: Claimed) -> bool:
        """Have another thread begin with *claimed*, the head of its lane, if one has nothing to do; return whether that will happen."""
        lane = claimed.record.lane
        with self._condition:
            # Of those that have nothing to do, each takes one lane that was begun.
            if self._stopped or self._idle <= len(self._begun):
                return False
            known = self._lanes.setdefault(lane, _Lane("running"))
            known.state, known.claimed = "queued", claimed
            self._begun.append(lane)
            self._condition.notify()
            return True

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
            # What had to wait was begun before.
            known.begun = True
            self._enqueue(lane, known)
        return None

    def finish(self, lane: str, due: float | None = None, *, again: bool = False, begun: bool = False) -> None:
        """
        Say that *lane* was drained, until there is nothing to do before *due*; *again*: its turn is over, but not its work. *begun*: its head was
        begun before.
        """
        with self._condition:
            known = self._lanes.pop(lane, None)
            job = None if known is None else known.job
            more = again or begun or (known is not None and known.again)
            if begun:
                self._lanes[lane] = _Lane("waiting", float("inf"), begun=True)
            if more or due is not None:
                following = self._offer(lane, None if more else due)
                if following.state == "queued" and not self._stopped:
                    # Its job is not done yet.
                    following.job, job = job, None
            unfinished = more and self._stopped
        if job is not None:
            job.set_result(not unfinished)

    def stop(self) -> list[Claimed]:
        """
        Let every ``take()`` return ``None``. The jobs of lanes that wait for their turn are for others. Returns what was handed over and not taken.
        """
        with self._condition:
            self._stopped = True
            left = [known.claimed for known in self._lanes.values() if known.state == "queued" and known.claimed]
            jobs = [known.job for known in self._lanes.values() if known.state == "queued" and known.job]
            for known in self._lanes.values():
                if known.state == "queued":
                    known.job = known.claimed = None
            self._condition.notify_all()
        for job in jobs:
            job.set_result(False)
        return left

    def __len__(self) -> int:
        return len(self._lanes)
