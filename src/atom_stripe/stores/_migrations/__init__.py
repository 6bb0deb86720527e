"""
The history of the tables, one file in ``versions`` for each step. Never change one that was released: add the next.

A step is given its ``Operations``; it does not take Alembic's global ones (``from alembic import op``), which belong to whoever runs
Alembic in this process, and may be at work right now.
"""
