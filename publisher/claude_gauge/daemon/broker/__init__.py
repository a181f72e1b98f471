"""The embedded broker, which the publisher starts if none answers."""
