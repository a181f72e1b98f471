"""Claude Code's transcripts, followed as they grow."""
