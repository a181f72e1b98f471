"""The way to the broker, for those who publish and those who read; begin at `link.py`."""
