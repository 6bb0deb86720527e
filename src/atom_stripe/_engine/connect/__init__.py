"""
The flows of ``OAuthManager``: how a connection begins, stays alive and ends.

One rule above the others: a token that Stripe gave is durable before anybody sees it, and a refresh token is sent only under an
idempotency key that was durable before. ``refresh.py`` holds the protocol, ``authorizations.py`` the way through Stripe's pages.
"""
