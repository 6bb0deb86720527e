"""The transaction of one run of a handler."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from atom_stripe.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from atom_stripe._engine.inbox.loop import Mailbox
    from atom_stripe.protocols import InboxStore, Step

T = TypeVar("T")
_LOGGER = logging.getLogger("atom_stripe.inbox")


class CommitUnknownError(Exception):
    """A commit failed, and whether it took effect is not known: the row in the store is what counts."""


class _UndoError(Exception):
    """Ends a transaction without effect."""


class Transaction:
    """Opened when it is first needed, in the thread that holds the claim, and ended there."""

    def __init__(self, store: InboxStore) -> None:
        self._store = store
        self._manager: AbstractContextManager[Any] | None = None
        self._connection: Any = None
        self._ended = False

    @property
    def opened(self) -> bool:
        """Whether there is something to commit or to undo."""
        return self._manager is not None

    def connection(self) -> Any:
        """Return the connection."""
        if self._ended:
            msg = "the transaction of this handler has ended: use context.connection while the handler runs"
            raise StoreError(msg, retryable=False)
        if self._manager is None:
            manager = self._store.transaction()
            self._connection = manager.__enter__()
            self._manager = manager
        return self._connection

    def commit(self, step: Step) -> None:
        """
        Write *step* and commit it together with what the handler did.

        Raises:
            ClaimLostError: Nothing was written.
            StoreError: Nothing was written.
            CommitUnknownError: It was written or not.
        """
        manager = self._demand()
        try:
            self._store.advance(step, connection=self._connection)
        except BaseException:
            self.undo()
            raise
        self._end()
        try:
            manager.__exit__(None, None, None)
        except StoreError as error:
            raise CommitUnknownError from error

    def undo(self) -> None:
        """Undo what the handler did. Nothing happens if it did nothing."""
        self._ended = True
        if self._manager is None:
            return
        manager = self._demand()
        self._end()
        error = _UndoError()
        try:
            manager.__exit__(_UndoError, error, None)
        except _UndoError:
            return
        except Exception:
            # A connection that is gone has undone everything already.
            _LOGGER.warning("a handler's transaction could not be rolled back in order", exc_info=True)

    def _demand(self) -> AbstractContextManager[Any]:
        if self._manager is None:
            msg = "there is no transaction"
            raise RuntimeError(msg)
        return self._manager

    def _end(self) -> None:
        self._ended = True
        self._manager = self._connection = None


class AsyncConnection:
    """
    The database transaction of an async handler. It lives in a thread of its own, and each of these runs there, one after the other.

    ``await connection.execute(statement)`` and ``scalar(…)`` call the connection's methods of these names; what is fetched is read before
    it is handed over. For anything else, ``await connection.run_sync(function)`` calls ``function(connection)`` with the connection itself.
    """

    def __init__(self, transaction: Transaction, mailbox: Mailbox) -> None:
        self._transaction = transaction
        self._mailbox = mailbox

    async def run_sync(self, function: Callable[..., T], /, *args: Any) -> T:
        """Return what ``function(connection, *args)`` returns, called in the thread of the transaction. It must not wait for the event loop."""
        return await self._mailbox.call(lambda: function(self._transaction.connection(), *args))

    async def execute(self, statement: Any, *args: Any, **options: Any) -> Any:
        """Execute *statement* and return its result, with its rows read."""

        def execute(connection: Any) -> Any:
            result = connection.execute(statement, *args, **options)
            # A cursor belongs to the thread; what is read belongs to nobody.
            freeze = getattr(result, "freeze", None)
            return freeze()() if freeze is not None and getattr(result, "returns_rows", False) else result

        return await self.run_sync(execute)

    async def scalar(self, statement: Any, *args: Any, **options: Any) -> Any:
        """Execute *statement* and return the first value of its first row."""
        return await self.run_sync(lambda connection: connection.scalar(statement, *args, **options))
