"""The running publisher: put together, locked to one per node, and ended in order."""
