"""The HTTP server: the newest payload at /usage, its stream at /events, and the page at /."""
