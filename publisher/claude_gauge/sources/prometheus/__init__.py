"""Prometheus, or any engine that speaks its API, as a source."""
