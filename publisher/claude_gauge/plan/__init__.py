"""What Claude Code hands us of the plan and of its waiting, by small files in the state folder."""
