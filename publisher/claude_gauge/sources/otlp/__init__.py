"""Claude Code's telemetry, received straight from it: OTLP over HTTP."""
