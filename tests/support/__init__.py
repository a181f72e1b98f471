"""Real programs that the tests start, and what looks at them from outside."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
