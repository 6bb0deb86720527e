"""
Search: customers by a query.

The part of Stripe's query language that programs use: ``field:"value"``, ``field~"part"``, ``metadata["key"]:"value"`` and ``created`` with
``<``, ``>``, ``:``, joined by AND or OR, each with ``-`` before it to turn it around. At Stripe a new object is found after a moment; here it is at once.
Source: https://docs.stripe.com/search
"""
