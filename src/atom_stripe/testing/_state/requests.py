"""
Reading requests: the path, and parameters in Stripe's form encoding (``a[b]=1&c[0]=2&d[]=3``).

Whatever bytes come in, the result is a request within bounds or a refusal. Source: https://docs.stripe.com/api
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from atom_stripe.testing._state.errors import Refusal, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._wire.messages import Request

    Tree = dict[str, Any]

MAX_BODY = 1024 * 1024
MAX_PARAMETERS = 2000
MAX_DEPTH = 8
MAX_URL = 16 * 1024

PAGES = "https://connect.stripe.com"

_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,39}\])(?::\d{1,5})?")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_AMBIGUOUS = "A parameter is sent in two ways that do not go together, such as a=1 and a[b]=2."
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Message:
    """
    A request, read: *params* is a tree of strings, objects and lists, from the query and the body.

    *query*, *form*: the two as they were written. *origin*: where a browser would find the sandbox's pages.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    params: Tree = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    origin: str


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def path_of(url: str) -> str:
    """Return the path of *url*, as it is written there."""
    try:
        return urlsplit(url[:MAX_URL]).path or "/"
    except ValueError:
        return "/"


def read(request: Request) -> Message:
    """Return *request* as the sandbox looks at it."""
    headers = lower(request.headers)
    if len(request.url) > MAX_URL:
        raise Refusal(414, f"The URL is longer than {MAX_URL} characters.")
    try:
        query = urlsplit(request.url).query
    except ValueError:
        raise invalid("The URL cannot be read.") from None
    body = request.body or b""
    if len(body) > MAX_BODY:
        raise Refusal(413, f"The body is longer than {MAX_BODY} bytes.")
    path = path_of(request.url)
    # The second API speaks JSON. None of it is here, so its bodies are not read: the answer names the operation.
    is_form = not path.startswith("/v2/")
    if body and is_form:
        _check_content_type(headers.get("content-type", _FORM))
    asked, sent = _pairs(query), _pairs(body if is_form else b"")
    origin = origin_of(request.url, headers)
    return Message(request.method.upper(), path, headers, tree([*asked, *sent]), dict(asked), dict(sent), origin)


def origin_of(url: str, headers: Mapping[str, str]) -> str:
    """Return where a browser finds the pages of the sandbox that a request was sent to: Stripe's own address, if the sandbox has none."""
    parts = urlsplit(url)
    host = headers.get("host") or parts.netloc
    if not _HOST.fullmatch(host) or host.endswith("stripe.com"):
        return PAGES
    return f"{parts.scheme if parts.scheme == 'https' else 'http'}://{host}"


def api_key(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request, which is a bearer token or the user name of basic authentication."""
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    credentials = rest.strip()
    if scheme.lower() == "bearer":
        return credentials or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def tree(pairs: list[tuple[str, str]]) -> Tree:
    """Return *pairs* as a tree. Of a scalar that was sent twice, the last one counts."""
    root: Tree = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        parts = [match[1], *_PART.findall(match[2])] if match else []
        if not parts or len(parts) > MAX_DEPTH:
            raise invalid(
                f"A parameter's name is malformed or more than {MAX_DEPTH} levels deep; write nested ones as parent[child]."
            )
        _put(root, parts, value)
    return root


def _check_content_type(content_type: str) -> None:
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise invalid(f"The body must be a form: send it with Content-Type: {_FORM}.")


def _pairs(form: str | bytes) -> list[tuple[str, str]]:
    try:
        text = form if isinstance(form, str) else form.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise invalid("The parameters are not UTF-8.") from None
    except ValueError:
        raise invalid(f"There are more than {MAX_PARAMETERS} parameters.") from None


def _put(root: Tree, parts: list[str], value: str) -> None:
    """Put *value* where *parts* say. An empty part is a list: ``a[]`` appends to it, ``a[][b]`` fills its last object until it has a b."""
    node: Any = root
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        fresh: Any = value if following is None else ([] if following == "" else {})
        if isinstance(node, list) and part == "":
            last = node[-1] if node else None
            if following and isinstance(last, dict) and following not in last:
                fresh = last
            else:
                node.append(fresh)
        elif isinstance(node, dict) and part != "":
            held = node.get(part, fresh)
            if type(held) is not type(fresh):
                raise invalid(_AMBIGUOUS)
            # Of two scalars the last one counts; objects and lists are filled.
            fresh = node[part] = fresh if following is None else held
        else:
            raise invalid(_AMBIGUOUS)
        node = fresh
