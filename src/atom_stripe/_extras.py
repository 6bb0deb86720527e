"""The optional parts: what is missing is said in words that mend it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from atom_stripe.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def require(module: str, *, extra: str) -> Generator[None]:
    """
    Turn a missing *module* into advice to install *extra*.

    Every other import error goes through: if *module* is there and something that it needs is not, another installation is broken.

    Raises:
        MissingExtraError: *module* is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module:
            raise
        msg = f"{module} is not installed: pip install 'atom-stripe[{extra}]'"
        raise MissingExtraError(msg, name=error.name) from None
