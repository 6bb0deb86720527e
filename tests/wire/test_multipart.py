"""Multipart bodies for files."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_stripe._wire.multipart import multipart
from atom_stripe.errors import EncodingError

BOUNDARY = "3a27b4e4-boundary"


def parts(body: bytes) -> list[tuple[str, str | None, bytes]]:
    """Return name, file name and content of each part of *body*, as written, split as RFC 2046 says."""
    pieces = (b"\r\n" + body).split(f"\r\n--{BOUNDARY}".encode())
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition, *others = head.decode().split("\r\n")
        names = re.fullmatch(r'Content-Disposition: form-data; name="([^"]*)"(?:; filename="([^"]*)")?', disposition, re.DOTALL)
        assert names is not None
        assert others == ([] if names[2] is None else ["Content-Type: application/octet-stream"])
        found.append((names[1], names[2], content))
    return found


def test_a_file_to_the_byte() -> None:
    """Fields come first and files after them, each part as RFC 7578 writes it."""
    body = multipart(
        {"file": ("proof.png", b"\x89PNG\r\n"), "purpose": "dispute_evidence", "file_link_data": {"create": True}}, BOUNDARY
    )
    assert body == (
        b"--3a27b4e4-boundary\r\n"
        b'Content-Disposition: form-data; name="purpose"\r\n\r\n'
        b"dispute_evidence\r\n"
        b"--3a27b4e4-boundary\r\n"
        b'Content-Disposition: form-data; name="file_link_data[create]"\r\n\r\n'
        b"true\r\n"
        b"--3a27b4e4-boundary\r\n"
        b'Content-Disposition: form-data; name="file"; filename="proof.png"\r\nContent-Type: application/octet-stream\r\n\r\n'
        b"\x89PNG\r\n\r\n"
        b"--3a27b4e4-boundary--\r\n"
    )


@pytest.mark.parametrize("content", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"aXbXc")[::2]])
def test_bytes_of_every_kind(content: Any) -> None:
    """Bytes without a name are sent as a file that is called "file"; any kind of bytes will do, with and without a name."""
    assert parts(multipart({"file": content}, BOUNDARY)) == [("file", "file", b"abc")]
    assert parts(multipart({"file": ("a.txt", content)}, BOUNDARY)) == [("file", "a.txt", b"abc")]


@pytest.mark.parametrize("content", [b"", b"\r\n", b"--\r\n--", b"\x00\xff", b"-" * 100])
def test_contents_are_not_touched(content: bytes) -> None:
    """A file arrives byte for byte, also an empty one and one full of line breaks and dashes."""
    assert parts(multipart({"purpose": "x", "file": content}, BOUNDARY)) == [("purpose", None, b"x"), ("file", "file", content)]


NAMES = [
    ("a (1).png", "a (1).png"),
    ("Tom's receipt, 100% & more #1.pdf", "Tom's receipt, 100% & more #1.pdf"),
    ("Größe 💶.png", "Größe 💶.png"),
    ("../../etc/passwd", "../../etc/passwd"),
    ("C:\\a.png", "C:\\a.png"),
    ("", ""),
    ('a"; name="purpose', "a%22; name=%22purpose"),
    ("a\r\nX-Header: 1\r\n\r\n", "a%0D%0AX-Header: 1%0D%0A%0D%0A"),
    ("a\x00\x1f\x7fb", "a%00%1F%7Fb"),
]


@pytest.mark.parametrize(("name", "sent"), NAMES)
def test_names_arrive(name: str, sent: str) -> None:
    """A name is sent as it is, but for what would end its header or begin another one: so do browsers."""
    assert parts(multipart({"file": (name, b"x")}, BOUNDARY)) == [("file", sent, b"x")]
    assert parts(multipart({name: b"x"}, BOUNDARY)) == [(sent, "file", b"x")]
    assert parts(multipart({"metadata": {name: "x"}}, BOUNDARY)) == [(f"metadata[{sent}]", None, b"x")]


@pytest.mark.parametrize(
    "value",
    [
        ("name", "text"),
        ("name", None),
        (b"name", b"x"),
        (None, b"x"),
        ("name", b"x", "type"),
        (b"x",),
        (),
        (("a", b"b"), b"c"),
    ],
)
def test_what_is_no_file_is_refused(value: Any) -> None:
    """A tuple that is not a name and bytes is refused by name, with what a file can be."""
    with pytest.raises(
        EncodingError,
        match=r"^file must be the bytes of a file, a pair of its name and its bytes, or a file opened in binary mode$",
    ) as caught:
        multipart({"purpose": "x", "file": value}, BOUNDARY)
    assert caught.value.param == "file"


def test_a_released_buffer_is_refused() -> None:
    """A memoryview that was released holds nothing that could be sent."""
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(EncodingError, match=r"^file is a memoryview that was released$") as caught:
        multipart({"file": view}, BOUNDARY)
    assert caught.value.param == "file"


@pytest.mark.parametrize(
    "params", [{"\ud800": b"x"}, {"file": ("\ud800", b"x")}, {"purpose": "\ud800"}, {"purpose": {"\ud800": "x"}}]
)
def test_half_characters_are_refused(params: dict[str, Any]) -> None:
    """Half of a surrogate pair is refused in names, file names and fields."""
    with pytest.raises(EncodingError, match="half of a surrogate pair"):
        multipart(params, BOUNDARY)


@pytest.mark.parametrize("name", [1, None, b"file", ("file",)])
def test_names_are_strings(name: object) -> None:
    """The name of a file is a string like that of any parameter."""
    with pytest.raises(EncodingError, match=f"^parameter names are strings, not {type(name).__name__}$"):
        multipart({name: b"x"}, BOUNDARY)  # type: ignore[dict-item]


def test_fields_follow_the_rules_of_forms() -> None:
    """What is no file is encoded as in any form, and refused as there."""
    assert parts(multipart({"a": ["x", None, True], "b": None}, BOUNDARY)) == [("a[0]", None, b"x"), ("a[1]", None, b"true")]
    with pytest.raises(EncodingError, match="empty list"):
        multipart({"a": []}, BOUNDARY)


# A percent sign is not written in another way, so it would be read as one of the few characters that are.
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="%"), max_size=12)


def unquoted(name: str | None) -> str | None:
    """Return *name* as it was before it was written."""
    return name and re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), name)


@given(
    fields=st.dictionaries(_texts.map("f".__add__), _texts, max_size=3),
    files=st.dictionaries(_texts.map("g".__add__), st.tuples(_texts, st.binary(max_size=40)), max_size=3),
)
@settings(max_examples=200)
def test_nothing_leaves_its_part(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> None:
    """Whatever names, texts and files hold, a reader finds as many parts as were given, with these names and contents."""
    found = [
        (unquoted(name), unquoted(filename), content) for name, filename, content in parts(multipart({**fields, **files}, BOUNDARY))
    ]
    expected = [(name, None, text.encode()) for name, text in fields.items()]
    assert found == [*expected, *((name, filename, content) for name, (filename, content) in files.items())]
