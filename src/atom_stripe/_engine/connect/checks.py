"""What users of a manager and browsers give us, checked before it goes anywhere; and what stands for secrets in the store."""

from __future__ import annotations

import hashlib

from atom_stripe.errors import ConfigurationError, StateMismatchError

# Of a code or a state in a redirect. Stripe's are shorter.
_LONGEST = 2000


def digest(kind: str, value: str) -> str:
    """Return what stands for a secret in the store. The secrets are random and long, so a plain hash gives nothing away."""
    return hashlib.sha256(f"atom_stripe/{kind}|{value}".encode(errors="surrogatepass")).hexdigest()


def check_user_id(user_id: object) -> str:
    """Return *user_id* if it can name a user."""
    if not isinstance(user_id, str) or not 0 < len(user_id) <= 255 or "\x00" in user_id or not _encodes(user_id):
        msg = "user_id is a text of 1 to 255 characters: the id of the user in your own system"
        raise ConfigurationError(msg)
    return user_id


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_session(session: object) -> str:
    if not isinstance(session, str) or not session:
        msg = "session is a text that only this user's browser session holds, such as a random value in a signed cookie"
        raise ConfigurationError(msg)
    return session


def check_text(name: str, value: object) -> str:
    """Return what came in a redirect, if it is of a size that Stripe sends."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        msg = f"the {name} is none that Stripe sent"
        raise StateMismatchError(msg)
    return value
