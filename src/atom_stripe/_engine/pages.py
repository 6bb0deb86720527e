"""Lists that go on: each page is fetched when the loop gets there, and no more than one is held."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from atom_stripe._engine.drive import iterate, run
from atom_stripe._wire.decoding import decode, unreadable
from atom_stripe._wire.pages import next_page
from atom_stripe._wire.paths import fill
from atom_stripe.config import OPTIONS
from atom_stripe.errors import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping

    from atom_stripe._engine.calls import CallFlow
    from atom_stripe._wire.operation import Operation
    from atom_stripe.models.answer import Answer
    from atom_stripe.models.base import ListObject

T = TypeVar("T")


class Listing:
    """One page of a list: where it is and how it was asked for. The flow behind both kinds of page."""

    def __init__(self, flow: CallFlow, operation: Operation, params: Mapping[str, Any], path: str) -> None:
        self._flow = flow
        self._operation = operation
        self._params = params
        self._path = path
        # Towards newer objects: each page is read from its end, so that the whole comes in order of time.
        self.backward = params.get("ending_before") is not None

    async def fetch(self) -> ListObject[Any]:
        """Return this page as Stripe sent it."""
        reply = await self._flow.send(self._operation, self._path, self._params)
        page = decode(reply, reads=True)
        if not isinstance(getattr(page, "data", None), list):
            raise unreadable(reply, reads=True)
        return cast("ListObject[Any]", page)

    def after(self, page: ListObject[Any]) -> Listing | None:
        """Return what follows *page*, which is this one; ``None`` behind the last."""
        found = next_page(self._operation, self._path, self._params, page)
        if found is None:
            return None
        path, params = found
        # A key names one request; the next page is another.
        options = {name: value for name, value in self._params.items() if name in OPTIONS and name != "idempotency_key"}
        return Listing(self._flow, self._operation, {**options, **params}, path)

    async def entries(self, page: ListObject[Any]) -> AsyncGenerator[Any, None]:
        """Go over the entries of *page*, which is this one, and of all that follow."""
        # A list that leads back into itself would go on for ever. Comparing with one earlier page, and taking a later one
        # for that after 1, 2, 4, … pages, finds every circle (Brent's way) and remembers nothing else.
        listing, earlier, pages, until = self, self, 0, 1
        while True:
            for entry in reversed(page.data) if self.backward else page.data:
                yield entry
            following = listing.after(page)
            if following is None:
                return
            if following.same_as(earlier):
                msg = "the list leads back to a page that was read already"
                raise InvalidResponseError(msg)
            pages += 1
            if pages == until:
                earlier, pages, until = following, 0, until * 2
            listing = following
            page = await listing.fetch()

    def same_as(self, other: Listing) -> bool:
        """Return whether this is the same page of the same list."""
        return (self._path, self._params) == (other._path, other._params)


class PageContent(Generic[T]):
    """What both kinds of page hold: one page of a list."""

    def __init__(self, listing: Listing, page: ListObject[T]) -> None:
        self._listing = listing
        self._page = page

    @property
    def data(self) -> list[T]:
        """The objects of this page, as Stripe ordered them: the newest first."""
        return self._page.data

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return bool(getattr(self._page, "has_more", None) or getattr(self._page, "next_page_url", None))

    @property
    def total_count(self) -> int | None:
        """How many objects the whole list has, where Stripe was asked to count them (``expand=["total_count"]`` in searches)."""
        return getattr(self._page, "total_count", None)

    @property
    def last_response(self) -> Answer | None:
        """The HTTP answer that brought this page."""
        return self._page.last_response

    @property
    def request_id(self) -> str | None:
        """Stripe's id of the request that brought this page."""
        return self._page.request_id

    def to_dict(self) -> dict[str, Any]:
        """Return this page exactly as Stripe sent it."""
        return self._page.to_dict()

    def __len__(self) -> int:
        """Return how many objects are on this page."""
        return len(self._page.data)

    def __bool__(self) -> bool:
        """Return true also for an empty page: it is a page."""
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} objects, has_more={self.has_more})"


class Page(PageContent[T]):
    """
    One page of a list. Iterating goes on over all the pages that follow, fetching each when the loop gets there.

    Source: https://docs.stripe.com/api/pagination/auto
    """

    def __iter__(self) -> Iterator[T]:
        return iterate(self._listing.entries(self._page))

    def next_page(self) -> Page[T] | None:
        """Fetch the page after this one; ``None`` behind the last."""
        following = self._listing.after(self._page)
        return Page(following, run(following.fetch())) if following else None


class AsyncPage(PageContent[T]):
    """
    One page of a list. ``async for`` goes on over all the pages that follow, fetching each when the loop gets there.

    Source: https://docs.stripe.com/api/pagination/auto
    """

    def __aiter__(self) -> AsyncIterator[T]:
        return self._listing.entries(self._page)

    async def next_page(self) -> AsyncPage[T] | None:
        """Fetch the page after this one; ``None`` behind the last."""
        following = self._listing.after(self._page)
        return AsyncPage(following, await following.fetch()) if following else None


class AsyncPages(Generic[T]):
    """
    A list that was asked for and not fetched yet.

    ``await`` fetches the first page; ``async for`` goes over all of them.
    """

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def __await__(self) -> Generator[Any, None, AsyncPage[T]]:
        return self._first().__await__()

    async def _first(self) -> AsyncPage[T]:
        return AsyncPage(self._listing, await self._listing.fetch())

    async def __aiter__(self) -> AsyncIterator[T]:
        async with aclosing(self._listing.entries(await self._listing.fetch())) as entries:
            async for entry in entries:
                yield entry


class BlockingCalls:
    """The calls of a sync client's services."""

    def __init__(self, flow: CallFlow) -> None:
        self.flow = flow

    def object(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any:
        """Call *operation* and return its object."""
        return run(self.flow.object(operation, params, *arguments))

    def page(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Page[Any]:
        """Call *operation* and return its first page."""
        listing = Listing(self.flow, operation, params, fill(operation.path, arguments))
        return Page(listing, run(listing.fetch()))

    def content(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> bytes:
        """Call *operation* and return its document."""
        return run(self.flow.content(operation, params, *arguments))


class NativeCalls:
    """The calls of an async client's services."""

    def __init__(self, flow: CallFlow) -> None:
        self.flow = flow

    async def object(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> Any:
        """Call *operation* and return its object."""
        return await self.flow.object(operation, params, *arguments)

    def page(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> AsyncPages[Any]:
        """Return the list of *operation*, to be awaited or iterated."""
        return AsyncPages(Listing(self.flow, operation, params, fill(operation.path, arguments)))

    async def content(self, operation: Operation, params: Mapping[str, Any], /, *arguments: str) -> bytes:
        """Call *operation* and return its document."""
        return await self.flow.content(operation, params, *arguments)
