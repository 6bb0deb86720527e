"""
One contender of the calls benchmark, in a process of its own: ``caller.py {async,sync} {official,httpx,fast} URL``.

Each line on standard input is a number of calls to make. The answer is a line of JSON: the seconds that passed, and the
seconds of CPU that this process used with all its threads.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import payloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

KEY = "sk_test_00000000000000000000000000"
AT_ONCE = 32
PARAMS: dict[str, Any] = {
    "amount": 2000,
    "currency": "usd",
    "customer": "cus_00000000000000",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "metadata": {"order": "4200", "tenant": "northwind"},
}


def orders() -> Iterator[int]:
    """Return the numbers of calls to make, as they are asked for. Waiting for the next costs nothing."""
    return (int(line) for line in sys.stdin)


def check(identity: object) -> None:
    """Raise an error if a call did not bring the payment."""
    if identity != json.loads(payloads.payment_intent())["id"]:
        raise RuntimeError(f"the answer was read as {identity!r}")


class Stopwatch:
    """Times a block and prints what it took."""

    def __enter__(self) -> None:
        gc.collect()
        self._cpu, self._start = process_time(), perf_counter()

    def __exit__(self, *_error: object) -> None:
        print(json.dumps({"seconds": perf_counter() - self._start, "cpu": process_time() - self._cpu}), flush=True)


def config(transport: Any, url: str) -> Any:
    """Return our settings. The rate limiter is off: this server is not Stripe."""
    from atom_stripe.config import RateLimits, StripeConfig, secret

    return StripeConfig(api_key=secret(KEY), api_base=url, transport=transport, rate_limits=RateLimits.NONE)


def call_sync(contender: str, url: str) -> None:
    """Make calls one after the other."""
    call: Callable[[], Any]
    if contender == "official":
        import stripe

        official = stripe.StripeClient(KEY, base_addresses={"api": url})

        def call() -> object:
            return official.v1.payment_intents.create(PARAMS).id  # type: ignore[arg-type]
    else:
        from atom_stripe import StripeClient

        ours = StripeClient(config=config(contender, url))

        def call() -> object:
            return ours.payment_intents.create(**PARAMS).id

    check(call())
    for count in orders():
        with Stopwatch():
            for _ in range(count):
                call()


async def call_async(contender: str, url: str) -> None:
    """Make calls, so many at once."""
    call: Callable[[], Awaitable[object]]
    if contender == "official":
        import stripe

        official = stripe.StripeClient(KEY, base_addresses={"api": url}, http_client=stripe.HTTPXClient())

        async def call() -> object:
            return (await official.v1.payment_intents.create_async(PARAMS)).id  # type: ignore[arg-type]
    else:
        from atom_stripe import AsyncStripeClient

        ours = AsyncStripeClient(config=config(contender, url))

        async def call() -> object:
            return (await ours.payment_intents.create(**PARAMS)).id

    async def work(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await call()

    # All at once, so that the pools begin with as many connections as there are calls under way. Against Stripe, where every call
    # takes its time, they have them soon; here, where answers come at once, a pool that began with one would get by with a dozen.
    for identity in await asyncio.gather(*(call() for _ in range(AT_ONCE))):
        check(identity)
    for count in orders():
        with Stopwatch():
            numbers = iter(range(count))
            await asyncio.gather(*(work(numbers) for _ in range(AT_ONCE)))


if __name__ == "__main__":
    _, colour, name, address = sys.argv
    if colour == "async":
        asyncio.run(call_async(name, address))
    else:
        call_sync(name, address)
