"""Many machines as one: what every node publishes, merged; begin at `merge.py`, the running side is `running.py`."""
