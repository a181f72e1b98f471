"""Real programs that the tests start, and what looks at them from outside."""
