"""Multipart bodies, which Stripe wants for files and nothing else. Source: https://docs.stripe.com/api/files/create"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from atom_stripe._wire.encoding import pairs
from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping


def multipart(params: Mapping[str, Any], boundary: str) -> bytes:
    """
    Return *params* as a multipart body with this *boundary*, which must not occur in any file.

    A file is its bytes, or a pair of its name and its bytes.
    """
    files = {name: _file(name, value) for name, value in params.items() if isinstance(value, (bytes, bytearray, memoryview, tuple))}
    parts: list[bytes] = []
    for name, text in pairs({name: value for name, value in params.items() if name not in files}):
        parts += (_head(boundary, name), text.encode(), b"\r\n")
    for name, (filename, content) in files.items():
        parts += (_head(boundary, name, filename), content, b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _file(name: str, value: Any) -> tuple[str, bytes]:
    filename, content = value if isinstance(value, tuple) and len(value) == 2 else ("file", value)  # noqa: PLR2004: a pair
    if not isinstance(filename, str) or not isinstance(content, (bytes, bytearray, memoryview)):
        msg = f"{name} must be the bytes of a file, a pair of its name and its bytes, or a file opened in binary mode"
        raise EncodingError(msg, param=name)
    return filename, bytes(content)


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    # Quoting keeps a line break or a quote in a name from becoming a header of its own.
    disposition = f'Content-Disposition: form-data; name="{quote(name, safe="[]")}"'
    if filename is not None:
        disposition += f'; filename="{quote(filename, safe=" ()")}"\r\nContent-Type: application/octet-stream'
    return f"--{boundary}\r\n{disposition}\r\n\r\n".encode()
