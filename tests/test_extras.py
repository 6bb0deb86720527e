"""What a missing optional part says."""

from __future__ import annotations

import pytest

from atom_stripe._extras import require
from atom_stripe.errors import AtomStripeError, MissingExtraError


def test_a_missing_module_becomes_advice() -> None:
    """A module that is not installed raises an error of ours that is an ImportError too and says what to install."""
    with pytest.raises(MissingExtraError, match=r"nosuchthing is not installed: pip install 'atom-stripe\[some\]'") as caught:  # noqa: SIM117
        with require("nosuchthing", extra="some"):
            import nosuchthing  # noqa: F401
    assert isinstance(caught.value, AtomStripeError)
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "nosuchthing"


def test_a_missing_part_of_the_module_becomes_advice() -> None:
    """A submodule of what is not installed is the same case."""
    with pytest.raises(MissingExtraError), require("nosuchthing", extra="some"):
        import nosuchthing.inside  # noqa: F401


def test_what_is_broken_elsewhere_is_not_hidden() -> None:
    """A module that is installed and lacks something of its own keeps its error."""
    with pytest.raises(ModuleNotFoundError, match="somethingelse") as caught, require("nosuchthing", extra="some"):
        import somethingelse  # noqa: F401
    assert not isinstance(caught.value, MissingExtraError)


def test_what_is_there_is_there() -> None:
    """Nothing happens when nothing is missing."""
    with require("json", extra="some"):
        import json
    assert json.loads("1") == 1
