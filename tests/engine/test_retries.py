"""When a call is sent again, with what, and what it says when it gives up."""

from __future__ import annotations

from typing import Any

import pytest

from atom_stripe import RateLimits, RetryPolicy, errors
from atom_stripe.errors import (
    APIError,
    CardError,
    ConnectionFailedError,
    QueueFullError,
    RateLimitedError,
    ServerError,
    TimeoutExceededError,
)


def test_every_attempt_carries_the_same_key_and_body(colour: Any, world: Any, make: Any) -> None:
    """A POST that meets a 500, a broken connection and a 409 is sent three more times, unchanged to the byte."""
    world.script = [
        make.refusal(500),
        ConnectionFailedError("x", outcome_unknown=True),
        make.refusal(409, "idempotency_key_in_use"),
    ]
    stripe = colour.client(world, retry=RetryPolicy(attempts=4))
    customer = colour.call(lambda: stripe.customers.create(email="jenny@example.com"))
    assert customer.id == "cus_1"
    assert len(world.requests) == 4
    assert len(set(world.idempotency_keys())) == 1
    assert world.idempotency_keys()[0]
    assert {request.body for request in world.requests} == {b"email=jenny%40example.com"}


def test_two_calls_have_two_keys(colour: Any, world: Any) -> None:
    """A key is made for each call, so two equal payments are two payments."""
    stripe = colour.client(world)
    for _ in range(2):
        colour.call(lambda: stripe.refunds.create(payment_intent="pi_1"))
    assert len(set(world.idempotency_keys())) == 2


def test_a_key_of_the_callers_is_sent_as_it_is(colour: Any, world: Any) -> None:
    """idempotency_key goes into the header, and not into the body."""
    stripe = colour.client(world)
    colour.call(lambda: stripe.customers.create(email="a@b.c", idempotency_key="order-42"))
    assert world.idempotency_keys() == ["order-42"]
    assert b"idempotency" not in world.requests[0].body


def test_reads_carry_no_key_but_v2_deletions_do(colour: Any, world: Any) -> None:
    """GETs and v1 DELETEs are idempotent by themselves; v2 DELETEs are not."""
    stripe = colour.client(world)
    colour.call(lambda: stripe.customers.retrieve("cus_1"))
    colour.call(lambda: stripe.customers.delete("cus_1"))
    colour.call(lambda: stripe.v2.core.event_destinations.delete("ed_1"))
    assert [key is not None for key in world.idempotency_keys()] == [False, False, True]


@pytest.mark.parametrize("status", [409, 424, 429, 500, 502, 503, 504])
def test_transient_answers_are_retried(colour: Any, world: Any, make: Any, status: int) -> None:
    """409, 424, 429 and every 5xx are tried again."""
    world.script = [make.refusal(status)]
    stripe = colour.client(world)
    assert colour.call(lambda: stripe.customers.retrieve("cus_1")).id == "cus_1"
    assert len(world.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_final_answers_are_not_retried(colour: Any, world: Any, make: Any, status: int) -> None:
    """What is wrong with the request, the key or the card stays wrong: it is sent once."""
    world.script = [make.refusal(status)]
    stripe = colour.client(world)
    with pytest.raises(APIError) as caught:
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert (caught.value.status, caught.value.attempts, len(world.requests)) == (status, 1, 1)


@pytest.mark.parametrize(("status", "word", "sent"), [(500, "false", 1), (429, "false", 1), (400, "true", 2), (402, "true", 2)])
def test_stripes_own_word_on_retrying_wins(colour: Any, world: Any, make: Any, status: int, word: str, sent: int) -> None:
    """Stripe-Should-Retry overrules the status, both ways."""
    world.script = [make.refusal(status, stripe_should_retry=word)]
    stripe = colour.client(world)
    if sent == 1:
        with pytest.raises(APIError):
            colour.call(lambda: stripe.customers.retrieve("cus_1"))
    else:
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert len(world.requests) == sent


def test_giving_up_says_how_often_it_was_sent(colour: Any, world: Any, make: Any) -> None:
    """The last error comes out, with the attempts and the key under which the work can be asked for again."""
    world.script = [make.refusal(500)] * 3
    stripe = colour.client(world)
    with pytest.raises(ServerError) as caught:
        colour.call(lambda: stripe.customers.create(idempotency_key="k1"))
    assert (caught.value.attempts, caught.value.idempotency_key, caught.value.outcome_unknown) == (3, "k1", True)


def test_waits_grow_up_to_a_limit(colour: Any, world: Any, make: Any) -> None:
    """Each wait is twice the one before, and none is longer than max_delay."""
    world.script = [make.refusal(500)] * 5
    stripe = colour.client(world, retry=RetryPolicy(attempts=6, initial_delay=1, max_delay=5))
    colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert world.slept == [1, 2, 4, 5, 5]


def test_the_deadline_ends_the_trying(colour: Any, world: Any, make: Any) -> None:
    """A wait that would pass the deadline is not begun."""
    world.script = [make.refusal(500)] * 9
    stripe = colour.client(world, retry=RetryPolicy(attempts=10, initial_delay=4, max_delay=4, deadline=10))
    with pytest.raises(ServerError):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert sum(world.slept) < 10
    assert len(world.requests) == 3


def test_the_deadline_shortens_the_last_timeout(colour: Any, world: Any, make: Any) -> None:
    """No attempt may take longer than what is left of the deadline."""
    world.script = [make.refusal(500)]
    world.takes = 6.0
    stripe = colour.client(world, timeout=8, retry=RetryPolicy(attempts=2, initial_delay=1, deadline=10))
    colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert world.timeouts == [8, 3]


def test_max_retries_zero_sends_once(colour: Any, world: Any, make: Any) -> None:
    """max_retries of a call overrules the client's policy."""
    world.script = [make.refusal(500)]
    stripe = colour.client(world)
    with pytest.raises(ServerError):
        colour.call(lambda: stripe.customers.retrieve("cus_1", max_retries=0))
    assert len(world.requests) == 1


def test_a_lost_write_is_of_unknown_outcome_and_a_lost_read_is_not(colour: Any, world: Any) -> None:
    """Only a request that could have changed something can have changed it."""
    stripe = colour.client(world, retry=RetryPolicy.NONE)
    for make_call, unknown in ((lambda: stripe.customers.create(), True), (lambda: stripe.customers.retrieve("cus_1"), False)):
        world.script = [TimeoutExceededError("x", outcome_unknown=True)]
        with pytest.raises(TimeoutExceededError) as caught:
            colour.call(make_call)
        assert caught.value.outcome_unknown is unknown


def test_an_unknown_outcome_stays_unknown(colour: Any, world: Any) -> None:
    """A write that may have arrived stays so when the second attempt cannot even connect."""
    world.script = [ConnectionFailedError("lost", outcome_unknown=True), ConnectionFailedError("refused")]
    stripe = colour.client(world, retry=RetryPolicy(attempts=2))
    with pytest.raises(ConnectionFailedError) as caught:
        colour.call(lambda: stripe.customers.create())
    assert caught.value.outcome_unknown


def test_an_answer_under_the_same_key_settles_the_outcome(colour: Any, world: Any, make: Any) -> None:
    """After a lost answer a decline under the same key is Stripe's last word: nothing is unknown any more."""
    world.script = [ConnectionFailedError("lost", outcome_unknown=True), make.refusal(402, "card_declined", "card_error")]
    stripe = colour.client(world)
    with pytest.raises(CardError) as caught:
        colour.call(lambda: stripe.payment_intents.create(amount=2000, currency="usd"))
    assert not caught.value.outcome_unknown


def test_a_full_line_does_not_hide_that_something_was_sent(colour: Any, world: Any, make: Any) -> None:
    """When the rate limit keeps a retry back, the error is that of the attempt before, not 'nothing was sent'."""
    limits = RateLimits(endpoint=1, max_wait=0.1)
    world.script = [make.refusal(500)]
    stripe = colour.client(world, rate_limits=limits, retry=RetryPolicy(initial_delay=0))
    with pytest.raises(ServerError) as caught:
        colour.call(lambda: stripe.customers.create())
    assert caught.value.outcome_unknown


def test_what_is_no_failure_of_stripes_is_not_retried(colour: Any, world: Any) -> None:
    """An error in our own program ends the call at once, whatever the policy."""
    world.script = [ZeroDivisionError("a bug")]
    stripe = colour.client(world)
    with pytest.raises(ZeroDivisionError):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert len(world.requests) == 1


def test_a_certificate_that_is_refused_is_not_retried(colour: Any, world: Any) -> None:
    """Trying again does not change a certificate."""
    world.script = [ConnectionFailedError("certificate", retryable=False)]
    stripe = colour.client(world)
    with pytest.raises(ConnectionFailedError):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert len(world.requests) == 1


def test_a_limit_of_stripes_slows_its_own_line_down(colour: Any, world: Any, make: Any) -> None:
    """After a 429 with a reason the next calls of that endpoint are spaced, and those of others are not."""
    stripe = colour.client(world, rate_limits=RateLimits(account=1000, endpoint=10), retry=RetryPolicy.NONE)
    world.script = [make.refusal(429, stripe_rate_limited_reason="endpoint-rate")]
    with pytest.raises(RateLimitedError) as caught:
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert caught.value.reason == "endpoint-rate"
    colour.call(lambda: stripe.charges.retrieve("ch_1"))
    assert world.slept == []
    colour.call(lambda: stripe.customers.retrieve("cus_2"))
    assert world.slept == [pytest.approx(0.2, rel=0.2)]


def test_a_locked_object_slows_nothing_down(colour: Any, world: Any, make: Any) -> None:
    """A 429 of lock_timeout is about one object; the line goes on as before."""
    stripe = colour.client(world, rate_limits=RateLimits(endpoint=10), retry=RetryPolicy.NONE)
    world.script = [make.refusal(429, "lock_timeout")]
    with pytest.raises(RateLimitedError):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert world.slept == []


def test_calls_keep_the_rate(colour: Any, world: Any) -> None:
    """A hundred calls at ten a second take nine seconds: one second's worth goes at once."""
    stripe = colour.client(world, rate_limits=RateLimits(endpoint=10, account=1000))
    for _ in range(100):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert world.now - 1000 == pytest.approx(9, abs=0.2)


def test_the_line_is_bounded(colour: Any, world: Any) -> None:
    """A call that would wait longer than max_wait fails at once, and nothing was sent."""
    stripe = colour.client(world, rate_limits=RateLimits(endpoint=2, max_wait=0.2))
    for _ in range(2):
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    with pytest.raises(QueueFullError) as caught:
        colour.call(lambda: stripe.customers.retrieve("cus_1"))
    assert caught.value.wait > 0.2
    assert len(world.requests) == 2


def test_sandbox_and_live_keys_have_their_own_rates(colour: Any) -> None:
    """25 requests a second with a test key, 100 with a live one: Stripe's own numbers."""
    for key, expected in (("sk_test_" + "a" * 24, 25), ("sk_live_" + "a" * 24, 100)):
        world = colour.world()
        stripe = colour.client(world, api_key=key, rate_limits=RateLimits(endpoint=10_000))
        sent = 0
        while not world.slept:
            colour.call(lambda stripe=stripe: stripe.customers.retrieve("cus_1"))
            sent += 1
        assert sent == expected + 1


def test_accounts_wait_in_lines_of_their_own(colour: Any, world: Any) -> None:
    """Stripe counts per account, so a busy merchant does not hold up the others."""
    stripe = colour.client(world, rate_limits=RateLimits(account=1, endpoint=1000))
    for account in ("acct_1", "acct_2", "acct_3"):
        colour.call(lambda account=account: stripe.customers.retrieve("cus_1", stripe_account=account))
    assert world.slept == []


def test_errors_hold_no_key(colour: Any, world: Any, make: Any) -> None:
    """Neither the text nor the attributes of an error hold the API key."""
    world.script = [make.refusal(500)] * 3
    stripe = colour.client(world)
    with pytest.raises(errors.AtomStripeError) as caught:
        colour.call(lambda: stripe.customers.create())
    secret = stripe.config.api_key.get_secret_value()
    assert secret not in f"{caught.value!s}{caught.value!r}{vars(caught.value)}"
