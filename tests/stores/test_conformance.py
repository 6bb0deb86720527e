"""The conformance suite rejects stores that break a promise: each store here is wrong in one way that happens."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from atom_stripe._engine.process import ForkSafeLock
from atom_stripe.errors import AtomStripeError
from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import TOKEN_STORE_CHECKS, ConformanceError, check_async_token_store, check_token_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import TokenStore
    from atom_stripe.testing.conformance import Check

CHECKS = {check.name: check for check in TOKEN_STORE_CHECKS}


class Changing(MemoryTokenStore):
    """Changes rows on their way in."""

    def __init__(self, **changes: Callable[[Any], Any]) -> None:
        super().__init__()
        self._changes = changes

    def change(self, row: Any) -> Any:
        return replace(row, **{name: change(getattr(row, name)) for name, change in self._changes.items() if hasattr(row, name)})

    def save(self, record: TokenRecord, /) -> bool:
        return super().save(self.change(record))

    def save_authorization(self, authorization: Authorization, /) -> bool:
        return super().save_authorization(self.change(authorization))


class Folding(MemoryTokenStore):
    """Takes some user ids for the same, as a database's collation does."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        super().__init__()
        self._fold = fold

    def _folded(self, reference: Reference) -> Reference:
        return reference._replace(user_id=self._fold(reference.user_id))

    def load(self, reference: Reference, /) -> TokenRecord | None:
        return next((row for key, row in self._records.items() if self._folded(key) == self._folded(reference)), None)


class LosingUpdates(MemoryTokenStore):
    """Never compares versions."""

    def save(self, record: TokenRecord, /) -> bool:
        stored = self.load(record.reference)
        return super().save(record if stored is None or record.version == 0 else replace(record, version=stored.version))


class InsertingOver(MemoryTokenStore):
    """Version 0 replaces the row that is there."""

    def save(self, record: TokenRecord, /) -> bool:
        stored = self.load(record.reference)
        if stored is not None and record.version == 0:
            self._records[record.reference] = replace(record, version=1)
            return True
        return super().save(record)


class InsertingIdsTwice(MemoryTokenStore):
    """Does not mind two rows of one id."""

    def save(self, record: TokenRecord, /) -> bool:
        self._rows.ids.clear()
        return super().save(record)


class WritingAnyway(MemoryTokenStore):
    """Refuses, and has written."""

    def save(self, record: TokenRecord, /) -> bool:
        stored = self.load(record.reference)
        written = super().save(record)
        if not written and stored is not None:
            self._records[record.reference] = replace(record, version=stored.version)
        return written


class AnsweringWithoutValue(MemoryTokenStore):
    """Says nothing where it should say ``True``."""

    def save(self, record: TokenRecord, /) -> bool:
        super().save(record)
        return None  # type: ignore[return-value]


class Gap(MemoryTokenStore):
    """Compares first and writes later, and others write in between. *rows*: those of another such store."""

    def __init__(self, rows: MemoryTokenStore | None = None, *, locked: bool = False) -> None:
        super().__init__(rows)
        self._own = ForkSafeLock() if locked else None

    def save(self, record: TokenRecord, /) -> bool:
        if self._own is None:
            return self._compare_and_write(record)
        with self._own:
            return self._compare_and_write(record)

    def _compare_and_write(self, record: TokenRecord) -> bool:
        stored = self.load(record.reference)
        if (0 if stored is None else stored.version) != record.version:
            return False
        time.sleep(0.0005)
        self._rows.ids.add(record.id)
        self._records[record.reference] = replace(record, version=record.version + 1)
        return True


class AuthorizationGap(MemoryTokenStore):
    """Compares authorizations first and writes them later."""

    def save_authorization(self, authorization: Authorization, /) -> bool:
        stored = self.load_authorization(authorization.digest)
        if (0 if stored is None else stored.version) != authorization.version:
            return False
        time.sleep(0.0005)
        self._rows.authorizations[authorization.digest] = replace(authorization, version=authorization.version + 1)
        return True


class Refusing(MemoryTokenStore):
    """Refuses every other save of a version that it has."""

    turn = False

    def save(self, record: TokenRecord, /) -> bool:
        self.turn = not self.turn
        return (record.version == 0 or self.turn) and super().save(record)


class Finding(MemoryTokenStore):
    """Reads the query in its own way."""

    def __init__(self, **reading: Any) -> None:
        super().__init__()
        self._reading = reading

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        return super().find(replace(query, **self._reading))


class FindingAlike(MemoryTokenStore):
    """Finds what *matches* says too."""

    def __init__(self, matches: Callable[[TokenQuery, TokenRecord], bool]) -> None:
        super().__init__()
        self._matches = matches

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        rows = [row for row in self._records.values() if query.matches(row) or self._matches(query, row)]
        return sorted(rows, key=attrgetter("id"))[: query.limit]


class FindingLate(MemoryTokenStore):
    """Finds rows by what they were when they were inserted."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, TokenRecord] = {}

    def save(self, record: TokenRecord, /) -> bool:
        self._first.setdefault(record.id, record)
        return super().save(record)

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        rows = [row for row in self._records.values() if query.matches(self._first[row.id])]
        return sorted(rows, key=attrgetter("id"))[: query.limit]


class Sorting(MemoryTokenStore):
    """Sorts rows in another order than by id."""

    def __init__(self, key: Callable[[TokenRecord], Any]) -> None:
        super().__init__()
        self._key = key

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        return sorted((row for row in self._records.values() if query.matches(row)), key=self._key)[: query.limit]


class Offset(MemoryTokenStore):
    """Counts rows instead of comparing ids: what comes before shifts what follows."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str | None, int] = {None: 0}

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        rows = list(super().find(replace(query, after=None, limit=10_000)))
        start = self._seen.get(query.after, 0)
        page = rows[start : start + query.limit]
        if page:
            self._seen[page[-1].id] = start + len(page)
        return page


class Forgetting(MemoryTokenStore):
    """Drops authorizations after one look."""

    def load_authorization(self, digest: str, /) -> Authorization | None:
        return self._rows.authorizations.pop(digest, None)


class FoldingDigests(MemoryTokenStore):
    """Compares digests without their case."""

    def load_authorization(self, digest: str, /) -> Authorization | None:
        return self._rows.authorizations.get(digest.lower())


class Clock(MemoryTokenStore):
    """Says that rows were read at these times, one after the other."""

    def __init__(self, *times: float | None) -> None:
        super().__init__()
        self._times = list(times) * 10

    def load(self, reference: Reference, /) -> TokenRecord | None:
        row = super().load(reference)
        return row and replace(row, read_at=self._times.pop(0))


class KeepingReadAt(MemoryTokenStore):
    """Stores the time of reading."""

    def load(self, reference: Reference, /) -> TokenRecord | None:
        row = super().load(reference)
        return row and replace(row, read_at=1.5)

    def load_authorization(self, digest: str, /) -> Authorization | None:
        row = super().load_authorization(digest)
        return row and replace(row, read_at=1.5)


class Emptying(MemoryTokenStore):
    """Forgets everything when it is closed."""

    def close(self) -> None:
        self._records.clear()


class ClosingOnce(MemoryTokenStore):
    """Cannot be closed twice."""

    closed = False

    def close(self) -> None:
        if self.closed:
            msg = "closed already"
            raise RuntimeError(msg)
        self.closed = True


class Caching(MemoryTokenStore):
    """Writes to the shared place, and loads what it saw first."""

    def __init__(self, place: MemoryTokenStore) -> None:
        super().__init__()
        self._place = place
        self._cache: dict[Reference, TokenRecord] = {}

    def save(self, record: TokenRecord, /) -> bool:
        return self._place.save(record)

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        return self._place.find(query)

    def load(self, reference: Reference, /) -> TokenRecord | None:
        row = self._cache.get(reference) or self._place.load(reference)
        if row is not None:
            self._cache[reference] = row
        return row


def same(make: Callable[[], TokenStore]) -> Callable[[], TokenStore]:
    """One store for all that is made."""
    store = make()
    return lambda: store


def shared(make: Callable[[MemoryTokenStore], TokenStore]) -> Callable[[], TokenStore]:
    """Stores on one place."""
    rows = MemoryTokenStore()
    return lambda: make(rows)


def rounded(value: float | None) -> float | None:
    return value if value is None else float(int(value))


# The check that rejects it, what is wrong with it, and how it is made.
BROKEN: list[tuple[str, str, Callable[[], Callable[[], TokenStore]]]] = [
    ("keeps_every_field", "times in whole seconds", lambda: same(lambda: Changing(expires_at=rounded))),
    (
        "keeps_every_field",
        "times in milliseconds",
        lambda: same(lambda: Changing(intent_at=lambda value: value and round(value, 3))),
    ),
    ("keeps_every_field", "short columns", lambda: same(lambda: Changing(access_token=lambda value: value and value[:4096]))),
    ("keeps_every_field", "modes as numbers", lambda: same(lambda: Changing(livemode=int))),
    ("keeps_every_field", "None as an empty text", lambda: same(lambda: Changing(scope=lambda value: value or ""))),
    ("keeps_every_field", "None as zero", lambda: same(lambda: Changing(lease_until=lambda value: value or 0.0))),
    ("keeps_every_field", "no answer", lambda: same(AnsweringWithoutValue)),
    (
        "keeps_states",
        "a state that it does not know",
        lambda: same(lambda: Changing(state=lambda value: value.replace("revoked", "active"))),
    ),
    (
        "keeps_states",
        "an ending that it does not know",
        lambda: same(lambda: Changing(state=lambda value: value.replace("done", "open"))),
    ),
    ("tells_references_apart", "case", lambda: same(lambda: Folding(str.lower))),
    ("tells_references_apart", "padding", lambda: same(lambda: Folding(str.rstrip))),
    ("tells_references_apart", "accents", lambda: same(lambda: Folding(lambda user: unicodedata.normalize("NFC", user)))),
    (
        "tells_references_apart",
        "patterns",
        lambda: same(
            lambda: FindingAlike(
                lambda query, row: str(query.user_id).endswith("%") and row.user_id.startswith(str(query.user_id)[:-1])
            )
        ),
    ),
    ("keeps_authorizations", "short redirect_uri", lambda: same(lambda: Changing(redirect_uri=lambda value: value[:255]))),
    ("keeps_authorizations", "gone after one look", lambda: same(Forgetting)),
    ("keeps_authorizations", "digests of any case", lambda: same(FoldingDigests)),
    ("reads_its_clock", "a clock that goes back", lambda: same(lambda: Clock(3.0, 2.0))),
    ("reads_its_clock", "a clock now and then", lambda: same(lambda: Clock(3.0, None))),
    ("reads_its_clock", "a stored time", lambda: same(KeepingReadAt)),
    ("inserts_once", "inserts over", lambda: same(InsertingOver)),
    ("inserts_once", "one id twice", lambda: same(InsertingIdsTwice)),
    ("compares_versions", "lost updates", lambda: same(LosingUpdates)),
    ("compares_versions", "writes what it refuses", lambda: same(WritingAnyway)),
    ("one_writer_wins", "a gap", lambda: same(Gap)),
    ("one_writer_wins", "a gap for authorizations", lambda: same(AuthorizationGap)),
    ("loses_no_update", "a gap", lambda: same(Gap)),
    ("finds_by_every_field", "both modes", lambda: same(lambda: Finding(livemode=None))),
    ("finds_by_every_field", "both profiles", lambda: same(lambda: Finding(profile=None))),
    ("finds_by_every_field", "every state", lambda: same(lambda: Finding(states=None))),
    ("finds_by_every_field", "every account", lambda: same(lambda: Finding(account=None))),
    ("finds_by_every_field", "every time", lambda: same(lambda: Finding(expires_before=None))),
    ("finds_by_every_field", "every key", lambda: same(lambda: Finding(not_key_id=None))),
    ("finds_by_every_field", "every fingerprint", lambda: same(lambda: Finding(fingerprints=None))),
    (
        "finds_by_every_field",
        "accounts of any case",
        lambda: same(lambda: FindingAlike(lambda query, row: str(row.account).lower() == str(query.account).lower())),
    ),
    (
        "finds_by_every_field",
        "what runs out at the moment itself",
        lambda: same(
            lambda: FindingAlike(lambda query, row: query == TokenQuery(expires_before=row.expires_at, after=query.after))
        ),
    ),
    ("finds_by_every_field", "an index that is never renewed", lambda: same(FindingLate)),
    ("finds_in_order", "no limit", lambda: same(lambda: Finding(limit=10_000))),
    ("finds_in_order", "no after", lambda: same(lambda: Finding(after=None))),
    ("finds_in_order", "the order of a language", lambda: same(lambda: Sorting(lambda row: row.id.lower()))),
    ("finds_in_order", "the order of insertion", lambda: same(lambda: Sorting(lambda row: 0))),
    ("finds_in_order", "the reverse order", lambda: same(lambda: Sorting(lambda row: [-ord(letter) for letter in row.id]))),
    ("pages_under_writes", "an offset", lambda: same(Offset)),
    ("is_seen_by_others", "a place of its own", lambda: MemoryTokenStore),
    ("is_seen_by_others", "a cache", lambda: shared(Caching)),
    ("one_writer_wins_among_others", "a lock of its own", lambda: shared(lambda rows: Gap(rows, locked=True))),
    ("loses_no_update_among_others", "a lock of its own", lambda: shared(lambda rows: Gap(rows, locked=True))),
    ("outlives_closing", "rows end with the store", lambda: same(Emptying)),
    ("outlives_closing", "closed once only", lambda: same(ClosingOnce)),
]


@pytest.mark.parametrize(("name", "wrong", "make"), BROKEN, ids=[f"{name}-{wrong}" for name, wrong, _make in BROKEN])
def test_a_broken_store_is_rejected(name: str, wrong: str, make: Callable[[], Callable[[], TokenStore]]) -> None:
    """The check that stands for a promise rejects a store that breaks it, and says in a sentence how."""
    with pytest.raises(ConformanceError, match=rf"^{name}: \w+.* \w+"):
        CHECKS[name].run(make())


def test_every_check_can_fail() -> None:
    """For each check there is a store above that it rejects."""
    assert {name for name, _wrong, _make in BROKEN} == set(CHECKS)


def test_a_lock_of_its_own_is_enough_for_one_store() -> None:
    """A store with a lock that other stores do not see is right as long as there is one: what tells it apart is the shared checks."""
    for name in ("one_writer_wins", "loses_no_update"):
        CHECKS[name].run(same(lambda: Gap(locked=True)))


def test_all_at_once() -> None:
    """``check_token_store`` runs every check: it accepts a right store, on a place that is not empty too, and rejects a wrong one."""
    rows = MemoryTokenStore()
    for _ in range(2):
        check_token_store(lambda: rows)
    with pytest.raises(ConformanceError, match=r"^keeps_every_field"):
        check_token_store(same(lambda: Changing(expires_at=rounded)))


def test_shared_checks_may_be_left_out() -> None:
    """Stores that each have a place of their own pass with ``shared=False`` only."""
    check_token_store(MemoryTokenStore, shared=False)
    with pytest.raises(ConformanceError, match=r"^is_seen_by_others"):
        check_token_store(MemoryTokenStore)


class AsyncGap(AsyncMemoryTokenStore):
    """Lets other tasks write between its comparison and its write."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    async def save(self, record: TokenRecord, /) -> bool:
        stored = await self.load(record.reference)
        if (0 if stored is None else stored.version) != record.version:
            return False
        await checkpoint()
        current = await self.load(record.reference)
        return await super().save(replace(record, version=0 if current is None else current.version))

    async def close(self) -> None:
        await checkpoint()
        self.closed += 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_stores_are_tried_with_tasks(backend: str) -> None:
    """Async stores are tried by several tasks at once: one with a gap is rejected, a right one is accepted, and each is closed."""
    gaps: list[AsyncGap] = []

    def make() -> AsyncGap:
        gaps.append(AsyncGap())
        return gaps[-1]

    async def flow() -> None:
        await CHECKS["keeps_states"].run_async(make)
        with pytest.raises(ConformanceError, match=r"^one_writer_wins: "):
            await check_async_token_store(make, shared=False)
        await check_async_token_store(AsyncMemoryTokenStore, shared=False)
        with pytest.raises(ConformanceError, match=r"^is_seen_by_others"):
            await check_async_token_store(AsyncMemoryTokenStore)

    anyio.run(flow, backend=backend)
    assert [gap.closed for gap in gaps] == [1] * len(gaps)


def test_what_a_store_raises_is_chained() -> None:
    """A store that raises breaks its promise: the error names the check and the kind of error, and the error itself is its cause."""

    class Raising(MemoryTokenStore):
        def load(self, reference: Reference, /) -> TokenRecord | None:
            raise KeyError(reference)

    with pytest.raises(ConformanceError) as caught:
        check_token_store(Raising)
    assert str(caught.value) == "keeps_every_field: the store raised KeyError"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_store_that_always_refuses_is_not_tried_forever() -> None:
    """Callers that are always refused give up: a store that refuses what was just loaded is rejected."""

    class Stubborn(MemoryTokenStore):
        def save(self, record: TokenRecord, /) -> bool:
            return record.version == 0 and super().save(record)

    with pytest.raises(ConformanceError, match="refused again and again"):
        CHECKS["loses_no_update"].run(same(Stubborn))


def test_pages_that_never_end_are_noticed() -> None:
    """A store that shows the same page again and again is rejected, and not paged forever."""
    with pytest.raises(ConformanceError, match="again"):
        CHECKS["finds_in_order"].run(same(lambda: Finding(after=None)))


@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_checks_are_named(check: Check, request: pytest.FixtureRequest) -> None:
    """Under pytest each check is a test of its own name, and says its promise in a sentence."""
    assert request.node.name == f"test_checks_are_named[{check.name}]"
    assert check.promise.endswith(".")


def test_the_error_is_an_assertion_and_ours() -> None:
    """``ConformanceError`` is an ``AssertionError``, so test runners count a failure, and in this package's tree."""
    assert issubclass(ConformanceError, AssertionError)
    assert issubclass(ConformanceError, AtomStripeError)
