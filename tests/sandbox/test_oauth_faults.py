"""Bad days of the sandbox's token endpoints, with idempotency keys that are kept and that are ignored."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
import trio

from atom_stripe._wire.messages import Request
from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._state.faults import LostAnswerError
from tests.canary import API_KEY
from tests.sandbox.connecting import APP, CONNECT, World, eventually, used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atom_stripe._wire.messages import Reply

LOOPS = pytest.mark.parametrize("run", [asyncio.run, trio.run])


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.sandbox:
        yield world


def test_a_lost_answer_with_replays(world: World) -> None:
    """Where keys are kept, a lost answer comes back whole under its key, and the refresh token was used once."""
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(drop_after=True, operation="POST /v1/oauth/token")
    with pytest.raises(LostAnswerError):
        world.send(APP, idempotency_key="key-1", **form)
    reply = world.send(APP, idempotency_key="key-1", **form)
    assert (reply.status, reply.headers["idempotent-replayed"]) == (200, "true")
    assert world.send(APP, idempotency_key="key-2", **form).status == 400
    reused = world.send(APP, idempotency_key="key-1", grant_type="refresh_token", refresh_token="rt_other")
    assert json.loads(reused.body)["error"]["type"] == "idempotency_error"
    assert [entry.outcome for entry in world.oauth.token_requests] == [
        "done",
        "lost",
        "replayed",
        "invalid_grant",
        "idempotency_error",
    ]


def test_a_lost_answer_without_replays(world: World) -> None:
    """Where keys are ignored, a lost answer is lost: the refresh token is used up, and a code ends the connection."""
    world.oauth.replays_token_requests = False
    assert world.oauth.replays_token_requests is False
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(drop_after=True, times=2, operation="POST /")
    with pytest.raises(LostAnswerError):
        world.send(APP, idempotency_key="key-1", **form)
    code = {"grant_type": "authorization_code", "code": world.code()}
    with pytest.raises(LostAnswerError):
        world.send(CONNECT, idempotency_key="key-2", **code)
    for path, key, again in ((APP, "key-1", form), (CONNECT, "key-2", code)):
        reply = world.send(path, idempotency_key=key, **again)
        assert (reply.status, json.loads(reply.body)["error"], "idempotent-replayed" in reply.headers) == (
            400,
            "invalid_grant",
            False,
        )
    assert world.types[-1] == "account.application.deauthorized"


@pytest.mark.parametrize("replays", [True, False])
def test_a_failure_after_the_work(world: World, replays: bool) -> None:
    """A 500 after the work comes back under its key for good where keys are kept; elsewhere the token is found to be used."""
    world.oauth.replays_token_requests = replays
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(status=500, done=True, operation="POST /v1/oauth/token")
    assert [world.send(APP, idempotency_key="key-1", **form).status for _ in range(3)] == (
        [500] * 3 if replays else [500, 400, 400]
    )


@pytest.mark.parametrize("replays", [True, False])
def test_a_failure_in_place_of_the_work(world: World, replays: bool) -> None:
    """A 500 that came before the work and is kept comes back under its key for good, and the token is as good as before."""
    world.oauth.replays_token_requests = replays
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(status=500, kept=True, operation="POST /v1/oauth/token")
    statuses = [world.send(APP, idempotency_key=key, **form).status for key in ("key-1", "key-1", "key-2")]
    assert statuses == ([500, 500, 200] if replays else [500, 200, 400])


def test_a_page_that_fails_in_place_of_its_work(world: World) -> None:
    """A page has no key to keep a failure under, and does nothing when it fails."""
    world.sandbox.faults.next(status=500, kept=True, operation="POST /oauth/authorize")
    request = Request("POST", world.url(), {}, b"decision=allow")
    assert [world.sandbox.handle(request).status for _ in range(2)] == [500, 302]
    assert len(world.sandbox._machine.accounts) == 2


def test_a_failure_before_the_work(world: World) -> None:
    """An outage leaves code and key as they were."""
    code = {"grant_type": "authorization_code", "code": world.code()}
    world.sandbox.faults.next(status=503, operation="POST /oauth/token")
    assert [world.send(CONNECT, idempotency_key="key-1", **code).status for _ in range(2)] == [503, 200]
    assert [entry.outcome for entry in world.oauth.token_requests] == ["api_error", "done"]


@pytest.mark.parametrize("done", [True, False])
def test_an_answer_that_cannot_be_read(world: World, done: bool) -> None:
    """A broken body is answered with 200; whether the work was done is another question, and under the key the whole answer follows."""
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(body=b'{"access_token": "sk_', done=done, operation="POST /v1/oauth/token")
    broken = world.send(APP, idempotency_key="key-1", **form)
    assert (broken.status, broken.body) == (200, b'{"access_token": "sk_')
    whole = world.send(APP, idempotency_key="key-1", **form)
    assert (whole.status, "idempotent-replayed" in whole.headers) == (200, done)


def test_a_slow_answer_keeps_its_key(world: World) -> None:
    """While an answer is on its way, with the work done, a second request under the same key is told so."""
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(delay=60, operation="POST /v1/oauth/token")
    replies: list[Reply] = []
    first = threading.Thread(target=lambda: replies.append(world.send(APP, idempotency_key="key-1", **form)))
    first.start()
    records = world.sandbox._machine.account.keys._records
    eventually(lambda: "key-1" in records)
    conflict = world.send(APP, idempotency_key="key-1", **form)
    assert (conflict.status, json.loads(conflict.body)["error"]["code"]) == (409, "idempotency_key_in_use")
    eventually(lambda: used(world, token))
    assert world.send(APP, idempotency_key="key-1", **form).status == 409
    world.sandbox.close()
    first.join()
    assert replies[0].status == 200


def test_a_slow_answer_over_http(world: World) -> None:
    """Over HTTP a caller that gives up on a slow answer finds the work done, and the server does not wait for it to close."""
    token = world.exchanged(app=True)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    world.sandbox.faults.next(delay=30, operation="POST /v1/oauth/token")
    with world.sandbox.serve() as server, httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {API_KEY}"}) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{server.url}/v1/oauth/token", data=form, timeout=httpx.Timeout(5.0, read=0.2))
        eventually(lambda: used(world, token))
        answered = client.post(f"{server.url}/v1/oauth/token", data=form)
        assert (answered.status_code, answered.json()["error"]) == (400, "invalid_grant")


@LOOPS
def test_a_slow_answer_does_not_stop_the_loop(world: World, run: Callable[..., Any]) -> None:
    """Other tasks go on while an answer is slow."""
    code = {"grant_type": "authorization_code", "code": world.code()}
    world.sandbox.faults.next(delay=60, operation="POST /oauth/token")
    headers = {"Authorization": f"Bearer {API_KEY}"}
    order: list[str] = []

    async def slow() -> None:
        request = Request("POST", "https://connect.stripe.com/oauth/token", headers, urlencode(code).encode())
        order.append(str((await world.sandbox.handle_async(request)).status))

    async def other() -> None:
        import anyio

        while len(world.sandbox.faults):  # noqa: ASYNC110 - there is nothing to wait for but the fault being taken
            await anyio.sleep(0.001)
        await world.sandbox.handle_async(Request("GET", "https://api.stripe.com/v1/customers", headers))
        order.append("other")
        world.sandbox.close()

    async def main() -> None:
        import anyio

        async with anyio.create_task_group() as group:
            group.start_soon(slow)
            group.start_soon(other)

    run(main) if run is trio.run else run(main())
    assert order == ["other", "200"]


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"delay": -1},
        {"delay": 61},
        {"delay": 1, "body": b""},
        {"body": b"", "status": 500},
        {"drop": True, "delay": 0},
        {"status": 200},
        {"status": 500, "reason": "global-rate"},
    ],
)
def test_faults_that_make_no_sense(world: World, fault: dict[str, Any]) -> None:
    """A fault is one thing at a time, and waits for a minute at most."""
    with pytest.raises(ConfigurationError):
        world.sandbox.faults.next(**fault)


@pytest.mark.parametrize("replays", [True, False])
def test_a_held_token_request(world: World, replays: bool) -> None:
    """A request for a token can be held like any other, also where its key is not kept."""
    world.oauth.replays_token_requests = replays
    code = {"grant_type": "authorization_code", "code": world.code()}
    statuses: list[int] = []
    first = threading.Thread(target=lambda: statuses.append(world.send(CONNECT, idempotency_key="key-1", **code).status))
    with world.sandbox.hold("key-1") as held:
        first.start()
        held.wait()
        assert world.types == []
    first.join()
    assert (statuses, world.types) == ([200], ["account.application.authorized"])
