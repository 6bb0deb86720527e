"""What an operator's wish makes of one event. Pure: the store writes it, if nobody is at work on the event."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from atom_stripe._wire.lanes import home
from atom_stripe.protocols import HandlerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._engine.inbox.registry import Handler
    from atom_stripe.protocols import InboxRecord

    Decision = InboxRecord | Literal["waiting", "purged", "unconcerned"]

SELF = "inbox"
"""What stands for the inbox itself among the handlers of an event."""
_SEEN = HandlerState(status="done")


def replayed(record: InboxRecord, names: frozenset[str] | None, registered: Mapping[str, Handler] | None) -> Decision:
    """
    Return *record* with its handlers, or those called *names*, about to run again.

    *registered*: all handlers, if they are known. Then the others stay as they are, those that never saw the event included.
    """
    if record.status == "pending":
        return "waiting"
    if record.payload is None:
        return "purged"
    # A handler without a state has yet to run, if it wants the event. The mark of the inbox says that this is no fresh event, whose claims
    # would be counted as attempts of its first handler.
    states = {SELF: _SEEN}
    if names is not None:
        states = {**{name: state for name, state in record.handlers.items() if name not in names}, **states}
        if registered is not None:
            wanted = [name for name, handler in registered.items() if handler.wants(record.type)]
            if names.isdisjoint(wanted):
                return "unconcerned"
            states.update({name: HandlerState(status="discarded") for name in wanted if name not in names and name not in states})
    return replace(record, handlers=states, status="pending", due_at=None, lane=home(record.lane))


def requeued(record: InboxRecord, handler: str | None, *, delayed: bool) -> Decision:
    """Return *record* with its parked handlers, or the one called *handler*, pending again; *delayed*: those that wait for another attempt too."""
    states = dict(record.handlers)
    for name, state in _meant(record, handler):
        if state.status == "parked":
            states[name] = _SEEN if name == SELF else HandlerState(error=state.error)
        elif delayed and state.status == "pending" and state.due_at is not None:
            states[name] = replace(state, due_at=None)
    if states == record.handlers:
        return "unconcerned"
    return replace(record, handlers=states, status="pending", due_at=None, lane=home(record.lane))


def discarded(record: InboxRecord, handler: str | None, *, delayed: bool, now: float) -> Decision:
    """Return *record* with its parked handlers, or the one called *handler*, done with; *delayed*: those that wait for another attempt too."""
    states = dict(record.handlers)
    for name, state in _meant(record, handler):
        if state.status == "parked" or (delayed and is_delayed(state, named=handler is not None)):
            states[name] = replace(state, status="discarded", due_at=None, finished_at=now)
    if states == record.handlers:
        return "unconcerned"
    if record.status == "pending":
        # Whoever handles it next knows all handlers, and whether one is left.
        return replace(record, handlers=states, due_at=None)
    parked = any(state.status == "parked" for state in states.values())
    return replace(record, handlers=states, status="parked" if parked else "discarded")


def concerns(record: InboxRecord, handler: str | None, *, delayed: bool) -> bool:
    """Return whether a handler of *record* is parked, or *delayed* and waits; that called *handler*, if one is meant."""
    return any(
        state.status == "parked" or (delayed and is_delayed(state, named=handler is not None))
        for _, state in _meant(record, handler)
    )


def is_delayed(state: HandlerState, *, named: bool) -> bool:
    """Return whether a handler waits for another attempt; one that is *named* may also wait for its first, as while it is paused."""
    return state.status == "pending" and (named or state.attempts > 0)


def _meant(record: InboxRecord, handler: str | None) -> list[tuple[str, HandlerState]]:
    return [(name, state) for name, state in record.handlers.items() if handler in {None, name}]


def ranges(ids: list[int]) -> str:
    """Return sorted *ids* in few words: ``1-5, 9``."""
    runs: list[list[int]] = []
    for number in ids:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
