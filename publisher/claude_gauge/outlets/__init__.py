"""Receivers of payloads beside MQTT: the web server, Home Assistant, alerts."""
