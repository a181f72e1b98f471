"""The MQTT link, for publishers and readers; begin at `link.py`."""
