"""
Idempotency keys: the same key and parameters bring the same answer, whatever that was.

A key belongs to one account and lives for 24 hours. What is kept, with its status, is every answer that came after the operation had
begun, also one that says that it failed. Source: https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

from dataclasses import dataclass, field

from atom_stripe.testing._state.errors import Refusal, invalid

LONGEST_KEY = 255
LIFETIME = 24 * 60 * 60


@dataclass(slots=True)
class Record:
    """What is known of a key: the request that it came with, and the answer once there is one."""

    fingerprint: str = field(repr=False)
    request_id: str
    created: int
    status: int | None = None
    body: bytes = field(default=b"", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every answer under the key: which request did the work, and whether this is its answer again."""
        replayed = {} if self.status is None else {"Idempotent-Replayed": "true"}
        return {"Original-Request": self.request_id, **replayed}


class Keys:
    """The keys of one account."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def begin(self, key: str, fingerprint: str, request_id: str, now: int) -> Record:
        """
        Return the record of *key*: a new one, or one with the answer to repeat.

        Raises:
            Refusal: The key came with other parameters before, or its first request is still at work.
        """
        if len(key) > LONGEST_KEY:
            raise invalid(f"An idempotency key may have up to {LONGEST_KEY} characters; this has {len(key)}.")
        record = self._records.get(key)
        if record is None or now - record.created >= LIFETIME:
            record = self._records[key] = Record(fingerprint, request_id, now)
            return record
        if record.fingerprint != fingerprint:
            message = (
                "This idempotency key came with another operation or other parameters before. Use a new key for a new request."
            )
            raise Refusal(400, message, type="idempotency_error")
        if record.status is None:
            message = "The first request under this idempotency key is still at work. Try again in a moment, with the same key."
            raise Refusal(409, message, code="idempotency_key_in_use", headers={"Stripe-Should-Retry": "true"})
        return record

    def release(self, key: str, record: Record) -> None:
        """Let *key* be used again if nothing was kept under it: its request was refused before the operation began."""
        if record.status is None and self._records.get(key) is record:
            del self._records[key]
