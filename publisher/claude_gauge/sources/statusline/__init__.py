"""What Claude Code passes to its statusline and hooks: the plan's figures, and whether it waits for the person."""
