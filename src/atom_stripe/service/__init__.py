"""
The HTTP face of this package, without a framework: ``atom_stripe.contrib.fastapi`` and ``atom_stripe.contrib.flask`` mount it.

Everything that is decided is decided here, once: who may call, what may come in, what Stripe is asked, what goes out. An adapter turns a
framework's request into a ``Request`` and an ``Answer`` into a response, and does nothing else.
"""

from __future__ import annotations

from atom_stripe.service.document import document
from atom_stripe.service.messages import Answer, Caller, Cookie, Request
from atom_stripe.service.operation import Operation
from atom_stripe.service.problems import Problem
from atom_stripe.service.service import Parts, Service
from atom_stripe.service.settings import ServiceConfig

__all__ = ["Answer", "Caller", "Cookie", "Operation", "Parts", "Problem", "Request", "Service", "ServiceConfig", "document"]
