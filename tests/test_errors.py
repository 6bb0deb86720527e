"""One tree of errors that are values: they say what happened, travel between processes and keep secrets to themselves."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from atom_stripe import errors
from atom_stripe.errors import APIError, AtomStripeError
from tests.canary import API_KEY, CLIENT_SECRET, MARK

TREE: list[type[AtomStripeError]] = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, AtomStripeError)
]
# What a class needs beside its message.
NEEDED: dict[type[AtomStripeError], dict[str, Any]] = {
    errors.QueueFullError: {"wait": 31.5},
    errors.StaleTimestampError: {"age": -61.0},
    errors.MissingExtraError: {"name": "flask"},
    errors.EncodingError: {"param": "items[0][price]"},
    errors.InvalidResponseError: {"status": 200, "request_id": "req_1", "outcome_unknown": True, "retryable": False},
    errors.TransportError: {"outcome_unknown": True, "retryable": False},
    errors.NotConnectedError: {"user_id": "user_1"},
    errors.RefreshFailedError: {"user_id": "user_1"},
    errors.AuthorizationDeniedError: {"code": "access_denied"},
    errors.AccountMismatchError: {"expected": "acct_1", "account": "acct_2"},
    errors.StoreError: {"retryable": False},
    errors.InboxBusyError: {"retry_after": 5.0},
    errors.UnknownKeyError: {"key_id": "one", "connection_id": "con_1"},
    errors.TokenUnreadableError: {"connection_id": "con_1"},
}
OF_THE_API: dict[str, Any] = {
    "status": 402,
    "type": "card_error",
    "code": "card_declined",
    "decline_code": "lost_card",
    "param": "payment_method",
    "doc_url": "https://docs.stripe.com/error-codes",
    "advice_code": "do_not_try_again",
    "request_id": "req_1",
    "retryable": True,
    "outcome_unknown": True,
    "idempotent_replayed": True,
    "payload": {"payment_intent": {"client_secret": CLIENT_SECRET}},
}
all_classes = pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)


def make(cls: type[AtomStripeError]) -> AtomStripeError:
    """Return an error of *cls* in which every attribute is set."""
    needed = next((NEEDED[base] for base in cls.__mro__ if base in NEEDED), OF_THE_API if issubclass(cls, APIError) else {})
    error = cls("It failed.", **needed)
    for name, value in (("attempts", 3), ("idempotency_key", "order-42"), ("reason", "global-rate")):
        if hasattr(error, name):
            setattr(error, name, value)
    return error


def attributes(error: AtomStripeError) -> dict[str, Any]:
    """Return everything that *error* holds, also what its C bases keep elsewhere."""
    names = [name for name in dir(error) if not name.startswith("__") and not callable(getattr(error, name, None))]
    return {"args": error.args, **{name: getattr(error, name, None) for name in names}}


def pickled(error: AtomStripeError, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    """Return what comes out of a pickle of *error*."""
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes


def test_the_tree_has_one_root() -> None:
    """Every class of the module is an AtomStripeError, so that one except is enough."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BaseException)]
    assert classes == TREE
    assert len(classes) > 20


@all_classes
def test_every_class_says_when_it_is_raised(cls: type[AtomStripeError]) -> None:
    """Every error has a docstring of its own."""
    assert len(vars(cls)["__doc__"].strip()) > 20
    assert cls.__module__ == "atom_stripe.errors"
    assert cls.__name__.endswith("Error")


@all_classes
def test_errors_hold_what_they_are_given(cls: type[AtomStripeError]) -> None:
    """Message and attributes of an error are those that it was raised with."""
    error = make(cls)
    given = next((NEEDED[base] for base in cls.__mro__ if base in NEEDED), OF_THE_API if issubclass(cls, APIError) else {})
    assert error.args == ("It failed.",)
    assert {name: getattr(error, name) for name in given} == given


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@all_classes
def test_errors_pickle(cls: type[AtomStripeError], protocol: int) -> None:
    """An error comes out of a pickle of any protocol as it went in."""
    error = make(cls)
    again = pickled(error, protocol)
    assert type(again) is cls
    assert attributes(again) == attributes(error)
    assert (str(again), repr(again)) == (str(error), repr(error))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@all_classes
def test_errors_copy(cls: type[AtomStripeError], copied: Any) -> None:
    """A copy of an error is an error of its own that holds the same."""
    error = make(cls)
    again = copied(error)
    assert type(again) is cls
    assert attributes(again) == attributes(error)
    again.idempotency_key = "changed"
    assert getattr(error, "idempotency_key", None) != "changed"


@all_classes
def test_errors_of_errors_pickle(cls: type[AtomStripeError]) -> None:
    """What was pickled once can be pickled again, notes included."""
    error = make(cls)
    error.add_note("while billing")
    again = pickled(pickled(error))
    assert attributes(again) == attributes(error)
    assert again.__notes__ == ["while billing"]


class OrderError(AtomStripeError):
    """An error of a program that builds on ours, with an __init__ of its own."""

    def __init__(self, order: int, *, shop: str) -> None:
        super().__init__(f"order {order} failed")
        self.order = order
        self.shop = shop


def test_errors_of_others_pickle() -> None:
    """A subclass with other arguments pickles without any work of its author's."""
    again = pickled(OrderError(42, shop="bonn"))
    assert (type(again), str(again), again.order, again.shop) == (OrderError, "order 42 failed", 42, "bonn")


@all_classes
def test_secrets_stay_in_the_payload(cls: type[AtomStripeError]) -> None:
    """What is in an error's payload is in no message, no repr and no args."""
    error = make(cls)
    assert MARK not in str(error) + repr(error) + repr(error.args)


@pytest.mark.parametrize(
    ("cls", "bases"),
    [
        (errors.ConfigurationError, [ValueError]),
        (errors.MissingExtraError, [ImportError, ModuleNotFoundError]),
        (errors.ClientClosedError, [RuntimeError]),
        (errors.EncodingError, [ValueError]),
        (errors.InvalidAmountError, [ValueError]),
        (errors.UnknownCurrencyError, [ValueError]),
        (errors.ConnectionFailedError, [errors.TransportError]),
        (errors.TimeoutExceededError, [errors.TransportError, TimeoutError]),
        (errors.InvalidResponseError, [errors.TransportError]),
        (errors.InvalidRequestError, [APIError]),
        (errors.NotFoundError, [errors.InvalidRequestError]),
        (errors.IdempotencyError, [errors.InvalidRequestError]),
        (errors.AuthenticationError, [APIError]),
        (errors.PermissionDeniedError, [APIError]),
        (errors.CardError, [APIError]),
        (errors.ConflictError, [APIError]),
        (errors.RateLimitedError, [APIError]),
        (errors.ServerError, [APIError]),
        (errors.OAuthError, [APIError]),
        (errors.InvalidSignatureError, [errors.WebhookError]),
        (errors.StaleTimestampError, [errors.WebhookError]),
        (errors.MalformedEventError, [errors.WebhookError]),
    ],
)
def test_errors_are_also_what_python_calls_them(cls: type[AtomStripeError], bases: list[type[Exception]]) -> None:
    """Whoever catches Python's own class, or the kind above, catches ours too."""
    assert all(issubclass(cls, base) for base in bases)
    with pytest.raises(bases[-1], match="It failed"):
        raise make(cls)


def test_a_missing_extra_is_an_import_error() -> None:
    """An except ImportError around an optional import still works, and finds the name of what is missing."""
    error = errors.MissingExtraError("flask is not installed: pip install 'atom-stripe[flask]'", name="flask")
    assert (error.name, error.msg, str(error)) == (
        "flask",
        "flask is not installed: pip install 'atom-stripe[flask]'",
        error.args[0],
    )
    assert errors.MissingExtraError("x").name is None


def test_an_error_of_the_api_in_words() -> None:
    """The text of an error is its message and the facts that are needed to look it up; what Stripe did not say is left out."""
    assert (
        str(APIError("Nope.", status=400, code="c", param="items[0]", request_id="req_1"))
        == "Nope. (status 400, code c, param items[0], request req_1)"
    )
    assert str(APIError("Nope.", status=500)) == "Nope. (status 500)"
    assert str(APIError("Nope.", status=400, request_id="req_1")) == "Nope. (status 400, request req_1)"
    assert (
        repr(errors.CardError("Nope.", status=402, code="c", request_id="req_1"))
        == "CardError(status=402, code='c', request_id='req_1')"
    )
    assert APIError("Nope.", status=400, code="c").message == "Nope."


def test_what_an_error_of_the_api_holds_when_stripe_says_nothing() -> None:
    """Every attribute is there from the start."""
    error = errors.RateLimitedError("Nope.", status=429)
    assert (error.status, error.reason, error.attempts, error.idempotency_key, error.payload) == (429, None, 1, None, {})
    assert (error.type, error.code, error.decline_code, error.param, error.doc_url, error.advice_code, error.request_id) == (
        None,
    ) * 7
    assert (error.retryable, error.outcome_unknown, error.idempotent_replayed) == (False, False, False)


def test_errors_share_nothing() -> None:
    """Two errors without a payload do not share the empty one."""
    first, second = APIError("x", status=400), APIError("x", status=400)
    first.payload["a"] = 1
    assert second.payload == {}


def test_defaults_of_transport_errors() -> None:
    """A lost answer may be retried; one that is not Stripe's may not, unless the caller of this class knows better."""
    lost, foreign = errors.ConnectionFailedError("x"), errors.InvalidResponseError("x")
    assert (lost.retryable, lost.outcome_unknown, lost.attempts, lost.idempotency_key) == (True, False, 1, None)
    assert (foreign.retryable, foreign.outcome_unknown, foreign.attempts, foreign.status, foreign.request_id) == (
        False,
        False,
        1,
        None,
        None,
    )


@all_classes
def test_errors_can_be_raised_from_others(cls: type[AtomStripeError]) -> None:
    """An error keeps its cause where it is raised."""
    cause = KeyError(API_KEY[:8])
    with pytest.raises(cls) as caught:
        raise make(cls) from cause
    assert caught.value.__cause__ is cause
