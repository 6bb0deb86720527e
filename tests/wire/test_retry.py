"""When a request may be sent again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.messages import Reply
from atom_stripe._wire.retry import delay, retryable

TRANSIENT = {409, 424, 429}


def test_the_status_decides() -> None:
    """Without a word of Stripe's, conflicts, limits and failures of the server are tried again, and nothing else."""
    assert {status for status in range(100, 1000) if retryable(Reply(status, {}))} == TRANSIENT | set(range(500, 1000))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 402, 404, 409, 424, 429, 500, 503])
def test_the_word_of_stripe_comes_first(status: int) -> None:
    """Stripe-Should-Retry overrules the status in both directions."""
    assert retryable(Reply(status, {"stripe-should-retry": "true"})) is True
    assert retryable(Reply(status, {"stripe-should-retry": "false"})) is False


@pytest.mark.parametrize("word", ["", "True", "FALSE", "yes", "1", "true, false", " true"])
@pytest.mark.parametrize("status", [400, 500])
def test_other_words_say_nothing(word: str, status: int) -> None:
    """Any other value of the header is as good as none."""
    assert retryable(Reply(status, {"stripe-should-retry": word})) is (status == 500)


@pytest.mark.parametrize(("attempt", "longest_wait"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (1000, 8.0)])
def test_waits_double(attempt: int, longest_wait: float) -> None:
    """The wait doubles with every attempt up to the longest one; half of it is left to chance."""
    assert delay(attempt, initial=0.5, longest=8.0, jitter=1.0) == longest_wait
    assert delay(attempt, initial=0.5, longest=8.0, jitter=0.5) == longest_wait * 0.75
    assert delay(attempt, initial=0.5, longest=8.0, jitter=0.0) == longest_wait / 2


def test_the_exponent_is_bounded() -> None:
    """A tiny first wait never grows past 2 to the 32nd of it, and no number of attempts overflows."""
    assert delay(33, initial=1.0, longest=1e300, jitter=1.0) == delay(10**9, initial=1.0, longest=1e300, jitter=1.0) == 2.0**32
    assert delay(32, initial=1.0, longest=1e300, jitter=1.0) == 2.0**31


@given(
    attempt=st.integers(1, 10**6),
    initial=st.floats(0, 100),
    longest=st.floats(0, 1000),
    jitter=st.floats(0, 1),
)
@settings(max_examples=300)
def test_waits_are_bounded(attempt: int, initial: float, longest: float, jitter: float) -> None:
    """No wait is negative or above the longest one, and none gets shorter with the next attempt or more jitter."""
    wait = delay(attempt, initial=initial, longest=longest, jitter=jitter)
    assert 0 <= wait <= longest
    assert wait <= delay(attempt + 1, initial=initial, longest=longest, jitter=jitter)
    assert (
        delay(attempt, initial=initial, longest=longest, jitter=0)
        <= wait
        <= delay(attempt, initial=initial, longest=longest, jitter=1)
    )
