"""The bucket keeps its rate, whoever comes when."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.limits import Bucket

# Room for the rounding of sums of floats.
EPSILON = 1e-6
_rates = st.sampled_from([0.1, 0.5, 1.0, 3.0, 20.0, 25.0, 100.0])
_gaps = st.lists(st.floats(0, 3) | st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0]), min_size=1, max_size=120)


def passes(bucket: Bucket, arrivals: list[float]) -> list[float]:
    """Return when each request goes that comes at *arrivals* and waits as long as it is told to."""
    times = []
    for now in arrivals:
        times.append(now + bucket.wait(now))
        bucket.take(now)
    return times


def arrivals(gaps: list[float], start: float) -> list[float]:
    """Return the moments that are *gaps* apart."""
    times = []
    for gap in gaps:
        start += gap
        times.append(start)
    return times


@given(rate=_rates, gaps=_gaps, refused=st.sets(st.integers(0, 119)), start=st.floats(0, 1000), window=st.floats(0, 5))
@settings(max_examples=200)
def test_the_rate_is_kept(rate: float, gaps: list[float], refused: set[int], start: float, window: float) -> None:
    """
    In any window no more requests pass than the rate allows, and one second's worth (or one request) that was saved up.

    This holds for every pattern of arrivals, and whenever Stripe refuses one of them.
    """
    bucket = Bucket(rate)
    times = []
    for index, now in enumerate(arrivals(gaps, start)):
        if index in refused:
            bucket.slow_down(now)
        times += passes(bucket, [now])
    times.sort()
    most = rate * window + max(rate, 1.0)
    for index, time in enumerate(times):
        inside = bisect_left(times, time + window - EPSILON) - index
        assert inside <= most + EPSILON


@given(rate=_rates, gaps=_gaps)
@settings(max_examples=200)
def test_nobody_overtakes(rate: float, gaps: list[float]) -> None:
    """Requests go in the order in which they came, and none before it came."""
    came = arrivals(gaps, 10.0)
    times = passes(Bucket(rate), came)
    assert all(went >= arrived for went, arrived in zip(times, came, strict=True))
    assert all(earlier <= later + EPSILON for earlier, later in pairwise(times))


@given(rate=_rates, gaps=_gaps)
@settings(max_examples=100)
def test_nobody_waits_longer_than_needed(rate: float, gaps: list[float]) -> None:
    """A request that waits would have broken the rate: the line before it holds more than a burst."""
    came = arrivals(gaps, 10.0)
    bucket = Bucket(rate)
    free = 10.0
    burst = max(1.0, 1.0 / rate)
    for now in came:
        free = max(free, now) + 1.0 / rate
        assert bucket.wait(now) == pytest.approx(max(0.0, free - burst - now), abs=EPSILON)
        bucket.take(now)


@pytest.mark.parametrize(("rate", "burst", "interval"), [(25.0, 25, 0.04), (100.0, 100, 0.01), (1.0, 1, 1.0), (0.5, 1, 2.0)])
def test_a_burst_and_then_in_line(rate: float, burst: int, interval: float) -> None:
    """A second's worth goes at once, never less than one request, and what comes then is spaced evenly."""
    bucket = Bucket(rate)
    times = passes(bucket, [100.0] * (burst + 3))
    assert times[:burst] == pytest.approx([100.0] * burst)
    assert times[burst:] == pytest.approx([100.0 + interval, 100.0 + 2 * interval, 100.0 + 3 * interval])


def test_to_ask_takes_nothing() -> None:
    """Asking how long to wait does not take a place."""
    bucket = Bucket(1.0)
    assert [bucket.wait(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    bucket.take(5.0)
    assert [bucket.wait(5.0) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert bucket.wait(5.25) == 0.75
    assert bucket.wait(6.0) == 0.0


def test_a_refusal_halves_the_rate() -> None:
    """After a refusal what was saved up is gone and the next requests are twice as far apart."""
    bucket = Bucket(10.0)
    bucket.slow_down(100.0)
    assert passes(bucket, [100.0] * 3) == pytest.approx([100.2, 100.4, 100.6])


def test_refusals_within_a_second_are_one() -> None:
    """The requests that were on their way when Stripe said stop slow the bucket down once."""
    bucket = Bucket(10.0)
    for now in (100.0, 100.0, 100.5, 100.999):
        bucket.slow_down(now)
    assert bucket.factor == 0.5
    assert bucket.changed_at == 100.0
    bucket.slow_down(101.0)
    assert bucket.factor == pytest.approx((0.5 + 0.05) / 2)
    assert bucket.changed_at == 101.0


def test_the_first_refusal_counts_at_any_time() -> None:
    """A bucket that was never slowed down slows down at once, also in the first second of the clock."""
    bucket = Bucket(10.0)
    bucket.slow_down(0.5)
    assert bucket.factor == 0.5


def test_the_rate_has_a_floor() -> None:
    """However often Stripe refuses, a twentieth of the rate is left."""
    bucket = Bucket(10.0)
    for second in range(100, 160):
        bucket.slow_down(float(second))
    # Each second brings a twentieth back before the next refusal halves it: two thirds of a tenth at the least.
    assert bucket.factor == pytest.approx(0.05)
    assert passes(bucket, [159.0])[0] - 159.0 <= 60
    sunk = Bucket(10.0, factor=0.06, changed_at=1000.0)
    sunk.slow_down(1001.0)
    assert sunk.factor == pytest.approx(0.055)


def test_the_rate_comes_back() -> None:
    """A twentieth of the full rate comes back every second, and never more than there was."""
    bucket = Bucket(10.0)
    bucket.slow_down(100.0)
    waits = []
    for now in (105.0, 110.0, 200.0):
        fresh = Bucket(10.0, full_at=now + 1000, factor=bucket.factor, changed_at=bucket.changed_at)
        before = fresh.full_at
        fresh.take(now)
        waits.append(fresh.full_at - before)
    assert waits == pytest.approx([1 / 7.5, 1 / 10, 1 / 10])


@given(rate=_rates, refusals=st.lists(st.floats(0, 30), max_size=20), start=st.floats(0, 1000))
@settings(max_examples=200)
def test_slow_down_and_recovery_are_monotone(rate: float, refusals: list[float], start: float) -> None:
    """A refusal never makes a bucket faster, time never makes it slower, and the rate stays between the floor and the full one."""
    bucket = Bucket(rate)
    now = start
    for gap in refusals:
        before, waited = bucket._factor(now), bucket.wait(now)
        assert bucket._factor(now + gap) >= before
        now += gap
        waited = bucket.wait(now)
        before = bucket._factor(now)
        bucket.slow_down(now)
        assert 0.05 <= bucket._factor(now) <= before <= 1.0
        assert bucket.wait(now) >= waited - EPSILON
    assert bucket._factor(now + 19.0 + EPSILON) == 1.0
    assert bucket.at_rest(max(now + 20.0, bucket.full_at))


def test_at_rest() -> None:
    """A bucket is as good as new when its line is empty and its rate is whole again."""
    bucket = Bucket(2.0)
    assert bucket.at_rest(0.0)
    bucket.take(10.0)
    assert not bucket.at_rest(10.4)
    assert bucket.at_rest(10.5)
    bucket.slow_down(20.0)
    assert not bucket.at_rest(29.9)
    assert bucket.at_rest(30.0)


@given(rate=_rates, gaps=_gaps)
@settings(max_examples=100)
def test_at_rest_means_as_good_as_new(rate: float, gaps: list[float]) -> None:
    """To a bucket at rest a new one in its place makes no difference."""
    bucket = Bucket(rate)
    came = arrivals(gaps, 10.0)
    passes(bucket, came)
    later = max(came[-1], bucket.full_at)
    assert bucket.at_rest(later)
    assert passes(bucket, [later] * 40) == pytest.approx(passes(Bucket(rate), [later] * 40))
