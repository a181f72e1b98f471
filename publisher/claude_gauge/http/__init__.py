"""The HTTP shim: the newest payload's bytes at /usage, pushed at /events, and the web cluster at /."""
