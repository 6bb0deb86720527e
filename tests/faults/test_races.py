"""Refreshes that meet slow answers, stopped processes, revocations, key rotations, signals, forks, wrong clocks and a store that is away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.errors import NotConnectedError, StoreError
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET
from tests.faults import worker
from tests.faults.conftest import PATIENCE, ROOT

if TYPE_CHECKING:
    from atom_stripe.models import Event, EventNotification
    from atom_stripe.protocols import Reference, TokenRecord
    from tests.faults.conftest import Stage

USER = "user_0"
SHORT = {"lease": 1.0, "refresh_timeout": 0.9, "wait": 20.0}


# Two holders of one row.


@pytest.mark.parametrize("point", ["before_claim", "after_claim", "after_send", "after_answer", "before_commit"])
@pytest.mark.parametrize("replays", [True, False], ids=["keys kept", "keys ignored"])
def test_a_process_that_was_stopped_for_longer_than_its_lease(stage: Stage, point: str, *, replays: bool) -> None:
    """A process that stands still beyond its lease, and goes on, does no harm to the one that took over: nobody sees invalid_grant."""
    stage.sandbox.oauth.replays_token_requests = replays
    stage.connect(USER)
    first = stage.start("token", {"points": {point: "stop"}, "oauth": SHORT}, user=USER)
    first.wait_for("at")
    second = stage.start("token", {"oauth": SHORT}, user=USER)
    if replays or point in {"before_claim", "after_claim"}:
        # The first one wakes up when all is over.
        second.wait_for("token")
    else:
        # Stripe gave the new pair to the first one alone, which wakes up while the second is told that the token is dead.
        stage.wait(lambda: "invalid_grant" in stage.asked(), "the second holder")
    first.send(signal.SIGCONT)
    outcomes = [first.wait_for("token"), second.wait_for("token")]
    assert stage.record(USER).state == "active"
    # Whose answer was too late by its own clock says so, and no caller is told that the grant is dead.
    assert set(outcomes) <= {stage.digest(USER), "RefreshFailedError"}
    assert second.found("token") == [stage.digest(USER)]
    third = stage.start("token", user=USER)
    assert third.wait_for("token") == stage.digest(USER)
    assert [job.found("hook") for job in (first, second, third)] == [[], [], []]
    stage.check_sound(USER)


def test_an_endpoint_that_hangs_longer_than_the_lease(stage: Stage) -> None:
    """While the endpoint hangs, one holder after the other uses the same key: callers get the token or a refusal to wait, never invalid_grant."""
    stage.connect(USER)
    stage.next_token(delay=2.5)
    jobs = [stage.start("token", {"oauth": SHORT}, user=USER) for _ in range(3)]
    outcomes = [job.wait_for("token") for job in jobs]
    assert set(outcomes) <= {"RefreshFailedError", stage.digest(USER)}
    stage.wait(lambda: "done" in stage.asked(), "the slow answer")
    last = stage.start("token", {"oauth": SHORT}, user=USER)
    assert last.wait_for("token") == stage.digest(USER)
    assert len(stage.intents()) == 1
    assert "invalid_grant" not in stage.asked()
    stage.check_sound(USER)


# Revocation.


def farewell(stage: Stage) -> Event | EventNotification:
    """Let the merchant uninstall the app, and return Stripe's event of it."""
    found: list[Event | EventNotification] = []
    verifier = WebhookVerifier(WEBHOOK_SECRET, tolerance=10**9)
    account = stage.record(USER).account
    assert account is not None
    stage.sandbox.webhooks.deliver_to(
        lambda body, signature: found.append(verifier.verify(body, signature)),
        WEBHOOK_SECRET,
        ("account.application.deauthorized", "apps.install.deleted"),
        connect=True,
    )
    stage.sandbox.clock.advance(minutes=1)
    stage.sandbox.oauth.deauthorize(account)
    assert found
    return found[0]


def check_revoked(stage: Stage) -> None:
    """Assert that the row is revoked, with no token in it."""
    record = stage.record(USER)
    assert record.state == "revoked"
    assert (record.access_token, record.refresh_token, record.access_token_fingerprint, record.key_id) == (None, None, None, None)
    with pytest.raises(NotConnectedError):
        stage.connecting.token(USER)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("point", ["after_claim", "after_send", "after_answer", "before_commit", "after_commit"])
def test_a_revocation_wins_over_a_refresh(stage: Stage, point: str, times: int) -> None:
    """A farewell that comes at any step of a refresh, once or twice, leaves a revoked row without tokens, and the caller hears of it."""
    stage.connect(USER)
    job = stage.start("token", {"points": {point: "stop"}}, user=USER)
    job.wait_for("at")
    event = farewell(stage)
    for _ in range(times):
        stage.connecting.handle_event(event)
    job.send(signal.SIGCONT)
    # Who had stored the new pair by then may hand it out: it was given before.
    assert point == "after_commit" or job.wait_for("token") == "NotConnectedError"
    assert job.ended() == 0
    check_revoked(stage)


def test_a_farewell_that_comes_again_after_the_user_came_back(stage: Stage) -> None:
    """The same farewell, delivered again after the user connected again, ends nothing."""
    stage.connect(USER)
    event = farewell(stage)
    stage.connecting.handle_event(event)
    check_revoked(stage)
    manager = stage.manager(clock=lambda: stage.sandbox.clock.timestamp + 5.0)
    returned = worker.httpx.URL(stage.sandbox.oauth.consent(manager.authorize_url(USER, session="b", replace=True))).params
    manager.callback(returned["code"], returned["state"], session="b")
    assert manager.handle_event(event) == []
    stage.check_sound(USER)
    manager.close()


# Keys.


def test_keys_are_rotated_while_tokens_are_renewed(stage: Stage) -> None:
    """Two processes renew all the time while a third encrypts everything anew, to and fro: no grant is lost, nothing becomes unreadable."""
    users = [f"user_{number}" for number in range(4)]
    stage.connect(*users)
    gate = stage.folder / "done"
    keys = [{"token_keys": stage.token_keys}, {"token_keys": stage.token_keys[::-1]}]
    rotators = [stage.start("rotation", settings, gate=str(gate)) for settings in keys]
    busy = [stage.start("sure", settings, users=users, rounds=12) for settings in keys]
    assert [job.wait_for("failed") for job in busy] == [[], []]
    gate.touch()
    assert [job.wait_for("unreadable") for job in rotators] == [[], []]
    assert sum(job.wait_for("rotated") for job in rotators) > 0
    stage.check_sound(*users)
    # A missing old key is named.
    missing = stage.manager(keys=[stage.token_keys[0]])
    stage.manager(keys=stage.token_keys[::-1]).rotate_keys()
    batch = missing.rotate_keys()
    assert batch.rotated == 0
    assert [name for _, name in batch.unreadable] == ["UnknownKeyError"] * len(users)
    stage.check_sound(*users)


# Ends in good order.


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "left to the interpreter"])
def test_sigterm_waits_for_a_refresh(stage: Stage, *, closes: bool) -> None:
    """A process that SIGTERM ends during a refresh ends when the new pair is stored, also if nobody closed the manager."""
    stage.connect(USER)
    stage.next_token(delay=0.8)
    order = {
        "job": 0,
        "program": "server",
        "settings": stage.settings(points={"after_send": "pass"}),
        "params": {"user": USER, "closes": closes},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.worker", "alone"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["at"] == "after_send"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        said = [json.loads(line) for line in process.stdout]
    finally:
        process.kill()
        process.communicate()
    # It was told to end while it waited, so no token was seen; and the one that was given is there.
    assert said == [{"job": 0, "terminated": True}]
    assert stage.asked() == ["done"]
    assert stage.record(USER).expires_at != 1.0
    stage.check_sound(USER)


def test_an_async_program_that_is_told_to_end_waits_for_a_refresh(stage: Stage) -> None:
    """A task that is cancelled during a refresh leaves it alone, and ``async with`` ends when the new pair is stored."""
    stage.connect(USER)
    stage.next_token(delay=0.8)
    job = stage.start("async_server", {"points": {"after_send": "pass"}}, user=USER)
    job.wait_for("at")
    job.send(signal.SIGTERM)
    assert job.ended() == 0
    assert job.found("cancelled") == [True]
    assert stage.asked() == ["done"]
    assert stage.record(USER).expires_at != 1.0
    stage.check_sound(USER)


def test_a_fork_during_a_refresh(stage: Stage) -> None:
    """A child that is forked while its parent renews a token gets the same new one, and Stripe is asked once."""
    stage.connect(USER)
    stage.next_token(delay=0.5)
    job = stage.start("forker", user=USER)
    assert (job.wait_for("parent"), job.wait_for("child")) == (stage.digest(USER), stage.digest(USER))
    assert job.wait_for("child_ended") == 0
    assert stage.asked() == ["done"]
    stage.check_sound(USER)


# Clocks.


def test_clocks_that_jump(stage: Stage) -> None:
    """Processes whose clocks jump by an hour to and fro, at every look, lose no grant and do not ask Stripe again and again."""
    stage.connect(USER, "user_1")
    users = [USER, "user_1"]
    settings = [{"swing": 3600.0, "seed": seed, "oauth": SHORT} for seed in (1, 2)]
    jobs = [stage.start("sure", one, users=users, rounds=5) for one in settings]
    failed = [word for job in jobs for word in job.wait_for("failed")]
    # A clock that is wrong may keep a caller waiting in vain; it never makes out that the grant is dead.
    assert set(failed) <= {"RefreshFailedError"}
    assert {job.ended() for job in jobs} == {0}
    assert "invalid_grant" not in stage.asked()
    # 20 looks at an expired token; each may find the new one run out too, by the next jump, and what was sent may be sent again.
    assert len(stage.asked()) <= 60
    last = stage.start("sure", users=users, rounds=1)
    assert last.wait_for("failed") == []
    stage.check_sound(*users)


# A store that is away.


class AwayStore:
    """A store that goes away when Stripe has answered, until it is called back."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.away = threading.Event()
        self.refused = 0
        self.find, self.load_authorization, self.save_authorization = (
            store.find,
            store.load_authorization,
            store.save_authorization,
        )

    def _check(self) -> None:
        if self.away.is_set():
            self.refused += 1
            msg = "the store is away"
            raise StoreError(msg)

    def load(self, reference: Reference) -> TokenRecord | None:
        """Load, unless away."""
        self._check()
        record: TokenRecord | None = self._store.load(reference)
        return record

    def save(self, record: TokenRecord) -> bool:
        """Save, unless away."""
        self._check()
        saved: bool = self._store.save(record)
        return saved


class Leaving(worker.httpx.HTTPTransport):
    """Lets the store go away when a token request was answered."""

    def __init__(self, store: AwayStore) -> None:
        super().__init__()
        self._store = store

    def handle_request(self, request: worker.httpx.Request) -> worker.httpx.Response:
        """Send, read, and let the store go."""
        response = super().handle_request(request)
        response.read()
        self._store.away.set()
        return response


def test_a_store_that_is_away_gets_the_pair_when_it_is_back(any_stage: Stage) -> None:
    """A pair that cannot be stored is kept and tried again; no caller sees it before it is stored, and who cannot wait is told."""
    any_stage.connect(USER)
    store = AwayStore(any_stage.store)
    client = worker.httpx.Client(transport=Leaving(store), trust_env=False)
    manager = any_stage.manager(store, client, wait=0.5)
    outcomes: list[str] = []

    def ask() -> None:
        outcomes.append(worker.outcome_of(lambda: manager.token(USER)))

    callers = [threading.Thread(target=ask) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE)
    # Those who asked before the store went wait in vain, those who ask later hear at once that it is away.
    assert set(outcomes) <= {"RefreshFailedError", "StoreError"}
    assert "RefreshFailedError" in outcomes
    any_stage.wait(lambda: store.refused >= 3, "attempts to store the pair")
    assert any_stage.record(USER).intent_key is not None
    store.away.clear()
    any_stage.wait(lambda: any_stage.record(USER).intent_key is None, "the pair")
    any_stage.check_sound(USER)
    assert any_stage.asked() == ["done"]
    assert worker.outcome_of(lambda: manager.token(USER)) == any_stage.digest(USER)
    manager.close()
    client.close()


def test_a_process_that_ends_while_its_store_is_away(stage: Stage) -> None:
    """A process that is closed while its store is away gives up in the end; the next one takes the refresh up with the same key."""
    stage.connect(USER)
    store = AwayStore(stage.store)
    client = worker.httpx.Client(transport=Leaving(store), trust_env=False)
    manager = stage.manager(store, client, wait=0.3, close_timeout=0.3, lease=1.0, refresh_timeout=0.9)
    assert worker.outcome_of(lambda: manager.token(USER)) == "RefreshFailedError"
    manager.close()
    client.close()
    job = stage.start("token", {"oauth": SHORT}, user=USER)
    assert job.wait_for("token") == stage.digest(USER)
    assert stage.asked() == ["done", "replayed"]
    stage.check_sound(USER)


# An endpoint that has a bad day.


def test_one_failure_of_the_endpoint_is_not_seen(stage: Stage) -> None:
    """One 500, 429, 409, broken connection or unreadable answer is followed by another request under the same key, and nobody sees it."""
    faults: dict[str, dict[str, Any]] = {
        "a 500": {"status": 500},
        "a 429": {"status": 429},
        "a lock": {"status": 429, "code": "lock_timeout"},
        "a 409": {"status": 409, "code": "idempotency_key_in_use"},
        "a broken connection": {"drop": True},
        "a lost answer": {"drop_after": True},
        "an answer that is no JSON": {"body": b"<html>", "done": True},
        "an answer without a token": {"body": b'{"livemode":false}', "done": True},
    }
    users = {name: f"user_{number}" for number, name in enumerate(faults)}
    stage.connect(*users.values())
    manager = stage.manager()
    for name, user in users.items():
        stage.sandbox._machine.applications.requests.clear()
        stage.next_token(**faults[name])
        assert worker.outcome_of(lambda user=user: manager.token(user)) == stage.digest(user), name
        assert len(stage.asked()) == 2, name
        assert len(stage.intents()) == 1, name
    stage.check_sound(*users.values())
    manager.close()


def test_a_failure_that_the_key_repeats(stage: Stage) -> None:
    """A 500 that Stripe repeats under its key is asked once more under a new one, which says what became of the token: it was spent."""
    told: list[str] = []
    stage.connect(USER)
    stage.next_token(status=500, done=True)
    manager = stage.manager(hook=lambda connection: told.append(connection.user_id))
    assert worker.outcome_of(lambda: manager.token(USER)) == "ReauthorizationRequiredError"
    assert stage.record(USER).state == "reauthorization_required"
    assert stage.record(USER).refresh_token is not None
    assert len(stage.intents()) == 2
    assert len(stage.asked()) <= 4
    assert told == [USER]
    manager.close()


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"status": 409}, {"body": b"[]"}, {"drop": True}])
def test_an_endpoint_that_fails_for_ever(stage: Stage, fault: dict[str, Any]) -> None:
    """While the endpoint fails, callers are told in bounded time and requests; the row stays active, and the grant works afterwards."""
    stage.connect(USER)
    stage.next_token(**fault, times=1000)
    manager = stage.manager(**SHORT)
    assert worker.outcome_of(lambda: manager.token(USER)) == "RefreshFailedError"
    assert 1 < len(stage.asked()) < 20
    record = stage.record(USER)
    assert (record.state, record.lease_owner) == ("active", None)
    assert len(stage.intents()) == 1
    stage.sandbox.faults.clear()
    assert worker.outcome_of(lambda: manager.token(USER)) == stage.digest(USER)
    stage.check_sound(USER)
    manager.close()


def test_an_answer_without_a_refresh_token_keeps_the_old_one(stage: Stage) -> None:
    """An answer that brings no refresh token leaves the one that was sent in the row (RFC 6749, 6)."""
    stage.connect(USER)
    _, refresh = stage.stored(USER)
    answer = {"access_token": "sk_test_oauth_without", "livemode": False, "stripe_user_id": stage.record(USER).account}
    stage.next_token(body=json.dumps(answer).encode())
    manager = stage.manager()
    assert manager.token(USER).value.get_secret_value() == "sk_test_oauth_without"
    assert stage.stored(USER) == ("sk_test_oauth_without", refresh)
    stage.expire(USER)
    assert worker.outcome_of(lambda: manager.token(USER)) == stage.digest(USER)
    stage.check_sound(USER)
    manager.close()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_of_our_own_settings_changes_no_row(stage: Stage, status: int) -> None:
    """A wrong key or client id is a mistake of ours: the caller gets Stripe's refusal, the row stays as it is, and the grant works later."""
    stage.connect(USER)
    stage.next_token(status=status)
    manager = stage.manager()
    assert worker.outcome_of(lambda: manager.token(USER)) not in {"ReauthorizationRequiredError", stage.digest(USER)}
    record = stage.record(USER)
    assert (record.state, record.lease_owner, record.intent_key) == ("active", None, None)
    assert worker.outcome_of(lambda: manager.token(USER)) == stage.digest(USER)
    stage.check_sound(USER)
    manager.close()


def test_the_programs_leave_nobody_behind(stage: Stage) -> None:
    """A worker that a test forgot is killed with its nest, so that no process outlives the run."""
    stage.connect(USER)
    job = stage.start("token", {"points": {"after_claim": "stop"}}, user=USER)
    job.wait_for("at")
    stage.workers.kill_all()
    assert job.status == -signal.SIGKILL
