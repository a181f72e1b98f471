"""Claude Code's own files: config folders, settings, and the entries that `setup` writes there."""
