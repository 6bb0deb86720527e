"""Multipart bodies, which Stripe wants for files and nothing else. Source: https://docs.stripe.com/api/files/create"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.encoding import UNENCODABLE, name_of, pairs
from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping


def multipart(params: Mapping[str, Any], boundary: str) -> bytes:
    """
    Return *params* as a multipart body with this *boundary*, which must not occur in any file.

    A file is its bytes, or a pair of its name and its bytes.
    """
    try:
        return _multipart(params, boundary)
    except UnicodeEncodeError:
        raise EncodingError(UNENCODABLE) from None


def _multipart(params: Mapping[str, Any], boundary: str) -> bytes:
    given = {name: value for name, value in params.items() if isinstance(value, (bytes, bytearray, memoryview, tuple))}
    files = {name: _file(name_of(name), value) for name, value in given.items()}
    parts: list[bytes] = []
    for name, text in pairs({name: value for name, value in params.items() if name not in files}):
        parts += (_head(boundary, name), text.encode(), b"\r\n")
    for name, (filename, content) in files.items():
        parts += (_head(boundary, name, filename), content, b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _file(name: str, value: Any) -> tuple[str, bytes]:
    filename, content = value if isinstance(value, tuple) and len(value) == 2 else ("file", value)
    try:
        if isinstance(filename, str) and isinstance(content, (bytes, bytearray, memoryview)):
            return filename, bytes(content)
    except ValueError:
        msg = f"{name} is a memoryview that was released"
    else:
        msg = f"{name} must be the bytes of a file, a pair of its name and its bytes, or a file opened in binary mode"
    raise EncodingError(msg, param=name)


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        disposition += f'; filename="{_quoted(filename)}"\r\nContent-Type: application/octet-stream'
    return f"--{boundary}\r\n{disposition}\r\n\r\n".encode()


def _quoted(text: str) -> str:
    # As browsers write it: only what would end the header or begin another. Everything else is taken literally by the other side.
    return re.sub(r'["\x00-\x1f\x7f]', lambda found: f"%{ord(found[0]):02X}", text)
