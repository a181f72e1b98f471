"""The command line: one file per kind of command; each command imports what it needs when it runs."""
