"""Lists as PostgreSQL reads them: whatever is in them comes back as it was."""

from __future__ import annotations

import math
from typing import Any

import psycopg
import pytest

from atom_stripe._wire.postgres_arrays import contents, flags, numbers, texts
from atom_stripe.stores._sql.engines import pass_binary

TEXTS = ["", "a", "NULL", "null", "a,b", "{}", '"', "\\", '\\"', "a\nb\tc", " a ", "%s", "ü€𝄞", None]


def read_back(url: str, kind: str, written: object) -> Any:
    with psycopg.connect(url) as connection:
        pass_binary(connection)
        row = connection.execute(f"SELECT %s::{kind}[]", [written]).fetchone()
    return row and row[0]


@pytest.mark.parametrize("values", [TEXTS, ["plain", None, ""], [None], ["NULL"], []])
def test_texts(postgres_url: str, values: list[str | None]) -> None:
    """Texts come back with all that means something in a literal, and nothing is not the text NULL."""
    assert read_back(postgres_url, "text", texts(values)) == values


def test_numbers(postgres_url: str) -> None:
    """Numbers come back to the last bit."""
    values = [0.1, 1_700_000_000.123456, 5e-324, 1.7976931348623157e308, -0.0, math.inf, None]
    assert read_back(postgres_url, "float8", numbers(values)) == values


def test_flags(postgres_url: str) -> None:
    """What is true comes back true, and what is false false."""
    assert read_back(postgres_url, "boolean", flags([True, False])) == [True, False]


@pytest.mark.parametrize("values", [[b"", b"\x00\xff", bytes(100_000)], [b"a", None, b"b"], [None]])
def test_contents(postgres_url: str, values: list[bytes | None]) -> None:
    """Any bytes come back, none at all and very many among them."""
    assert read_back(postgres_url, "bytea", contents(values)) == values
