"""
The machine beneath the sandbox.

Rule 1: a request is a value and so is its answer. Between them there is no I/O, no wall clock and no randomness but the seed, so
the same requests in the same order give the same bytes.
Rule 2: nothing here knows a resource. ``testing/resources`` says what Stripe's objects are and do; this package says what is true
of all of them: keys, parameters, pages, expansion, idempotency, events.
Rule 3: rows are plain JSON objects as Stripe sends them. A field that begins with an underscore is the sandbox's own and leaves
it never.
"""
