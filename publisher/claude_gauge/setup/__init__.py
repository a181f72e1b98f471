"""What `claude-gauge setup` puts into Claude Code's settings and takes out again; pure but for `commands/setup.py`."""
