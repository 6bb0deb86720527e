"""How ``atom-stripe smoke`` asks a service: one request after the other, each bounded in time and size."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from atom_stripe._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Who = Literal["caller", "operator", "stranger"]

TIMEOUT = 20.0
"""Seconds until an answer must be there."""
LARGEST = 4 * 1024 * 1024
_LONGEST_WAIT = 61.0
_WAITS = 2
_MANY_FAILURES = 3


class AwayError(Exception):
    """Several requests in a row got no answer: there is no point in asking on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    What came back: *failure* says why nothing did. *cookies*: the Set-Cookie headers. *limited*: whether it was refused with 429 to the end.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cookies: tuple[str, ...] = ()
    body: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    failure: str | None = None

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def content(self) -> Any:
        """The body as JSON; ``None`` if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_problem(self) -> bool:
        """Whether it says that it is a problem of RFC 9457."""
        return self.media_type == "application/problem+json"

    @property
    def kind(self) -> str:
        """Which problem it is; empty if it is none."""
        content = self.content
        return str(content.get("type", "")).rpartition(":")[2] if self.is_problem and isinstance(content, dict) else ""


def new_client() -> httpx.Client:
    """Return what requests are sent with: certificates are verified, redirects are not followed."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, headers={"User-Agent": f"atom-stripe-smoke/{VERSION}"})


class Asker:
    """
    Asks the service at *root*, a URL with the prefix. *tokens*: the bearer tokens, which are sent to *root* alone and shown nowhere.

    A 429 is obeyed, for a minute at a time and twice at most: it says nothing about the route behind it.
    """

    def __init__(self, client: httpx.Client, root: str, tokens: Mapping[Who, str]) -> None:
        self._client = client
        self._tokens = dict(tokens)
        self._failures = 0
        self.root = root
        self.connection: Any = None
        #: How often the service asked for patience.
        self.waits = 0

    def knows(self, who: Who) -> bool:
        """Whether there is a token of *who*."""
        return who in self._tokens

    def ask(
        self, method: str, path: str, *, who: Who | None = None, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Reply:
        """
        Send one request and return the answer.

        Raises:
            AwayError: It is the third in a row without one.
        """
        sent = {"accept": "application/json", **(headers or {})}
        if who is not None:
            sent["authorization"] = f"Bearer {self._tokens[who]}"
        for _ in range(_WAITS):
            reply = self._sent(method, path, sent, content)
            if reply.status != 429:
                break
            self.waits += 1
            time.sleep(_wait(reply))
        else:
            reply = self._sent(method, path, sent, content)
        self._failures = 0 if reply.failure is None else self._failures + 1
        if self._failures >= _MANY_FAILURES:
            raise AwayError(reply.failure)
        return reply

    def _sent(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> Reply:
        began = time.perf_counter()
        try:
            with self._client.stream(method, self.root + path, headers=headers, content=content or None) as answer:
                self._see(answer)
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        return Reply(failure=f"the answer is longer than {LARGEST} bytes")
                    if time.perf_counter() - began > TIMEOUT:
                        return Reply(failure=f"the answer was not complete after {TIMEOUT:g} s")
        except httpx.TimeoutException:
            return Reply(failure=f"no answer within {TIMEOUT:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Reply(failure=_told(error))
        return Reply(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            cookies=tuple(answer.headers.get_list("set-cookie")),
            body=bytes(body),
            seconds=time.perf_counter() - began,
        )

    def _see(self, answer: httpx.Response) -> None:
        """Keep what TLS agreed on, while the connection is there."""
        if self.connection is None and (stream := answer.extensions.get("network_stream")) is not None:
            secured = stream.get_extra_info("ssl_object")
            if secured is not None:
                self.connection = {"version": secured.version(), "certificate": secured.getpeercert() or {}}


def _wait(reply: Reply) -> float:
    text = reply.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() and len(text) < 10 else 1.0


def _told(error: Exception) -> str:
    """Return what went wrong with the connection. The message can hold a URL, but nothing that is secret: no token is in one."""
    message = str(error)
    return f"no answer: {type(error).__name__}{': ' + message[:200] if message else ''}"
