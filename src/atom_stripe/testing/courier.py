"""Webhooks over HTTP: one thread that posts what it is given, in order, and only to hosts that were allowed."""

from __future__ import annotations

import threading
from ipaddress import ip_address
from queue import SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from atom_stripe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from atom_stripe.testing.webhooks import Parcel

_USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
# Seconds for which a receiver may think. Stripe does not publish its own patience.
_PATIENCE = 10.0


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
    Posts parcels from a thread of its own, which starts with the first one.

    *headers* gives the headers of a delivery, or ``None`` if it must not be made. *settle* hears how it ended.
    """

    def __init__(
        self, headers: Callable[[Parcel], dict[str, str] | None], settle: Callable[[Parcel, int | None, BaseException | None], None]
    ) -> None:
        self._headers = headers
        self._settle = settle
        self._parcels: SimpleQueue[Parcel | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def send(self, parcel: Parcel) -> None:
        """Take a parcel."""
        self._parcels.put(parcel)
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._work, name="stripe-sandbox-webhooks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Finish the parcel that is on its way, and stop."""
        self._closed = True
        self._parcels.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        # Without the environment's proxies, which have no business with loopback.
        with httpx.Client(
            timeout=_PATIENCE, follow_redirects=False, trust_env=False, headers={"User-Agent": _USER_AGENT}
        ) as client:
            while (parcel := self._parcels.get()) and not self._closed:
                status: int | None = None
                error: BaseException | None = None
                try:
                    status = self._post(client, parcel)
                except (httpx.HTTPError, httpx.InvalidURL, ConfigurationError) as raised:
                    error = raised
                self._settle(parcel, status, error)

    def _post(self, client: httpx.Client, parcel: Parcel) -> int:
        headers = self._headers(parcel)
        if headers is None:
            msg = "not sent: the sandbox delivers webhooks to this machine only; name other hosts in StripeSandbox(webhook_hosts=…)"
            raise ConfigurationError(msg)
        # The status is the whole answer; its body is not read.
        with client.stream("POST", parcel.endpoint.url or "", content=parcel.body, headers=headers) as response:
            return response.status_code
