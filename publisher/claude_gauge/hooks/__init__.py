"""What Claude Code itself starts at every turn; standard library only, since Claude Code waits for it."""
