"""
The core of the inbox, which both colours share.

It is threads, not flows: group commit, lanes and heartbeats are concurrency. The async class awaits futures of it, and its async handlers run in
the event loop in which ``run_worker()`` is awaited, while a thread of ours holds their claim and their transaction.
"""
