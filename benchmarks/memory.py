"""The memory of a client whose every service was touched, each in a fresh interpreter."""

from __future__ import annotations

from functools import partial

from harness import MEGABYTES, Effort, Figures, Row, benchmark, in_turns
from processes import fresh, server

# The resident set, which is what a container's limit counts. Where there is no /proc, the highest that it ever was.
_MEASURED = """\
import gc
import sys
{}
gc.collect()
try:
    with open("/proc/self/statm") as statm:
        import resource
        print(int(statm.read().split()[1]) * resource.getpagesize())
except FileNotFoundError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_COUNTED = "{}\nprint(touched)\n"
_KEY = "sk_test_00000000000000000000000000"
_OURS = f"""\
from functools import cached_property
from pydantic import SecretStr
from atom_stripe import StripeClient, StripeConfig
from atom_stripe.resources.services import Services
client = StripeClient(config=StripeConfig(api_key=SecretStr('{_KEY}'), api_base=sys.argv[1], transport=sys.argv[2]))
touched = 0
def touch(service, kind):
    global touched
    for name, member in vars(kind).items():
        if isinstance(member, cached_property):
            touched += 1
            inner = getattr(service, name)
            touch(inner, type(inner))
touch(client, Services)
"""
_THEIRS = f"""\
import stripe
client = stripe.StripeClient('{_KEY}', base_addresses={{'api': sys.argv[1]}})
touched = 1  # v2, which is among ours too
def touch(service):
    global touched
    for name in getattr(sys.modules[type(service).__module__], '_subservices', ()):
        touched += 1
        touch(getattr(service, name))
touch(client.v1)
touch(client.v2)
"""
_OUR_CALL = _OURS + "client.payment_intents.create(amount=2000, currency='usd').id\n"
_THEIR_CALL = _THEIRS + "client.v1.payment_intents.create({'amount': 2000, 'currency': 'usd'}).id\n"


@benchmark(
    Row(name="memory_vs_stripe", what="Memory of a client with every service touched", better="lower", target=1.0),
    Row(name="memory_called_fast_vs_stripe", what="The same after a call, transport='fast'", better="lower"),
    Row(name="memory_called_vs_stripe", what="The same after a call, transport='httpx'", better="lower"),
)
def memory(effort: Effort) -> dict[str, Figures]:
    """Measure what each side adds to a bare interpreter."""
    programs = {
        "bare": ("",),
        "ours": (_OURS, "httpx"),
        "theirs": (_THEIRS,),
        "ours called fast": (_OUR_CALL, "fast"),
        "ours called httpx": (_OUR_CALL, "httpx"),
        "theirs called": (_THEIR_CALL,),
    }
    with server() as url:

        def run(name: str, around: str = _MEASURED) -> float:
            code, *arguments = programs[name]
            return fresh(around.format(code), url, *arguments)

        services = {name: run(name, "import sys\n" + _COUNTED) for name in ("ours", "theirs")}
        taken = in_turns({name: partial(run, name) for name in programs}, effort.of(5, 2))
    added = {name: [size - bare for size, bare in zip(taken[name], taken["bare"], strict=True)] for name in programs}
    return {
        "memory_vs_stripe": Figures(
            MEGABYTES, added["ours"], added["theirs"], {"our services": services["ours"], "their services": services["theirs"]}
        ),
        "memory_called_fast_vs_stripe": Figures(MEGABYTES, added["ours called fast"], added["theirs called"]),
        "memory_called_vs_stripe": Figures(MEGABYTES, added["ours called httpx"], added["theirs called"]),
    }
