"""The command `fleet`: what every node publishes, merged into one payload."""
