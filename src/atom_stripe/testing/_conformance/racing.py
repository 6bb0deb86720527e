"""Nobody writes over what somebody else wrote."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from atom_stripe.protocols import TokenQuery
from atom_stripe.testing._conformance.place import WORKERS, compare, insert, pages, present
from atom_stripe.testing._conformance.stage import ConformanceError, demand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atom_stripe.protocols import AsyncTokenStore
    from atom_stripe.testing._conformance.place import Place

_INCREMENTS = 50


async def inserts_once(place: Place) -> None:
    """Version 0 is written only if neither its id nor its reference is taken, and nothing changes otherwise."""
    store = place.open()
    first = await insert(store, place.record("a", scope="first"))
    taken = {
        "row": replace(first, version=0, scope="second"),
        "reference": place.record("b", user_id=first.user_id, scope="second"),
        "id": place.record("c", id=first.id, scope="second"),
    }
    for what, record in taken.items():
        demand(await store.save(record) is False, f"save() inserted a {what} that was taken, or did not return False")
        compare(first, await store.load(first.reference), f"a row whose {what} was inserted again")
    demand(await store.load(taken["id"].reference) is None, "a row whose id was taken can be loaded by its reference")
    ids = [row.id for row in await pages(store, TokenQuery()) if row.id.startswith(place.mark)]
    demand(ids == [first.id], "find() returned a row that was refused")


async def compares_versions(place: Place) -> None:
    """A save that names another version than the stored one is refused and changes nothing; a save that is written counts one up."""
    store = place.open()
    row = place.record()
    demand(await store.save(replace(row, version=1)) is False, "save() wrote version 2 of a row that was never inserted")
    demand(await store.load(row.reference) is None, "a refused save() left a row behind")
    row = await insert(store, row)
    for _ in range(3):
        demand(await store.save(row) is True, "save() refused the stored version")
        row = replace(row, version=row.version + 1)
    for version in (0, row.version - 1, row.version + 1):
        wrong = replace(row, version=version, scope="wrong", generation=9, account=f"acct_{place.mark}")
        demand(await store.save(wrong) is False, f"save() wrote over version {row.version} with version={version}")
        compare(row, await store.load(row.reference), "a row after a refused save()")
        found = [each.id for each in await store.find(TokenQuery(account=wrong.account))]
        demand(not found, "find() returned a row for what a refused save() held")


async def one_writer_wins(place: Place) -> None:
    """Of several callers that save the same version at the same time, exactly one is told that it was written, and its row is there."""
    store = place.open()
    await _race(place, [store] * WORKERS)


async def _race(place: Place, stores: Sequence[AsyncTokenStore]) -> None:
    # Those who insert bring ids of their own, as two processes do that connect the same user.
    rows = [place.record(str(worker), user_id=place.mark, scope=f"worker {worker}") for worker in range(len(stores))]
    reference = rows[0].reference
    for version in range(1, 9):
        won = await place.together([partial(store.save, row) for store, row in zip(stores, rows, strict=True)])
        demand(won.count(True) == 1, f"{won.count(True)} of {len(won)} callers were told that they wrote version {version}")
        winner = replace(rows[won.index(True)], version=version)
        compare(winner, await stores[-1].load(reference), "the row of who won")
        rows = [replace(winner, scope=f"worker {worker}") for worker in range(len(stores))]
    authorizations = [place.authorization(code=place.digest(str(worker))) for worker in range(len(stores))]
    for version in range(1, 5):
        won = await place.together(
            [partial(store.save_authorization, row) for store, row in zip(stores, authorizations, strict=True)]
        )
        demand(won.count(True) == 1, f"{won.count(True)} of {len(won)} callers were told that they wrote an authorization")
        last = replace(authorizations[won.index(True)], version=version)
        compare(last, await stores[-1].load_authorization(last.digest), "the authorization of who won")
        authorizations = [replace(last, code=place.digest(str(worker))) for worker in range(len(stores))]


async def loses_no_update(place: Place) -> None:
    """Callers that each load, change and save a row until it is written lose none of each other's changes."""
    await _count_up(place, [place.open()] * WORKERS)


async def _count_up(place: Place, stores: Sequence[AsyncTokenStore]) -> None:
    reference = (await insert(stores[0], place.record())).reference
    wanted = _INCREMENTS * len(stores)

    async def increment(store: AsyncTokenStore) -> None:
        done = 0
        # Somebody wins each round, so nobody has to try more often than everybody's writes; a store that always refuses ends here too.
        for _ in range(wanted + 1):
            row = present(await store.load(reference), "a row")
            done += await store.save(replace(row, generation=row.generation + 1))
            if done == _INCREMENTS:
                return
        msg = "save() refused again and again what had just been loaded"
        raise ConformanceError(msg)

    await place.together([partial(increment, store) for store in stores])
    row = present(await stores[-1].load(reference), "a row")
    demand(row.generation == wanted, f"{wanted} callers counted up and the row says {row.generation}: updates were lost")
    demand(row.version == wanted + 1, f"{wanted + 1} writes made version {row.version}")


async def is_seen_by_others(place: Place) -> None:
    """What one store wrote, another on the same place loads and finds at once, and neither writes over the other."""
    one, other = place.open(), place.open()
    row = place.record(account=place.mark)
    for version, (writer, reader) in enumerate([(one, other), (other, one), (one, other)]):
        demand(await writer.save(replace(row, version=version)) is True, "save() refused the version that another store wrote")
        saved = replace(row, version=version + 1)
        compare(saved, await reader.load(row.reference), "a row that another store wrote")
        demand(
            [each.id for each in await reader.find(TokenQuery(account=place.mark))] == [row.id], "find() missed another store's row"
        )
        demand(await reader.save(replace(row, version=version)) is False, "save() wrote over what another store had written")
    authorization = place.authorization()
    demand(await one.save_authorization(authorization) is True, "save_authorization() of a new row did not return True")
    loaded = await other.load_authorization(authorization.digest)
    compare(replace(authorization, version=1), loaded, "an authorization that another store wrote")
    demand(await other.save_authorization(authorization) is False, "save_authorization() wrote over what another store had written")


async def one_writer_wins_among_others(place: Place) -> None:
    """Of several stores on the same place that save the same version at the same time, exactly one writes."""
    await _race(place, [place.open() for _ in range(WORKERS)])


async def loses_no_update_among_others(place: Place) -> None:
    """Stores on the same place that each load, change and save a row lose none of each other's changes."""
    await _count_up(place, [place.open() for _ in range(WORKERS)])


async def outlives_closing(place: Place) -> None:
    """Closing a store loses nothing and may be done twice; another store on the same place goes on."""
    one, other = place.open(), place.open()
    row = await insert(one, place.record())
    await place.close()
    await place.close()
    del one, other
    compare(row, await place.open().load(row.reference), "a row whose store was closed")
