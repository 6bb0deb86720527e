"""The promises of a store, one function for each, and the place where they are tried."""
