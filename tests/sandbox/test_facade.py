"""The sandbox as a test holds it: clients of both colours, faults, held requests, the clock, and its end."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from atom_stripe import StripeClient, StripeConfig
from atom_stripe._wire.messages import Request
from atom_stripe.config import RetryPolicy
from atom_stripe.errors import (
    APIError,
    CardError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    TimeoutExceededError,
)
from atom_stripe.testing import _HOMES as HOMES
from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY, LIVE_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CARD = {"enabled": True, "allow_redirects": "never"}
LOOPS = pytest.mark.parametrize("run", [asyncio.run, trio.run])


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def pay(stripe: Any, card: str = "pm_card_visa") -> Any:
    return stripe.payment_intents.create(
        amount=2000, currency="usd", payment_method=card, confirm=True, automatic_payment_methods=CARD
    )


def test_a_payment(sandbox: StripeSandbox) -> None:
    """A client in the same process takes a payment, and another client of the same sandbox finds it."""
    payment = pay(sandbox.client())
    assert (payment.status, payment.amount_received) == ("succeeded", 2000)
    assert [found.id for found in sandbox.client().payment_intents.list()] == [payment.id]


def test_a_decline(sandbox: StripeSandbox) -> None:
    """A declined card is a CardError with the issuer's reason, and the attempt stays."""
    with pytest.raises(CardError) as declined:
        pay(sandbox.client(), "pm_card_visa_chargeDeclinedInsufficientFunds")
    assert declined.value.decline_code == "insufficient_funds"
    assert [payment.status for payment in sandbox.client().payment_intents.list()] == ["requires_payment_method"]


@LOOPS
def test_async(sandbox: StripeSandbox, run: Callable[..., Any]) -> None:
    """The async client sees the same state, on asyncio and on trio."""
    made = sandbox.client().customers.create(email="jenny@example.com")

    async def main() -> list[str]:
        async with sandbox.async_client() as stripe:
            await stripe.customers.create(email="tom@example.com")
            return [customer.id async for customer in stripe.customers.list(limit=1)]

    assert len(run(main)) == 2 if run is trio.run else len(run(main())) == 2
    assert sandbox.client().customers.retrieve(made.id).email == "jenny@example.com"


def test_live_keys_are_refused(sandbox: StripeSandbox) -> None:
    """No client of a sandbox holds a live key, and the refusal does not show it."""
    with sandbox.serve() as server:
        for make in (sandbox.client, sandbox.async_client, server.config):
            with pytest.raises(ConfigurationError) as refused:
                make(api_key=LIVE_KEY)
            assert LIVE_KEY not in str(refused.value)


def test_settings_of_a_client(sandbox: StripeSandbox) -> None:
    """A client of a sandbox takes the settings of StripeConfig."""
    account = sandbox.connect()
    stripe = sandbox.client(api_key=API_KEY, stripe_account=account.id, webhook_secrets=(WEBHOOK_SECRET,))
    stripe.customers.create()
    assert isinstance(stripe.config, StripeConfig)
    assert (len(list(stripe.customers.list())), list(sandbox.client().customers.list())) == (1, [])
    with pytest.raises(PermissionDeniedError):
        sandbox.client(stripe_account="acct_stranger").customers.list()


def test_no_secret_in_a_repr(sandbox: StripeSandbox) -> None:
    """Reprs of a sandbox and of what it gives out show no key and no signing secret."""
    endpoint = sandbox.webhooks.deliver_to(print, secret=WEBHOOK_SECRET)
    with sandbox.serve() as server:
        shown = repr([sandbox, sandbox.webhooks, endpoint, server, server.config(api_key=API_KEY), sandbox.client(api_key=API_KEY)])
    assert API_KEY not in shown
    assert WEBHOOK_SECRET not in shown


def test_a_lost_answer(sandbox: StripeSandbox) -> None:
    """When the connection breaks after the work, the retry under the same key brings what was made."""
    sandbox.faults.next(drop_after=True)
    customer = sandbox.client().customers.create()
    assert customer.idempotent_replayed
    assert [found.id for found in sandbox.client().customers.list()] == [customer.id]


@LOOPS
def test_a_lost_answer_async(sandbox: StripeSandbox, run: Callable[..., Any]) -> None:
    """The async transport breaks in the same way."""
    sandbox.faults.next(drop_after=True)

    async def main() -> bool:
        async with sandbox.async_client() as stripe:
            return (await stripe.customers.create()).idempotent_replayed

    assert run(main) if run is trio.run else run(main())


def test_kinds_of_silence(sandbox: StripeSandbox) -> None:
    """A fault that times out is a timeout to the client, at once; one that drops is a broken connection."""
    stripe = sandbox.client(retry=RetryPolicy.NONE)
    sandbox.faults.next(timeout=True)
    with pytest.raises(TimeoutExceededError):
        stripe.customers.create()
    sandbox.faults.next(drop=True)
    with pytest.raises(ConnectionFailedError):
        stripe.customers.create()
    assert list(stripe.customers.list()) == []


def test_limits_and_outages(sandbox: StripeSandbox) -> None:
    """A 429 carries its reason, and an outage is over after as many requests as were asked for."""
    stripe = sandbox.client(retry=RetryPolicy.NONE)
    sandbox.faults.next(status=429, reason="endpoint-rate")
    with pytest.raises(RateLimitedError) as limited:
        stripe.customers.create()
    assert limited.value.reason == "endpoint-rate"
    sandbox.faults.next(status=503, times=2)
    for _ in range(2):
        with pytest.raises(ServerError):
            stripe.customers.create()
    assert stripe.customers.create().id


def test_what_is_not_here_is_refused_by_name(sandbox: StripeSandbox) -> None:
    """An operation that the sandbox lacks is sandbox_unsupported, and is not tried again."""
    with pytest.raises(APIError) as refused:
        sandbox.client().terminal.readers.list()
    assert (refused.value.code, refused.value.attempts) == ("sandbox_unsupported", 1)
    assert "/v1/terminal/readers" in refused.value.message


def test_hold(sandbox: StripeSandbox) -> None:
    """While a request is in flight, another one under its key is a conflict; then both have the same answer."""
    stripe = sandbox.client(retry=RetryPolicy.NONE)
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(stripe.customers.create(idempotency_key="order-42")))
    with sandbox.hold("order-42") as held:
        first.start()
        held.wait()
        with pytest.raises(ConflictError):
            stripe.customers.create(idempotency_key="order-42")
        held.release()
        first.join()
    assert stripe.customers.create(idempotency_key="order-42").id == answers[0].id


def test_hold_async(sandbox: StripeSandbox) -> None:
    """A held request does not hold up the event loop."""

    async def main() -> str:
        async with sandbox.async_client(retry=RetryPolicy.NONE) as stripe:
            with sandbox.hold("order-42") as held:
                first = asyncio.create_task(stripe.customers.create(idempotency_key="order-42"))
                await asyncio.to_thread(held.wait)
                try:
                    await stripe.customers.create(idempotency_key="other")
                    with pytest.raises(ConflictError):
                        await asyncio.to_thread(sandbox.client(retry=RetryPolicy.NONE).customers.create, idempotency_key="order-42")
                finally:
                    held.release()
                return (await first).id

    assert asyncio.run(main()).startswith("cus_")


@pytest.mark.parametrize(("outcome", "status"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")])
def test_the_bank_asks(sandbox: StripeSandbox, outcome: Any, status: str) -> None:
    """A payment that waits for 3-D Secure goes on as its customer decides."""
    stripe = sandbox.client()
    payment = pay(stripe, "pm_card_threeDSecure2Required")
    assert payment.status == "requires_action"
    sandbox.complete_action(payment.id, outcome=outcome)
    assert stripe.payment_intents.retrieve(payment.id).status == status


def test_no_bank_asks(sandbox: StripeSandbox) -> None:
    """What waits for no customer cannot be completed by one."""
    with pytest.raises(ConfigurationError):
        sandbox.complete_action("pi_nobody")
    with pytest.raises(ConfigurationError):
        sandbox.complete_action(pay(sandbox.client()).id)


def test_the_clock() -> None:
    """Time stands still, moves when told, and dates what is made."""
    start = datetime(2027, 1, 1, tzinfo=UTC)
    with StripeSandbox(start=start) as sandbox:
        first = sandbox.client().customers.create()
        assert sandbox.clock.advance(days=32) == datetime(2027, 2, 2, tzinfo=UTC)
        second = sandbox.client().customers.create()
    assert second.created - first.created == 32 * 24 * 60 * 60
    assert first.created == start.timestamp()


def test_it_ends(sandbox: StripeSandbox) -> None:
    """A closed sandbox leaves no thread and no open port, and closing it twice is fine."""
    before = set(threading.enumerate())
    server = sandbox.serve()
    sandbox.webhooks.deliver_to(f"{server.url}/webhooks")
    with StripeClient(config=server.config()) as stripe:
        stripe.customers.create()
    sandbox.close()
    sandbox.close()
    assert set(threading.enumerate()) <= before
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(server.url)


def test_asgi(sandbox: StripeSandbox) -> None:
    """As an ASGI application it has the same state, and refuses a body that is too long."""

    async def ask(path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=sandbox.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://stripe") as client:
            return await client.post(path, headers={"Authorization": f"Bearer {API_KEY}"}, **request)

    answer = asyncio.run(ask("/v1/customers", data={"email": "jörg@example.com"}))
    assert (answer.status_code, answer.json()["email"]) == (200, "jörg@example.com")
    assert [customer.id for customer in sandbox.client().customers.list()] == [answer.json()["id"]]
    assert asyncio.run(ask("/v1/nothing")).status_code == 404
    assert asyncio.run(ask("/v1/customers", content=b"a" * 2_000_000)).status_code == 413


def test_asgi_lifespan(sandbox: StripeSandbox) -> None:
    """A server's start and end are acknowledged."""
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(sandbox.app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_handle(sandbox: StripeSandbox) -> None:
    """The plain function takes a request and gives an answer, here about a key that is missing."""
    reply = sandbox.handle(Request("GET", "https://api.stripe.com/v1/customers", {}))
    assert (reply.status, reply.headers["content-type"]) == (401, "application/json")


def test_public_names() -> None:
    """Every public name of the package is there, and others are not."""
    import atom_stripe.testing as package

    assert set(HOMES) == set(package.__all__) <= set(dir(package))
    for name in HOMES:
        assert getattr(getattr(package, name), "__name__", name) == name
    with pytest.raises(AttributeError):
        _ = package.StripeSandBox  # type: ignore[attr-defined]


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    """The fixtures of the plugin give a client of a sandbox that is the test's own."""
    pytester.makeconftest('pytest_plugins = ["atom_stripe.testing.plugin"]')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("_", [1, 2])
        def test(stripe_sandbox, stripe_client, _):
            assert list(stripe_client.customers.list()) == []
            made = stripe_client.customers.create()
            assert stripe_sandbox.client().customers.retrieve(made.id).id == made.id
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=2)
