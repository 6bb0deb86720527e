"""
Stores that come with the package. Each needs its extra, so each is imported by its own name.

``memory`` for tests and demos, ``sql`` for SQLite and PostgreSQL, ``redis`` for Redis.
"""
