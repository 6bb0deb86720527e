"""
A pytest plugin: tests reach this machine and no other.

It listens to what Python itself reports about sockets, so it sees every library that uses them, in every thread and event loop.
"""

from __future__ import annotations

import sys
from ipaddress import ip_address


def local(host: object) -> bool:
    """Return whether *host*, a name or an address, is this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in {None, "", "localhost"}:
        return True
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return False


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse what would leave this machine."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        if not isinstance(address, tuple):
            return  # a socket of this machine's file system
        host = address[0]
    else:
        return
    if not local(host):
        # Not an OSError: a client would take that for a bad connection and try again.
        msg = f"a test tried to reach {host}; tests reach this machine only"
        raise RuntimeError(msg)


def pytest_configure() -> None:
    """Start to listen. What is installed here stays until the process ends."""
    sys.addaudithook(watch)
