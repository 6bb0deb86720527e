"""Webhooks over HTTP: threads that post what they are given, and only to hosts that were allowed."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_address
from queue import SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing._delivery.posting import Connections, PostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from atom_stripe.testing._delivery.parcels import Parcel

_USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
# Seconds that a receiver has left when the sandbox is closed.
_LAST_MOMENT = 1.0
MOST_THREADS = 64


def is_local(url: str, hosts: Collection[str] = ()) -> bool:
    """Return whether *url* leads to this machine, or to one of *hosts*."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not host:
        return False
    if host == "localhost" or host in hosts:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Courier:
    """
    Posts parcels from threads of its own, which start as they are needed.

    *prepare* gives the URL and the headers of a delivery, or ``None`` if it must not be made. *settle* hears how it ended. With one thread, which is
    the default, parcels arrive in the order in which they were sent. *timeout*: the seconds for which a receiver may be silent.
    """

    def __init__(
        self,
        prepare: Callable[[Parcel], tuple[str, dict[str, str]] | None],
        settle: Callable[[Parcel, int | None, BaseException | None], None],
    ) -> None:
        self.timeout = 10.0
        self.concurrency = 1
        self._prepare = prepare
        self._settle = settle
        self._parcels: SimpleQueue[Parcel | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._connections: list[Connections] = []
        self._starting = threading.Lock()
        self._closed = False

    def send(self, parcel: Parcel) -> None:
        """Take a parcel."""
        self._parcels.put(parcel)
        if len(self._threads) < self.concurrency:
            with self._starting:
                if self._closed or len(self._threads) >= self.concurrency:
                    return
                thread = threading.Thread(target=self._work, name="stripe-sandbox-webhooks", daemon=True)
                self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let the parcels that are on their way arrive, for a moment, and stop."""
        with self._starting:
            self._closed = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._parcels.put(None)
        until = time.monotonic() + _LAST_MOMENT
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))
        for thread in threads:
            while thread.is_alive():
                for connections in list(self._connections):
                    connections.hang_up()
                thread.join(0.05)

    def _work(self) -> None:
        with Connections() as connections:
            self._connections.append(connections)
            while (parcel := self._parcels.get()) and not self._closed:
                status: int | None = None
                error: BaseException | None = None
                try:
                    status = self._post(connections, parcel)
                except (TimeoutError, PostError, ConfigurationError) as raised:
                    error = raised
                self._settle(parcel, status, error)

    def _post(self, connections: Connections, parcel: Parcel) -> int:
        prepared = self._prepare(parcel)
        if prepared is None:
            msg = "not sent: the sandbox delivers webhooks to this machine only; name other hosts in StripeSandbox(webhook_hosts=…)"
            raise ConfigurationError(msg)
        url, headers = prepared
        return connections.post(url, {"User-Agent": _USER_AGENT, **headers}, parcel.body, self.timeout)
