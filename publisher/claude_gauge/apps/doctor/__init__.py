"""Looks at every link of the chain, and says what to do about the broken ones."""
