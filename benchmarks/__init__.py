"""Figures of claude-gauge beside those of other ways, taken side by side in one run: `python -m benchmarks`."""
