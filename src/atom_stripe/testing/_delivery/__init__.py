"""Inside ``sandbox.webhooks``: what is delivered, in which shape, to whom, and when again."""
