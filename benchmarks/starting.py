"""The time until a program can work, each in a fresh interpreter whose modules were compiled before."""

from __future__ import annotations

from functools import partial

from harness import MILLISECONDS, Effort, Figures, Row, benchmark, in_turns
from processes import fresh, server

# The interpreter's own start is the same for both and not counted.
_TIMED = """\
import sys
from time import perf_counter
start = perf_counter()
{}
print(perf_counter() - start)
"""
_KEY = "sk_test_00000000000000000000000000"
_OUR_CLIENT = f"from atom_stripe import StripeClient\nclient = StripeClient('{_KEY}')\nclient.customers"
_THEIR_CLIENT = f"import stripe\nclient = stripe.StripeClient('{_KEY}')\nclient.v1.customers"
_OUR_CALL = f"""\
from atom_stripe import StripeClient, StripeConfig
from pydantic import SecretStr
client = StripeClient(config=StripeConfig(api_key=SecretStr('{_KEY}'), api_base=sys.argv[1], transport=sys.argv[2]))
client.payment_intents.create(amount=2000, currency='usd').id
"""
_THEIR_CALL = f"""\
import stripe
client = stripe.StripeClient('{_KEY}', base_addresses={{'api': sys.argv[1]}})
client.v1.payment_intents.create({{'amount': 2000, 'currency': 'usd'}}).id
"""


@benchmark(
    Row(name="import_vs_stripe", what="import atom_stripe, against import stripe", better="lower", target=0.15),
    Row(name="ready_vs_stripe", what="From nothing to client.customers", better="lower", target=1.0),
    Row(name="first_call_fast_vs_stripe", what="From nothing to the first answer, transport='fast'", better="lower"),
    Row(name="first_call_vs_stripe", what="From nothing to the first answer, transport='httpx'", better="lower"),
)
def start(effort: Effort) -> dict[str, Figures]:
    """Time what programs do first. Parts that load late count where they are loaded: the HTTP library at our first call."""
    with server() as url:
        programs = {
            "import": ("import atom_stripe",),
            "their import": ("import stripe",),
            "ready": (_OUR_CLIENT,),
            "their ready": (_THEIR_CLIENT,),
            "first call fast": (_OUR_CALL, url, "fast"),
            "first call httpx": (_OUR_CALL, url, "httpx"),
            "their first call": (_THEIR_CALL, url),
        }

        def run(name: str) -> float:
            code, *arguments = programs[name]
            return fresh(_TIMED.format(code), *arguments)

        for name in programs:
            run(name)  # compiles, and brings the files into memory
        taken = in_turns({name: partial(run, name) for name in programs}, effort.of(11, 3))
    return {
        "import_vs_stripe": Figures(MILLISECONDS, taken["import"], taken["their import"]),
        "ready_vs_stripe": Figures(MILLISECONDS, taken["ready"], taken["their ready"]),
        "first_call_fast_vs_stripe": Figures(MILLISECONDS, taken["first call fast"], taken["their first call"]),
        "first_call_vs_stripe": Figures(MILLISECONDS, taken["first call httpx"], taken["their first call"]),
    }
