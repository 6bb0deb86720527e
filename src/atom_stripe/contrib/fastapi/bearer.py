"""Who calls the reference application: signed bearer tokens, JSON Web Tokens of one fixed kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from atom_stripe._extras import require
from atom_stripe.config import secret
from atom_stripe.errors import ConfigurationError
from atom_stripe.service import Caller, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

# https://datatracker.ietf.org/doc/html/rfc7518#section-3.2: a key of at least the size of the hash.
SHORTEST_KEY = 32
_ALGORITHM = "HS256"
_LONGEST_TOKEN = 4096
# Seconds by which two machines' clocks may differ.
_SKEW = 10.0
_CREDENTIALS = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A JWT signed with SECRET_KEY: `atom-stripe token`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_CREDENTIALS)]


class BearerTokens:
    """
    Tokens that say who calls: JWTs, signed with HS256 and one secret key, which your own login makes too, or ``atom-stripe token``.

    The claim ``sub`` is the user's id in your system, and ``exp`` has to be there. ``"platform": true`` lets its bearer act for the platform's own
    account, ``"operator": true`` see what operators see. No other algorithm counts, whatever a token says of itself.

    Args:
        secret_key: 32 bytes at least, random, the same in every process.

    Raises:
        ConfigurationError: The key is too short.
        MissingExtraError: pyjwt is not installed.

    Source: https://datatracker.ietf.org/doc/html/rfc7519
    """

    def __init__(self, secret_key: str | SecretStr) -> None:
        with require("jwt", extra="server"):
            import jwt
        self._jwt = jwt
        self._key = secret(secret_key)
        if len(self._bytes) < SHORTEST_KEY:
            msg = f"SECRET_KEY has {len(self._bytes)} bytes and needs {SHORTEST_KEY} at least, random ones: `atom-stripe init` makes one"
            raise ConfigurationError(msg)

    @property
    def _bytes(self) -> bytes:
        return self._key.get_secret_value().encode()

    def mint(self, user_id: str, *, platform: bool = False, operator: bool = False, expires_in: float = 3600.0) -> str:
        """
        Return a token for a user of yours. *expires_in*: seconds.

        Raises:
            ConfigurationError: *user_id* is none, or the token would have ended already.
        """
        # Says so, if it is none.
        Caller(user_id)
        if not expires_in > 0:
            msg = "a token lasts for some seconds at least"
            raise ConfigurationError(msg)
        now = int(time.time())
        claims: dict[str, Any] = {"sub": user_id, "iat": now, "exp": now + int(expires_in)}
        claims |= {name: True for name, given in (("platform", platform), ("operator", operator)) if given}
        return self._jwt.encode(claims, self._bytes, algorithm=_ALGORITHM)

    def claims(self, token: str) -> dict[str, Any] | None:
        """Return what a token says, ``None`` if it is not ours, has ended, or says nothing of a user."""
        if len(token) > _LONGEST_TOKEN:
            return None
        try:
            found: dict[str, Any] = self._jwt.decode(
                token, self._bytes, algorithms=[_ALGORITHM], leeway=_SKEW, options={"require": ["exp", "sub"]}
            )
            Caller(found["sub"])
        except (self._jwt.PyJWTError, ConfigurationError, ValueError, OverflowError):
            return None
        return found

    def authorize(self, *, platform_only: bool) -> Callable[..., Any]:
        """
        Return a dependency of FastAPI's for ``authorize=``.

        *platform_only*: every call is for the platform's own account, since users have none to act for; so only its tokens may.
        """

        async def caller(credentials: Credentials) -> Caller | None:
            claims = None if credentials is None else self.claims(credentials.credentials)
            if claims is None:
                return None
            platform = claims.get("platform") is True
            if platform_only and not platform:
                raise Problem(403, "forbidden", "This service has no account but the platform's, and this token is not for it.")
            return Caller(claims["sub"], platform=platform)

        return caller

    def authorize_operator(self) -> Callable[..., Any]:
        """Return a dependency of FastAPI's for ``authorize_operator=``."""

        async def operator(credentials: Credentials) -> Caller | None:
            claims = None if credentials is None else self.claims(credentials.credentials)
            if claims is None:
                return None
            if claims.get("operator") is not True:
                raise Problem(403, "forbidden", "This is for the operators of this service.")
            return Caller(claims["sub"], platform=claims.get("platform") is True)

        return operator

    def __repr__(self) -> str:
        return f"BearerTokens({_ALGORITHM})"
