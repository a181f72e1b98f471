"""Alerts: one message per window when the fuel gauge passes a threshold."""
