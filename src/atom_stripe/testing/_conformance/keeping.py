"""What is saved is there, as it was, and under nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from atom_stripe.protocols import CONNECTION_STATES, PROFILES, AuthorizationState, Reference, TokenQuery, TokenRecord
from atom_stripe.testing._conformance.place import LONG_USER, NOW, compare, insert, pages, present
from atom_stripe.testing._conformance.stage import brief, demand

if TYPE_CHECKING:
    from atom_stripe.testing._conformance.place import Place

# What a store that normalizes, folds, pads or matches patterns takes for the same.
_LOOKALIKES = ("user_a", "User_a", "user_a ", "userXa", "user%", "user\u00e9", "usere\u0301", "user_a:connect", "0", "00")


async def keeps_every_field(place: Place) -> None:
    """What was saved is loaded again, field by field: text of every kind and length, times to the microsecond, and ``None``."""
    store = place.open()
    full = TokenRecord(
        id=f"{place.mark}-full",
        user_id=(place.mark + LONG_USER + "x" * 255)[:255],
        profile="stripe_app",
        livemode=True,
        generation=40_000,
        state="reauthorization_required",
        account=f"acct_{place.mark}",
        stripe_user_id=f"acct_{place.mark}2",
        stripe_publishable_key="pk_live_" + "k" * 100,
        scope="read_write",
        token_type="bearer",
        access_token="A-_=" * 1250,
        refresh_token="r\u00e9\u4e2d" * 1666,
        access_token_fingerprint=place.digest("fingerprint"),
        key_id="key-2024.01_" + "k" * 52,
        expires_at=NOW + 0.123456,
        lease_owner="host-1:4242:" + "o" * 32,
        lease_until=NOW + 30.654321,
        intent_key=place.digest("intent"),
        intent_generation=39_999,
        intent_at=NOW + 60.765432,
        last_error="invalid_grant",
        created_at=NOW - 0.5,
        updated_at=NOW + 0.25,
    )
    for record in (full, place.record("bare", created_at=0.0, updated_at=0.0)):
        saved = await insert(store, record)
        compare(saved, await store.load(record.reference), "a new row")
        found = [row for row in await pages(store, TokenQuery(user_id=record.user_id)) if row.id == record.id]
        compare(saved, found[0] if found else None, "a row that find() looked for")
    emptied = replace(place.record("full"), id=full.id, user_id=full.user_id, profile="stripe_app", livemode=True, version=1)
    demand(await store.save(emptied) is True, "save() of the next version did not return True")
    compare(replace(emptied, version=2), await store.load(full.reference), "a row whose fields were emptied")


async def keeps_states(place: Place) -> None:
    """Every state of a connection and of an authorization is kept as it is."""
    store = place.open()
    row = place.record()
    for version, state in enumerate(CONNECTION_STATES):
        row = replace(row, state=state, version=version)
        demand(await store.save(row) is True, f"save() did not write the state {state}")
        compare(replace(row, version=version + 1), await store.load(row.reference), "a row")
    authorization = place.authorization()
    for version, ending in enumerate(get_args(AuthorizationState)):
        authorization = replace(authorization, state=ending, version=version)
        demand(await store.save_authorization(authorization) is True, f"save_authorization() did not write the state {ending}")
        loaded = await store.load_authorization(authorization.digest)
        compare(replace(authorization, version=version + 1), loaded, "an authorization")


async def tells_references_apart(place: Place) -> None:
    """References that differ in anything (case, spaces, accents, profile, mode) are different rows."""
    store = place.open()
    users = [f"{place.mark}{user}" for user in _LOOKALIKES]
    references = [Reference(user, profile, mode) for user in users for profile in PROFILES for mode in (False, True)]
    rows: list[TokenRecord] = []
    for index, reference in enumerate(references):
        row = place.record(str(index), user_id=reference.user_id, profile=reference.profile, livemode=reference.livemode)
        demand(await store.load(reference) is None, f"load() of {brief(reference.user_id)} found the row of another reference")
        rows.append(await insert(store, row))
    for row in rows:
        compare(row, await store.load(row.reference), "one of several rows")
    for user in users:
        found = await pages(store, TokenQuery(user_id=user))
        demand({row.user_id for row in found} == {user}, f"find(user_id=…) of {brief(user)} returned the rows of other users")


async def keeps_authorizations(place: Place) -> None:
    """Authorizations are kept as rows are: every field, inserted once, versions compared, and none is gone before it expires."""
    store = place.open()
    bare = place.authorization()
    full = place.authorization(
        "full",
        user_id=(place.mark + LONG_USER + "x" * 255)[:255],
        profile="stripe_app",
        livemode=True,
        redirect_uri="https://shop.example/callback?" + "q" * 1000,
        scope="read_write",
        state="exchanging",
        account=f"acct_{place.mark}",
        code=place.digest("code"),
        connection_id=f"{place.mark}-connection",
        error="access_denied",
        created_at=NOW + 0.123456,
    )
    for row in (bare, full):
        demand(await store.load_authorization(row.digest) is None, "load_authorization() found a row before it was saved")
        demand(await store.save_authorization(replace(row, version=1)) is False, "save_authorization() wrote version 2 of nothing")
        demand(await store.save_authorization(row) is True, "save_authorization() of a new row did not return True")
        saved = replace(row, version=1)
        compare(saved, await store.load_authorization(row.digest), "an authorization")
        for version in (0, 2):
            wrong = replace(row, version=version, state="failed", error="wrong")
            demand(
                await store.save_authorization(wrong) is False, f"save_authorization() wrote over version 1 with version={version}"
            )
            compare(saved, await store.load_authorization(row.digest), "an authorization after a refused save")
        done = replace(saved, state="done", connection_id=f"{place.mark}-other", expires_at=row.expires_at + 60)
        demand(await store.save_authorization(done) is True, "save_authorization() refused the stored version")
        compare(replace(done, version=2), await store.load_authorization(row.digest), "an authorization that was changed")
    demand(await store.load_authorization(bare.digest.upper()) is None, "load_authorization() found a digest in another case")


async def reads_its_clock(place: Place) -> None:
    """``read_at`` is the store's own time of reading: always ``None``, or never going back; what a caller left in it is not kept."""
    store = place.open()
    row = await insert(store, place.record(read_at=1.5))
    authorization = place.authorization(read_at=1.5)
    demand(await store.save_authorization(authorization) is True, "save_authorization() of a new row did not return True")
    readings: list[float | None] = []
    for _ in range(5):
        readings.append(present(await store.load(row.reference), "a row").read_at)
        readings.append(present(await store.load_authorization(authorization.digest), "an authorization").read_at)
    times = [reading for reading in readings if reading is not None]
    demand(len(times) in {0, len(readings)}, "read_at was None for some rows only")
    demand(times == sorted(times), "read_at went back from one load() to the next")
    demand(1.5 not in times, "read_at was stored, and is not when the row was read")
