"""Alerts: told once per window when the fuel gauge passes a threshold; `decide.py` is pure, the rest tells."""

from claude_gauge.alerts.outlet import Alerts

__all__ = ["Alerts"]
