"""
What goes over the wire, as pure functions: encoding, decoding, signing, retry rules.

Rule: no I/O, no clock and no randomness of its own. Whatever of these a function needs, it is given.
"""
