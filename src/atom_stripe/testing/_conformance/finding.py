"""``find`` returns what was asked for, in order, page by page."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from atom_stripe.protocols import CONNECTION_STATES, PROFILES, TokenQuery
from atom_stripe.testing._conformance.place import NOW, compare, insert, pages
from atom_stripe.testing._conformance.stage import demand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.protocols import AsyncTokenStore, TokenRecord
    from atom_stripe.testing._conformance.place import Place


async def finds_by_every_field(place: Place) -> None:
    """``find`` returns the rows that meet everything in the query and no others, for each of its fields, and after each write anew."""
    store = place.open()
    mark, late = place.mark, NOW + 100.5
    prints = [place.digest(f"fingerprint {index}") for index in range(3)]
    keyed: dict[str, Any] = {"access_token": "a", "key_id": "new"}
    rows = [
        place.record("a", account=f"acct_{mark}", expires_at=NOW, access_token_fingerprint=prints[0], **keyed),
        place.record("b", account=f"acct_{mark}", livemode=True, expires_at=late, access_token_fingerprint=prints[1], **keyed),
        place.record("c", account=f"acct_{mark}", profile="stripe_app", state="revoked"),
        place.record("d", account=f"acct_{mark.upper()}", state="onboarding", expires_at=late + 0.25, key_id="old"),
        place.record("e", user_id=f"{mark} a", profile="stripe_app", state="reauthorization_required", key_id="NEW"),
        place.record("f", user_id=f"{mark} a", livemode=True, access_token_fingerprint=prints[2], **keyed),
    ]
    rows = [await insert(store, row) for row in rows]
    await _try_queries(place, store, rows)
    # Everything that a query asks for changes: what was found by the old values must not be found by them again.
    asked = ("state", "account", "expires_at", "key_id", "access_token_fingerprint")
    changed = [replace(row, **{name: getattr(rows[index - 1], name) for name in asked}) for index, row in enumerate(rows)]
    for row in changed:
        demand(await store.save(row) is True, "save() refused the stored version")
    await _try_queries(place, store, [replace(row, version=2) for row in changed])


async def _try_queries(place: Place, store: AsyncTokenStore, rows: Sequence[TokenRecord]) -> None:
    account, late = f"acct_{place.mark}", NOW + 100.5
    prints = [place.digest(f"fingerprint {index}") for index in range(3)]
    queries = [
        TokenQuery(),
        TokenQuery(user_id=f"{place.mark} a"),
        TokenQuery(user_id=f"{place.mark} nobody"),
        TokenQuery(account=account),
        TokenQuery(account=account.upper()),
        *(TokenQuery(profile=profile) for profile in PROFILES),
        *(TokenQuery(livemode=mode) for mode in (False, True)),
        *(TokenQuery(states=frozenset([state])) for state in CONNECTION_STATES),
        TokenQuery(states=frozenset(["active", "revoked"])),
        TokenQuery(states=frozenset()),
        *(TokenQuery(expires_before=moment) for moment in (NOW, NOW + 0.25, late, late + 0.125, late + 1)),
        TokenQuery(not_key_id="new"),
        TokenQuery(not_key_id="old"),
        TokenQuery(fingerprints=frozenset(prints[:1])),
        TokenQuery(fingerprints=frozenset([*prints[1:], place.digest("unknown")])),
        TokenQuery(fingerprints=frozenset()),
        TokenQuery(user_id=f"{place.mark} a", livemode=True),
        TokenQuery(account=account, livemode=False, states=frozenset(["active"])),
        TokenQuery(account=account, expires_before=late + 1, fingerprints=frozenset(prints), not_key_id="old"),
        TokenQuery(profile="connect", livemode=False, states=frozenset(["active"]), expires_before=late, not_key_id="old"),
    ]
    for query in queries:
        asked = ", ".join(f"{part.name}=…" for part in fields(query) if getattr(query, part.name) != part.default)
        found = await pages(store, query)
        demand(all(query.matches(row) for row in found), f"find({asked}) returned a row that does not meet the query")
        ours = [row for row in found if row.id.startswith(place.mark)]
        expected = [row for row in rows if query.matches(row)]
        demand(
            [row.id for row in ours] == [row.id for row in expected], f"find({asked}) did not return the rows that meet the query"
        )
        for row, wanted in zip(ours, expected, strict=True):
            compare(wanted, row, f"a row that find({asked}) returned")


async def finds_in_order(place: Place) -> None:
    """``find`` returns rows in the order of their ids, by code point, *limit* at most; *after* goes on behind an id, whether it exists or not."""
    store = place.open()
    # No language would sort them like this, and they are inserted in another order.
    names = ["0", "00", "10", "9", "A", "Z", "_", "a", "aB", "ab", "z"]
    rows = [place.record(name, user_id=f"{place.mark} {index}", account=place.mark) for index, name in enumerate(names)]
    for row in sorted(rows, key=attrgetter("user_id"), reverse=True):
        await insert(store, row)
    ids = [row.id for row in rows]
    for limit in (1, 3, len(ids), 100):
        for query in (TokenQuery(account=place.mark, limit=limit), TokenQuery(after=place.mark, limit=limit)):
            page = [row.id for row in await store.find(query)]
            demand(
                page[: len(ids)] == ids[:limit] and len(page) <= limit,
                f"find(limit={limit}) did not return the first rows in the order of their ids",
            )
            found = [row.id for row in await pages(store, query) if row.account == place.mark]
            demand(found == ids, f"pages of {limit} did not show each row once, in the order of the ids")
    for after, expected in ((ids[3], ids[4:]), (f"{ids[3]}-", ids[4:]), (ids[-1], []), (place.mark, ids)):
        found = [row.id for row in await store.find(TokenQuery(account=place.mark, after=after))]
        demand(found == expected, "find(after=…) did not go on behind that id")
    everything = [row.id for row in await pages(store, TokenQuery())]
    demand(everything == sorted(set(everything)), "find() with nothing set did not return every row once, in the order of the ids")
    demand(set(ids) <= set(everything), "find() with nothing set left rows out")


async def pages_under_writes(place: Place) -> None:
    """Paging shows every row once that was there from beginning to end, while other rows come and rows change."""
    store = place.open()
    rows = [await insert(store, place.record(f"{index:02}0", account=place.mark)) for index in range(12)]
    query = TokenQuery(account=place.mark, limit=5)
    found: list[str] = []
    for index in range(len(rows)):
        page = await store.find(query)
        found += [row.id for row in page]
        if len(page) < query.limit:
            break
        query = replace(query, after=page[-1].id)
        # One row before what was seen, one behind it, and a change of a row that was seen.
        await insert(store, place.record(f"00{index + 1}", account=place.mark))
        await insert(store, place.record(f"99{index}", account=place.mark))
        demand(
            await store.save(replace(rows[0], version=index + 1, updated_at=NOW + index)) is True,
            "save() refused the stored version",
        )
    demand(found == sorted(set(found)), "rows were shown twice or out of order while others were written")
    demand({row.id for row in rows} <= set(found), "rows were left out while others were written")
