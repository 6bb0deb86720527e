"""
The flows: every decision that waits for something, written once for both colours.

A flow is ordinary ``async def`` code over small ports (a transport, a sleep). An async client plugs in ports that really wait and awaits the
flow. A sync client plugs in ports that block and never suspend, so that ``drive.run`` finishes the coroutine in one step: no event loop, no
thread. That is why ``async`` frames show in the stack traces of sync programs.

Three rules: a flow reaches the world only through its ports; there is no concurrency inside a flow; shells (client.py) decide nothing.
"""
