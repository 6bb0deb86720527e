"""``kill -9`` at every step of a refresh, and at random: what the next process makes of it."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from tests.faults.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Job, Stage

POINTS = ("after_claim", "after_send", "after_answer", "before_commit", "after_commit")
# At these, Stripe has used the refresh token up, and only the dead process knew what it gave.
SPENT = {"after_send", "after_answer", "before_commit"}
SHORT = {"lease": 1.0, "refresh_timeout": 0.9, "wait": 20.0}


def kill_at_each_point(stage: Stage, *programs: str) -> dict[tuple[str, str], str]:
    """Let one refresh of each program die at each point. Returns the users, by program and point."""
    users = {(program, point): f"user_{program}_{point}" for program in programs for point in POINTS}
    stage.connect(*users.values())
    jobs = {
        (program, point): stage.start(program, {"points": {point: "kill"}, "oauth": SHORT}, user=user)
        for (program, point), user in users.items()
    }
    for (_, point), job in jobs.items():
        assert job.ended() == -signal.SIGKILL
        assert job.found("at") == [point]
    return users


def test_a_killed_refresh_is_taken_up_with_its_key(any_stage: Stage) -> None:
    """Killed at any step, a refresh is ended by the next process that asks, under the key that was written down: no grant is lost."""
    users = kill_at_each_point(any_stage, "token", "async_token")
    jobs = {case: any_stage.start(case[0], {"oauth": SHORT}, user=user) for case, user in users.items()}
    tokens = {case: job.wait_for("token") for case, job in jobs.items()}
    assert tokens == {case: any_stage.digest(user) for case, user in users.items()}
    any_stage.check_sound(*users.values())
    # Each token was sent under one key only, and Stripe did the work once.
    assert len(any_stage.intents()) == len(users)
    assert any_stage.asked().count("done") == len(users)
    assert any_stage.asked().count("replayed") >= 2 * len(SPENT)
    assert not [hook for job in jobs.values() for hook in job.found("hook")]


def test_a_killed_refresh_without_replay_ends_in_a_call_for_the_user(any_stage: Stage) -> None:
    """If Stripe kept no keys, a grant would be lost exactly where the token was spent: the row stays, the hook is called once, nothing loops."""
    any_stage.sandbox.oauth.replays_token_requests = False
    users = {point: user for (_, point), user in kill_at_each_point(any_stage, "token").items()}
    before = len(any_stage.asked())
    jobs = {point: any_stage.start("token", {"oauth": SHORT}, user=user) for point, user in users.items()}
    outcomes = {point: job.wait_for("token") for point, job in jobs.items()}
    states = {point: any_stage.record(user).state for point, user in users.items()}
    assert states == {point: "reauthorization_required" if point in SPENT else "active" for point in POINTS}
    for point, user in users.items():
        assert outcomes[point] == ("ReauthorizationRequiredError" if point in SPENT else any_stage.digest(user))
        # The last access token is kept until it runs out.
        assert any_stage.record(user).access_token is not None
    assert sorted(hook for job in jobs.values() for hook in job.found("hook")) == sorted(users[point] for point in SPENT)
    # One more try for each lost one, in case the first answer was still on its way.
    assert any_stage.asked()[before:].count("invalid_grant") <= 2 * len(SPENT)
    # Who asks again is told without asking Stripe.
    settled = len(any_stage.asked())
    again = [any_stage.start("token", {"oauth": SHORT}, user=users[point]) for point in sorted(SPENT)]
    assert [job.wait_for("token") for job in again] == ["ReauthorizationRequiredError"] * len(SPENT)
    assert len(any_stage.asked()) == settled
    assert not [hook for job in again for hook in job.found("hook")]


def test_two_processes_that_find_a_lost_grant_agree(stage: Stage) -> None:
    """Two processes that find a spent token at once do not hand the row to and fro: Stripe is asked a few times, the hook once."""
    stage.sandbox.oauth.replays_token_requests = False
    stage.connect("user_0")
    job = stage.start("token", {"points": {"after_answer": "kill"}, "oauth": SHORT}, user="user_0")
    assert job.ended() == -signal.SIGKILL
    jobs = [stage.start("token", {"oauth": SHORT}, user="user_0") for _ in range(3)]
    assert [job.wait_for("token") for job in jobs] == ["ReauthorizationRequiredError"] * 3
    assert [job.ended() for job in jobs] == [0] * 3
    assert [hook for job in jobs for hook in job.found("hook")] == ["user_0"]
    assert stage.asked().count("invalid_grant") <= 6


def test_a_token_that_still_works_is_served_after_its_grant_was_lost(stage: Stage) -> None:
    """A refresh that dies in the background and cannot be repeated costs nobody a call while the old access token works."""
    stage.sandbox.oauth.replays_token_requests = False
    stage.connect("user_0", expired=False)
    stage.expire("user_0", left=300.0)
    old = stage.digest("user_0")
    job = stage.start("token", {"points": {"after_answer": "kill"}, "oauth": SHORT}, user="user_0")
    assert job.ended() == -signal.SIGKILL
    hooks: list[str] = []
    # Closing a worker waits for what it began in the background, so that each one's refresh has ended.
    outcomes: list[str] = []
    stage.wait(lambda: ended_in_reauthorization(stage, outcomes, hooks), "the verdict")
    later = stage.start("token", {"oauth": SHORT}, user="user_0")
    outcomes.append(later.wait_for("token"))
    assert set(outcomes) == {old}
    assert hooks == ["user_0"]
    assert stage.asked().count("invalid_grant") <= 4


def ended_in_reauthorization(stage: Stage, outcomes: list[str], hooks: list[str]) -> bool:
    """Ask once more, and return whether the row says by now that its user is needed."""
    job = stage.start("token", {"oauth": SHORT}, user="user_0")
    outcomes.append(job.wait_for("token"))
    job.ended()
    hooks += job.found("hook")
    return stage.record("user_0").state == "reauthorization_required"


def test_a_refresh_is_taken_up_long_after_its_process_died(stage: Stage) -> None:
    """An intent that is hours old is taken up too: what Stripe repeats has run out by then, so it is renewed once more."""
    stage.connect("user_0")
    job = stage.start("token", {"points": {"after_answer": "kill"}, "oauth": SHORT}, user="user_0")
    assert job.ended() == -signal.SIGKILL
    stage.sandbox.clock.advance(hours=3)
    later = stage.start("token", {"oauth": SHORT, "shift": 3 * 3600.0}, user="user_0")
    assert later.wait_for("token") == stage.digest("user_0")
    stage.check_sound("user_0")
    assert later.found("hook") == []


def test_a_killed_process_whose_clock_was_ahead_blocks_nobody(stage: Stage) -> None:
    """A lease that a process with a wrong clock left behind does not keep others waiting for hours."""
    stage.connect("user_0")
    job = stage.start("token", {"points": {"after_answer": "kill"}, "oauth": SHORT, "shift": 3600.0}, user="user_0")
    assert job.ended() == -signal.SIGKILL
    later = stage.start("token", {"oauth": {**SHORT, "wait": 5.0}}, user="user_0")
    assert later.wait_for("token") == stage.digest("user_0")
    stage.check_sound("user_0")


class Killer:
    """Keeps some workers busy with refreshes, and kills one after the other at random moments."""

    def __init__(self, stage: Stage, users: list[str], *, workers: int, threads: int, seed: int) -> None:
        self._stage = stage
        self._users = users
        self._threads = threads
        self._random = random.Random(seed)
        self._started = 0
        self.kills = 0
        self.jobs: list[Job] = []
        self._running = [self._start() for _ in range(workers)]

    def _start(self) -> Job:
        self._started += 1
        # A short lease, or a killed process would keep its row for long, and this would be a test of waiting.
        oauth = {"lease": 0.6, "refresh_timeout": 0.5, "wait": 20.0}
        job = self._stage.start("soak", {"oauth": oauth}, users=self._users, threads=self._threads, seed=self._started, limit=120.0)
        self.jobs.append(job)
        return job

    def kill_one(self) -> None:
        """Let a moment pass, kill a worker, and start another in its place."""
        time.sleep(self._random.uniform(0.0, 0.16))
        number = self._random.randrange(len(self._running))
        victim = self._running[number]
        victim.send(signal.SIGKILL)
        assert victim.ended() == -signal.SIGKILL
        self.kills += 1
        self._running[number] = self._start()

    @property
    def renewed(self) -> int:
        """How many refreshes the workers reported."""
        return sum(len(job.found("renewed")) for job in self.jobs)

    def failed(self) -> list[str]:
        """What callers got instead of a token."""
        return sorted(word for job in self.jobs for word in job.found("failed"))

    def stop(self) -> None:
        """Let the workers end what they are doing."""
        for job in self._running:
            job.send(signal.SIGTERM)
        for job in self._running:
            assert job.ended() == 0


def random_kills(stage: Stage, *, kills: int, refreshes: int, connections: int, seed: int) -> None:
    """Kill at random until both numbers are reached, and check every connection."""
    users = [f"user_{number}" for number in range(connections)]
    stage.connect(*users)
    killer = Killer(stage, users, workers=4, threads=4, seed=seed)
    until = time.monotonic() + 2 * PATIENCE
    while killer.kills < kills or len(stage.asked()) < refreshes:
        assert time.monotonic() < until, (killer.kills, killer.renewed)
        if killer.kills < kills:
            killer.kill_one()
        else:
            time.sleep(0.05)
    killer.stop()
    # What the killed ones left open is ended by who asks next.
    for user in users:
        assert stage.record(user).state == "active", user
    last = stage.start("sure", users=users, rounds=1)
    assert last.wait_for("failed") == []
    # And what the store holds now works once more.
    again = stage.start("sure", users=users, rounds=1)
    assert again.wait_for("failed") == []
    stage.check_sound(*users)


def test_200_random_kills_lose_no_grant(stage: Stage) -> None:
    """After 200 processes were killed at random moments of 2,000 refreshes, every connection is active, and its refresh token works."""
    random_kills(stage, kills=200, refreshes=2000, connections=24, seed=1)
    asked = stage.asked()
    assert asked.count("done") >= 2000
    assert "invalid_grant" not in asked
    # The kills hit: some requests had to be sent again.
    assert asked.count("replayed") > 0


def test_random_kills_on_postgres_lose_no_grant(stage_at: Callable[[str], Stage], postgres_url: str) -> None:
    """The same on PostgreSQL, with 40 kills in 400 refreshes."""
    stage = stage_at(postgres_url)
    random_kills(stage, kills=40, refreshes=400, connections=12, seed=2)
    assert "invalid_grant" not in stage.asked()
