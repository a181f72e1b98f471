"""Where payloads go: the web, Home Assistant, alerts."""
