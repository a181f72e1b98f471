"""What Claude Code tells its statusline and hooks: the plan's figures, and whether it waits for the person."""
