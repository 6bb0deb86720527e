"""How webhooks are signed, posted and tried again: what a test may set, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._delivery.timetable import SCHEDULES
from atom_stripe.testing.courier import MOST_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.testing._delivery.dispatch import Dispatch
    from atom_stripe.testing._delivery.timetable import Schedule


class DeliverySettings:
    """The settings of a sandbox's webhooks."""

    _dispatch: Dispatch

    @property
    def signing_clock(self) -> Callable[[], float]:
        """The time that signatures carry: the real one, because receivers compare it with theirs. Replace it to sign in another time."""
        return self._dispatch.signing_clock

    @signing_clock.setter
    def signing_clock(self, clock: Callable[[], float]) -> None:
        self._dispatch.signing_clock = clock

    @property
    def decoys(self) -> bool:
        """Whether signatures also carry a ``v0`` that no secret made, as Stripe sends it with test events. Receivers ignore it. Default: no."""
        return self._dispatch.decoys

    @decoys.setter
    def decoys(self, sent: bool) -> None:
        self._dispatch.decoys = sent

    @property
    def retries(self) -> Schedule:
        """When what failed is tried again: ``live``, for three days; ``test``, after 30, 60 and 120 minutes; or ``off``. Default: ``live``."""
        return self._dispatch.schedule

    @retries.setter
    def retries(self, schedule: Schedule) -> None:
        if schedule not in SCHEDULES:
            msg = f"the retries of webhooks are one of {', '.join(SCHEDULES)}"
            raise ConfigurationError(msg)
        self._dispatch.schedule = schedule

    @property
    def timeout(self) -> float:
        """The real seconds for which a URL may be silent, 10 at first: Stripe does not publish its own patience."""
        return self._dispatch.courier.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        if not 0 < seconds <= 600:
            msg = "a webhook's timeout is more than 0 and up to 600 seconds"
            raise ConfigurationError(msg)
        self._dispatch.courier.timeout = float(seconds)

    @property
    def concurrency(self) -> int:
        """How many deliveries to URLs there are at once. With 1, the default, they arrive in the order in which they were sent."""
        return self._dispatch.courier.concurrency

    @concurrency.setter
    def concurrency(self, deliveries: int) -> None:
        if not 1 <= deliveries <= MOST_THREADS:
            msg = f"the concurrency of webhooks is 1 to {MOST_THREADS}"
            raise ConfigurationError(msg)
        self._dispatch.courier.concurrency = deliveries
