"""
Periods of billing: whole days and weeks, months of the calendar, years.

Source: https://docs.stripe.com/billing/subscriptions/billing-cycle
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

_SECONDS = {"day": 24 * 60 * 60, "week": 7 * 24 * 60 * 60}
_MONTHS = {"month": 1, "year": 12}


def boundary(anchor: int, interval: str, count: int) -> int:
    """
    Return the moment *count* intervals after *anchor*.

    It is counted from the anchor, so that a month that is too short changes nothing for the next: 31 January, 28 February, 31 March.
    """
    if interval in _SECONDS:
        return anchor + count * _SECONDS[interval]
    moment = datetime.fromtimestamp(anchor, UTC)
    year, month = divmod(12 * moment.year + moment.month - 1 + count * _MONTHS[interval], 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())
