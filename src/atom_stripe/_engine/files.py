"""Files that a call uploads, read from where they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_files(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return *params* with every open file and every path replaced by a pair of its name and its bytes."""
    return {name: _read(name, value) for name, value in params.items()}


def _read(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        try:
            return value.name, value.read_bytes()
        except OSError as error:
            msg = f"{name} cannot be read: {error.strerror}"
            raise EncodingError(msg, param=name) from None
    if not hasattr(value, "read"):
        return value
    content = value.read()
    if not isinstance(content, bytes):
        msg = f"{name} was opened as text: open it in binary mode, open(path, 'rb')"
        raise EncodingError(msg, param=name)
    filename = getattr(value, "name", None)
    return (os.path.basename(filename) if isinstance(filename, str) else "file"), content  # noqa: PTH119 - a name, not a path to walk
