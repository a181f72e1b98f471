"""Alerts: one message per window when 5H PLAN (fuel) passes a threshold."""
