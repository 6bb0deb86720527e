"""
Python runs this when the other Stripe starts: it keeps that program on this machine and in a folder of its own.

localstripe has options for neither. It listens on every address, and writes its data to a fixed path that all users of a machine
share. Nothing of it is touched here: what changes is what ``open`` and ``socket`` do in its process.
"""

from __future__ import annotations

import builtins
import functools
import os
import socket
from typing import Any

_open = builtins.open


@functools.wraps(_open)
def _in_own_folder(file: Any, *arguments: Any, **options: Any) -> Any:
    if file == "/tmp/localstripe.pickle":  # noqa: S108 - the path that is avoided here
        file = os.path.join(os.environ["OTHER_STRIPE_FOLDER"], "data.pickle")  # noqa: PTH118 - pathlib is not needed for this
    return _open(file, *arguments, **options)


class _Loopback(socket.socket):
    """A socket of IPv4 where IPv6 was asked for, which some machines lack, and of this machine where all addresses were."""

    def __init__(self, family: int = -1, *arguments: Any, **options: Any) -> None:
        super().__init__(socket.AF_INET if family == socket.AF_INET6 else family, *arguments, **options)

    def bind(self, address: Any) -> None:
        super().bind(("127.0.0.1", address[1]) if address[0] == "::" else address)


builtins.open = _in_own_folder  # type: ignore[assignment]
socket.socket = _Loopback  # type: ignore[misc]
