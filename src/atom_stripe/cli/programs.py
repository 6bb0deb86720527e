"""The inbox of a program, where its handlers, its lanes and its client are."""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe.errors import AtomStripeError, ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

Target = Annotated[
    str,
    typer.Argument(metavar="MODULE:ATTRIBUTE", help="Where the inbox is, such as shop.webhooks:inbox, seen from this folder."),
]


def inbox_of(target: str) -> WebhookInbox | AsyncWebhookInbox:
    """
    Return the inbox that *target* names.

    Raises:
        ConfigurationError: There is none.
    """
    from atom_stripe.inbox import AsyncWebhookInbox, WebhookInbox

    if not _TARGET.fullmatch(target):
        msg = f"{target!r} does not say where the inbox is: MODULE:ATTRIBUTE, such as shop.webhooks:inbox"
        raise ConfigurationError(msg)
    module, _, path = target.partition(":")
    found: Any = _imported(module)
    for name in path.split("."):
        if not hasattr(found, name):
            msg = f"there is no {path} in {module}"
            raise ConfigurationError(msg)
        found = getattr(found, name)
    if not isinstance(found, (WebhookInbox, AsyncWebhookInbox)):
        msg = f"{target} is no WebhookInbox or AsyncWebhookInbox, but of the type {type(found).__name__}"
        raise ConfigurationError(msg)
    return found


def _imported(module: str) -> Any:
    # As `python -m` does: a program's own modules are in the folder that it is started from.
    if "" not in sys.path:
        sys.path.insert(0, "")
    failure: Exception
    try:
        return importlib.import_module(module)
    except AtomStripeError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            msg = f"there is no module {missing}, seen from the folder that this was started in"
            raise ConfigurationError(msg) from None
        failure = error
    except Exception as error:  # noqa: BLE001 - the program's own
        failure = error
    # Not its message: whatever it says is not ours to print.
    msg = f"importing {module} failed with a {type(failure).__name__}; atom-stripe --debug … shows where"
    raise ConfigurationError(msg) from failure
